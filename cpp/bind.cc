// Python bindings: takes numpy arrays as they are, copies nothing, releases the interpreter's lock while it runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bind_input.h"
#include "bind_scan.h"
#include "bind_timed.h"
#include "chip.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace chiploop {
namespace {

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Maps = nb::ndarray<T, nb::ndim<5>, nb::c_contig, nb::device::cpu>;  // [T, B, H, W, F]
template <typename T>
using Table = nb::ndarray<T, nb::ndim<4>, nb::c_contig, nb::device::cpu>;  // [B, H, W, F]
using Weight = nb::ndarray<const std::int8_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using CounterTable = nb::ndarray<std::int64_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;  // [L, B, 9]
using LostTable = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;     // [B]
using Address = Column<std::uint16_t>;
using StreamArrays = std::tuple<Column<std::int64_t>, Address, Address, Address, std::int64_t, std::int64_t>;
using Factors = std::tuple<Column<std::int64_t>, Column<std::int64_t>>;
using ThresholdMap = nb::ndarray<const std::int32_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;  // [H, W, F]
constexpr std::size_t kCounters = sizeof(Counters) / sizeof(std::int64_t);

// Arrays that the caller made for a run; those of a layer nobody watches are None.
struct Sinks {
  CounterTable counters;
  LostTable lost;
  Table<std::int64_t> totals;  // of the output core
  Table<std::int16_t> last;    // of the output core
  std::vector<std::optional<Maps<std::uint16_t>>> counts;
  std::vector<std::optional<Maps<std::int16_t>>> potentials;
};

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

template <typename T>
void require_maps(const Maps<T>& maps, std::size_t windows, std::size_t batch, const Shape& map) {
  require(maps.shape(0) == windows && maps.shape(1) == batch && maps.shape(2) == map.height &&
              maps.shape(3) == map.width && maps.shape(4) == map.channels,
          "an observation array must be [windows, batch, height, width, features]");
}

template <typename T>
void require_table(const Table<T>& table, std::size_t batch, const Shape& map) {
  require(table.shape(0) == batch && table.shape(1) == map.height && table.shape(2) == map.width &&
              table.shape(3) == map.channels,
          "an output array must be [batch, height, width, features]");
}

void require_sinks(const Sinks& sinks, const Circuit& circuit, std::size_t windows, std::size_t batch) {
  const std::vector<Core>& cores = circuit.cores;
  const Shape& answers = cores[circuit.wiring.answers].config.neurons;
  require(sinks.counters.shape(0) == cores.size() && sinks.counters.shape(1) == batch &&
              sinks.counters.shape(2) == kCounters && sinks.lost.shape(0) == batch,
          "counters must be [cores, batch, 9] and lost [batch]");
  require_table(sinks.totals, batch, answers);
  require_table(sinks.last, batch, answers);
  require(sinks.counts.size() == cores.size() && sinks.potentials.size() == cores.size(),
          "counts and potentials must have one entry a core");
  for (std::size_t c = 0; c < cores.size(); ++c) {
    require(windows > 0 || !(sinks.counts[c] || sinks.potentials[c]), "counts and potentials need windows");
    if (sinks.counts[c]) require_maps(*sinks.counts[c], windows, batch, cores[c].config.neurons);
    if (sinks.potentials[c]) require_maps(*sinks.potentials[c], windows, batch, cores[c].config.neurons);
  }
}

std::vector<Watch> watches_of(const Sinks& sinks, const Circuit& circuit, std::size_t batch, std::size_t b) {
  const std::vector<Core>& cores = circuit.cores;
  std::vector<Watch> watches(cores.size());
  for (std::size_t c = 0; c < cores.size(); ++c) {
    const std::size_t map = cores[c].config.neurons.size();
    if (sinks.counts[c]) watches[c].counts = sinks.counts[c]->data() + b * map;
    if (sinks.potentials[c]) watches[c].potentials = sinks.potentials[c]->data() + b * map;
    watches[c].counts_stride = watches[c].potentials_stride = batch * map;
  }
  const std::size_t output = circuit.wiring.answers, map = cores[output].config.neurons.size();
  watches[output].totals = sinks.totals.data() + b * map;
  watches[output].last = sinks.last.data() + b * map;
  return watches;
}

void store_result(const Sinks& sinks, const RunResult& result, std::size_t batch, std::size_t b) {
  for (std::size_t c = 0; c < result.counters.size(); ++c) {
    const Counters& from = result.counters[c];
    const std::array row{from.events_in,     from.synops,  from.spikes,  from.saturated_high,
                         from.saturated_low, from.floored, from.dropped, from.fifo_peak, from.clocked};
    std::copy(row.begin(), row.end(), sinks.counters.data() + (c * batch + b) * kCounters);
  }
  sinks.lost.data()[b] = result.lost;
}

Columns columns_of(const StreamArrays& arrays) {
  const auto& [t, channel, y, x, start_us, stop_us] = arrays;
  const std::size_t n = t.shape(0);
  require(channel.shape(0) == n && y.shape(0) == n && x.shape(0) == n, "event columns must have one length");
  return {{t.data(), n}, {channel.data(), n}, {y.data(), n}, {x.data(), n}, start_us, stop_us};
}

template <typename T, typename Field>
nb::object column_of(const EventBuffer& buffer, Field field) {
  auto owned = std::make_unique<T[]>(buffer.size());
  std::transform(buffer.events().begin(), buffer.events().end(), owned.get(), field);
  T* data = owned.release();
  const nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  // A const element type makes a read-only array, which Events takes without a copy.
  return nb::cast(nb::ndarray<nb::numpy, const T, nb::ndim<1>>(data, {buffer.size()}, owner));
}

nb::tuple to_columns(const EventBuffer& buffer) {
  return nb::make_tuple(column_of<std::int64_t>(buffer, [](const Event& e) { return e.t_us; }),
                        column_of<std::uint16_t>(buffer, [](const Event& e) { return e.channel; }),
                        column_of<std::uint16_t>(buffer, [](const Event& e) { return e.y; }),
                        column_of<std::uint16_t>(buffer, [](const Event& e) { return e.x; }));
}

// Returns the events of each core that has a buffer, None for the others.
nb::list to_lists(const std::vector<EventBuffer>& buffers, const std::vector<bool>& wanted) {
  nb::list all;
  for (std::size_t c = 0; c < buffers.size(); ++c) all.append(wanted[c] ? nb::object(to_columns(buffers[c])) : nb::none());
  return all;
}

nb::tuple run(Chip& chip, const StreamArrays& arrays, const Column<std::int64_t>& edges, const Sinks& sinks,
              const std::vector<bool>& spikes) {
  const Circuit& circuit = chip.circuit();
  const std::size_t n_edges = edges.shape(0), n_cores = circuit.cores.size();
  require_sinks(sinks, circuit, n_edges == 0 ? 0 : n_edges - 1, 1);
  require(spikes.size() == n_cores, "spikes must have one entry a core");
  std::vector<EventBuffer> seen(n_cores), outputs(n_cores);
  std::vector<Watch> watches = watches_of(sinks, circuit, 1, 0);
  for (std::size_t c = 0; c < n_cores; ++c) {
    watches[c].spikes = spikes[c] ? &seen[c] : nullptr;
    watches[c].outputs = circuit.wiring.is_output[c] ? &outputs[c] : nullptr;
  }
  const Columns stream = columns_of(arrays);
  {
    const nb::gil_scoped_release release;
    store_result(sinks, chip.run(stream, {edges.data(), n_edges}, watches), 1, 0);
  }
  return nb::make_tuple(to_lists(outputs, circuit.wiring.is_output), to_lists(seen, spikes));
}

void run_batch(Chip& chip, const std::vector<StreamArrays>& arrays, const Column<std::int64_t>& edges,
               const Sinks& sinks, unsigned threads) {
  const std::size_t n_edges = edges.shape(0), batch = arrays.size();
  require_sinks(sinks, chip.circuit(), n_edges == 0 ? 0 : n_edges - 1, batch);
  std::vector<Columns> streams;
  std::vector<std::vector<Watch>> watches;
  for (std::size_t b = 0; b < batch; ++b) {
    streams.push_back(columns_of(arrays[b]));
    watches.push_back(watches_of(sinks, chip.circuit(), batch, b));
  }
  const nb::gil_scoped_release release;
  const std::vector<RunResult> results = chip.run_batch(streams, {edges.data(), n_edges}, watches, threads);
  for (std::size_t b = 0; b < batch; ++b) store_result(sinks, results[b], batch, b);
}

Isa isa_of(const std::string& name) {
  if (name == "auto") return best_isa();
  std::string here;
  for (const Isa isa : available_isas()) {
    if (name == name_of(isa)) return isa;
    here += std::string(here.empty() ? "" : ", ") + name_of(isa);
  }
  for (const Isa isa : {Isa::avx512, Isa::avx2, Isa::neon}) {
    if (name == name_of(isa)) throw std::invalid_argument("this machine has no " + name + "; it has " + here);
  }
  throw std::invalid_argument("isa must be auto, avx512, avx2, neon or portable, not '" + name + "'");
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Isa isa : available_isas()) names.emplace_back(name_of(isa));
  return names;
}

