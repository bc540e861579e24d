// Python bindings of the fused scans; arrays are flat, [steps * size], time slowest.
#include "bind_scan.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>

#include "scan.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace chiploop {
namespace {

using In = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Levels = nb::ndarray<const std::int16_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<const std::uint16_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

Slope slope_of(const std::string& name) {
  if (name == "exponential") return Slope::exponential;
  if (name == "fast-sigmoid") return Slope::fast_sigmoid;
  if (name == "triangle") return Slope::triangle;
  require(name == "rectangle", "slope must be exponential, fast-sigmoid, triangle or rectangle");
  return Slope::rectangle;
}

void make_neuron(ScanNeuron* self, float keep, float gain, float v_th, std::optional<float> v_min, bool reset_to_zero,
                 bool all_spikes, const std::string& slope, float shape) {
  require(v_th > 0.0f && shape > 0.0f, "v_th and shape must be positive");
  new (self) ScanNeuron{keep,          gain,       v_th,           v_min.value_or(-std::numeric_limits<float>::infinity()),
                        reset_to_zero, all_spikes, slope_of(slope), shape};
}

template <class Array>
auto data_of(const std::optional<Array>& array, std::size_t n) {
  require(!array || array->size() == n, "arrays of a scan must be of one size");
  return array ? array->data() : nullptr;
}

std::size_t size_of(std::size_t n, std::size_t steps) {
  require(steps > 0 && n % steps == 0, "steps must divide the arrays");
  return n / steps;
}

// (size, height, width, channels) of a pool, or none.
using PoolSize = std::optional<std::array<std::size_t, 4>>;

ScanPool pool_of(const PoolSize& given, std::size_t size) {
  if (!given) return {};
  const auto [pool, height, width, channels] = *given;
  require(pool > 1 && height > 0 && width > 0 && channels > 0, "a pool has a size of at least 2, and a map");
  require(size % (height * width * channels) == 0, "a pool's map must divide the neurons");
  return {pool, height, width, channels};
}

std::size_t sent_size(const ScanPool& pool, std::size_t n) { return n / pool.map() * pool.out_map(); }

void forward(const ScanNeuron& neuron, const In& current, const std::optional<In>& v_seen, const Out& before,
             const std::optional<Out>& spikes, const std::optional<Out>& after, const std::optional<Levels>& v_levels,
             float v_unit, const std::optional<Counts>& counts_seen, const PoolSize& given, std::size_t steps, int threads) {
  const std::size_t n = current.size(), size = size_of(n, steps);
  const ScanPool pool = pool_of(given, size);
  require(before.size() == n, "arrays of a scan must be of one size");
  const ScanForward arrays{current.data(),
                           data_of(v_seen, n),
                           before.data(),
                           data_of(spikes, sent_size(pool, n)),
                           data_of(after, n),
                           data_of(v_levels, n),
                           v_unit,
                           data_of(counts_seen, n),
                           pool};
  nb::gil_scoped_release unlocked;
  scan_forward(neuron, arrays, steps, size, threads);
}

void backward(const ScanNeuron& neuron, const std::optional<In>& before, const std::optional<In>& grad_spikes,
              const std::optional<In>& grad_v, const Out& grad_current, const std::optional<Levels>& v_levels, float v_unit,
              const std::optional<Counts>& counts_seen, const PoolSize& given, std::size_t steps, int threads) {
  const std::size_t n = grad_current.size(), size = size_of(n, steps);
  const ScanPool pool = pool_of(given, size);
  require(before || (v_levels && counts_seen), "a gradient needs the potentials before the reset, or the chip's own");
  const ScanBackward arrays{data_of(before, n),
                            data_of(grad_spikes, sent_size(pool, n)),
                            data_of(grad_v, n),
                            grad_current.data(),
                            pool,
                            data_of(v_levels, n),
                            v_unit,
                            data_of(counts_seen, n)};
  nb::gil_scoped_release unlocked;
  scan_backward(neuron, arrays, steps, size, threads);
}

void send(const Counts& counts, const Out& sent, const PoolSize& given, std::size_t steps, int threads) {
  const std::size_t n = counts.size(), size = size_of(n, steps);
  const ScanPool pool = pool_of(given, size);
  require(sent.size() == sent_size(pool, n), "arrays of a scan must be of one size");
  nb::gil_scoped_release unlocked;
  send_counts(counts.data(), pool, steps, size, threads, sent.data());
}

}  // namespace

void bind_scan(nb::module_& module) {
  nb::set_leak_warnings(false);  // an autograd graph that lives until the interpreter ends holds its neurons till then
  nb::class_<ScanNeuron>(module, "ScanNeuron")
      .def("__init__", &make_neuron, nb::kw_only(), "keep"_a, "gain"_a, "v_th"_a, "v_min"_a.none(), "reset_to_zero"_a,
           "all_spikes"_a, "slope"_a, "shape"_a);
  module.def("scan_forward", &forward, "neuron"_a, nb::kw_only(), "current"_a.noconvert(), "v_seen"_a.noconvert().none(),
             "before"_a.noconvert(), "spikes"_a.noconvert().none(), "after"_a.noconvert().none(),
             "v_levels"_a.noconvert().none(), "v_unit"_a, "counts_seen"_a.noconvert().none(), "pool"_a.none(), "steps"_a,
             "threads"_a);
  module.def("scan_backward", &backward, "neuron"_a, nb::kw_only(), "before"_a.noconvert().none(),
             "grad_spikes"_a.noconvert().none(), "grad_v"_a.noconvert().none(), "grad_current"_a.noconvert(),
             "v_levels"_a.noconvert().none(), "v_unit"_a, "counts_seen"_a.noconvert().none(), "pool"_a.none(), "steps"_a,
             "threads"_a);
  module.def("send_counts", &send, nb::kw_only(), "counts"_a.noconvert(), "sent"_a.noconvert(), "pool"_a.none(), "steps"_a,
             "threads"_a);
}

}  // namespace chiploop