using ShapeTuple = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;

Shape shape_of(const ShapeTuple& shape) { return {std::get<0>(shape), std::get<1>(shape), std::get<2>(shape)}; }

using Bias = Column<std::int16_t>;

// In the order of the fields of a program's core.
using CoreArguments =
    std::tuple<Weight, std::int32_t, std::int32_t, bool, bool, std::uint32_t, std::uint32_t, std::uint32_t, ShapeTuple,
               ShapeTuple, std::optional<Bias>, std::optional<ThresholdMap>, std::optional<Factors>, bool>;

CoreConfig core_of(const Weight& weight, std::int32_t threshold, std::int32_t floor, bool reset_to_zero, bool all_spikes,
                   std::uint32_t stride, std::uint32_t padding, std::uint32_t pool, const ShapeTuple& in_shape,
                   const ShapeTuple& neuron_shape, const std::optional<Bias>& bias,
                   const std::optional<ThresholdMap>& thresholds, const std::optional<Factors>& decay, bool wide) {
  const Shape in = shape_of(in_shape), neurons = shape_of(neuron_shape);
  require(weight.shape(0) == in.channels && weight.shape(3) == neurons.channels, "weight must be [C, kh, kw, F]");
  require(stride >= 1 && threshold >= 1 && threshold <= INT16_MAX && floor >= INT16_MIN && floor <= 0,
          "stride, threshold or floor is out of range");
  CoreConfig core{weight.data(), static_cast<std::uint32_t>(weight.shape(1)), static_cast<std::uint32_t>(weight.shape(2)),
                  threshold, floor, reset_to_zero ? Reset::zero : Reset::subtract,
                  all_spikes ? SpikesPerUpdate::all : SpikesPerUpdate::one, stride, padding, pool, in, neurons};
  if (bias) {
    require(bias->shape(0) == neurons.channels, "bias must be [F]");
    core.bias = bias->data();
  }
  if (thresholds) {
    require(thresholds->shape(0) == neurons.height && thresholds->shape(1) == neurons.width &&
                thresholds->shape(2) == neurons.channels,
            "thresholds must be [H, W, F]");
    const std::int32_t* first = thresholds->data();
    require(std::all_of(first, first + neurons.size(), [](std::int32_t t) { return t >= 1 && t <= kDead; }),
            "thresholds must be in 1..32768");
    core.thresholds = first;
  }
  if (decay) {
    const auto& [fine, coarse] = *decay;
    require(fine.shape(0) == 1024 && coarse.shape(0) >= 1, "a leak has 1024 fine factors and at least one coarse");
    core.decay = {{fine.data(), fine.shape(0)}, {coarse.data(), coarse.shape(0)}};
  }
  core.wide = wide;
  return core;
}

using LinkTuple = std::tuple<std::size_t, std::uint32_t, std::uint32_t>;  // core, pool, shift

std::vector<Link> links_of(const std::vector<LinkTuple>& tuples, std::size_t after, std::size_t cores) {
  std::vector<Link> links;
  for (const auto& [core, pool, shift] : tuples) {
    require(core >= after && core < cores, "a link must lead to a later core");
    require(pool < 16, "a link pools by at most 2^15");
    links.push_back({core, pool, shift});
  }
  return links;
}

Wiring wiring_of(const std::vector<LinkTuple>& inputs, const std::vector<std::vector<LinkTuple>>& targets,
                 const std::vector<bool>& outputs, std::size_t answers, std::int64_t clock_us) {
  const std::size_t cores = targets.size();
  require(!inputs.empty() && outputs.size() == cores, "a chip needs a target of its input and an output flag a core");
  require(answers < cores && outputs[answers], "answers must be the position of an output core");
  Wiring wiring{links_of(inputs, 0, cores), {}, outputs, clock_us, answers};
  for (std::size_t core = 0; core < cores; ++core) wiring.targets.push_back(links_of(targets[core], core + 1, cores));
  return wiring;
}

void make_chip(Chip* self, const std::vector<CoreArguments>& cores, const ShapeTuple& input,
               const std::vector<LinkTuple>& inputs, const std::vector<std::vector<LinkTuple>>& targets,
               const std::vector<bool>& outputs, std::size_t answers, std::int64_t clock_us, const std::string& isa) {
  require(!cores.empty() && targets.size() == cores.size(), "a chip needs at least one core, and targets for each");
  std::vector<Core> built;
  for (const CoreArguments& core : cores) {
    built.emplace_back(std::apply([](const auto&... argument) { return core_of(argument...); }, core), isa_of(isa));
  }
  require(clock_us >= 0, "the clock's period cannot be negative");
  new (self) Chip(std::move(built), wiring_of(inputs, targets, outputs, answers, clock_us), shape_of(input));
}

using StreamCounts = nb::ndarray<const std::uint16_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

std::vector<std::int64_t> sums_of(const StreamCounts& counts, int threads) {
  std::vector<std::int64_t> sums(counts.shape(1));
  nb::gil_scoped_release unlocked;
  sum_streams(counts.data(), counts.shape(0), counts.shape(1), counts.shape(2), threads, sums.data());
  return sums;
}

}  // namespace
}  // namespace chiploop

NB_MODULE(_core, module) {
  using namespace chiploop;
  module.def("sum_streams", &sums_of, "counts"_a.noconvert(), "threads"_a);
  module.def("best_isa", [] { return name_of(best_isa()); });
  module.def("available_isas", &isa_names);

  nb::class_<Sinks>(module, "Sinks")
      .def(nb::init<CounterTable, LostTable, Table<std::int64_t>, Table<std::int16_t>,
                    std::vector<std::optional<Maps<std::uint16_t>>>, std::vector<std::optional<Maps<std::int16_t>>>>(),
           nb::kw_only(), "counters"_a.noconvert(), "lost"_a.noconvert(), "totals"_a.noconvert(), "last"_a.noconvert(),
           "counts"_a.noconvert(), "potentials"_a.noconvert());

  nb::class_<Chip>(module, "Chip")
      .def("__init__", &make_chip, "cores"_a.noconvert(), nb::kw_only(), "input"_a, "inputs"_a, "targets"_a, "outputs"_a,
           "answers"_a, "clock_us"_a = 0, "isa"_a = "auto")
      .def("run", &run, "stream"_a.noconvert(), "edges"_a.noconvert(), "sinks"_a, "spikes"_a)
      .def("run_batch", &run_batch, "batch"_a.noconvert(), "edges"_a.noconvert(), "sinks"_a, "threads"_a)
      .def("bare_scatter",
           [](Chip& chip, const StreamArrays& arrays) {
             const Columns stream = columns_of(arrays);
             const nb::gil_scoped_release release;
             return chip.bare_scatter(stream);
           }, "stream"_a.noconvert())
      .def("reset", &Chip::reset);

  bind_scan(module);
  bind_timed(module);
  bind_input(module);
}
