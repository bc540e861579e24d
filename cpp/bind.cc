// Python bindings: takes numpy arrays as they are, copies nothing, releases the interpreter's lock while it runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bind_scan.h"
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
using CounterTable = nb::ndarray<std::int64_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;  // [L, B, 8]
using LostTable = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;     // [B]
using Address = Column<std::uint16_t>;
using StreamArrays = std::tuple<Column<std::int64_t>, Address, Address, Address>;
constexpr std::size_t kCounters = sizeof(Counters) / sizeof(std::int64_t);

// Arrays that the caller made for a run; those of a layer nobody watches are None.
struct Sinks {
  CounterTable counters;
  LostTable lost;
  Table<std::int64_t> totals;  // of the last core
  Table<std::int16_t> last;    // of the last core
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

void require_sinks(const Sinks& sinks, const std::vector<Core>& cores, std::size_t windows, std::size_t batch) {
  require(sinks.counters.shape(0) == cores.size() && sinks.counters.shape(1) == batch &&
              sinks.counters.shape(2) == kCounters && sinks.lost.shape(0) == batch,
          "counters must be [cores, batch, 8] and lost [batch]");
  require_table(sinks.totals, batch, cores.back().config.neurons);
  require_table(sinks.last, batch, cores.back().config.neurons);
  require(sinks.counts.size() == cores.size() && sinks.potentials.size() == cores.size(),
          "counts and potentials must have one entry a core");
  for (std::size_t c = 0; c < cores.size(); ++c) {
    if (sinks.counts[c]) require_maps(*sinks.counts[c], windows, batch, cores[c].config.neurons);
    if (sinks.potentials[c]) require_maps(*sinks.potentials[c], windows, batch, cores[c].config.neurons);
  }
}

std::vector<Watch> watches_of(const Sinks& sinks, const std::vector<Core>& cores, std::size_t batch, std::size_t b) {
  std::vector<Watch> watches(cores.size());
  for (std::size_t c = 0; c < cores.size(); ++c) {
    const std::size_t map = cores[c].config.neurons.size();
    if (sinks.counts[c]) watches[c].counts = sinks.counts[c]->data() + b * map;
    if (sinks.potentials[c]) watches[c].potentials = sinks.potentials[c]->data() + b * map;
    watches[c].counts_stride = watches[c].potentials_stride = batch * map;
  }
  const std::size_t map = cores.back().config.neurons.size();
  watches.back().totals = sinks.totals.data() + b * map;
  watches.back().last = sinks.last.data() + b * map;
  return watches;
}

void store_result(const Sinks& sinks, const RunResult& result, std::size_t batch, std::size_t b) {
  for (std::size_t c = 0; c < result.counters.size(); ++c) {
    const Counters& from = result.counters[c];
    const std::array row{from.events_in,     from.synops,  from.spikes,  from.saturated_high,
                         from.saturated_low, from.floored, from.dropped, from.fifo_peak};
    std::copy(row.begin(), row.end(), sinks.counters.data() + (c * batch + b) * kCounters);
  }
  sinks.lost.data()[b] = result.lost;
}

Columns columns_of(const StreamArrays& arrays) {
  const auto& [t, channel, y, x] = arrays;
  const std::size_t n = t.shape(0);
  require(channel.shape(0) == n && y.shape(0) == n && x.shape(0) == n, "event columns must have one length");
  return {{t.data(), n}, {channel.data(), n}, {y.data(), n}, {x.data(), n}};
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

nb::tuple run(Chip& chip, const StreamArrays& arrays, const Column<std::int64_t>& edges, const Sinks& sinks,
              const std::vector<bool>& spikes) {
  const std::vector<Core>& cores = chip.cores();
  const std::size_t n_edges = edges.shape(0);
  require_sinks(sinks, cores, n_edges == 0 ? 0 : n_edges - 1, 1);
  require(spikes.size() == cores.size(), "spikes must have one entry a core");
  std::vector<EventBuffer> seen(cores.size());
  std::vector<Watch> watches = watches_of(sinks, cores, 1, 0);
  for (std::size_t c = 0; c < cores.size(); ++c) watches[c].spikes = spikes[c] ? &seen[c] : nullptr;
  const Columns stream = columns_of(arrays);
  EventBuffer outputs;
  {
    const nb::gil_scoped_release release;
    store_result(sinks, chip.run(stream, {edges.data(), n_edges}, watches, outputs), 1, 0);
  }
  nb::list spike_columns;
  for (std::size_t c = 0; c < cores.size(); ++c) {
    spike_columns.append(spikes[c] ? nb::object(to_columns(seen[c])) : nb::none());
  }
  return nb::make_tuple(to_columns(outputs), spike_columns);
}

void run_batch(Chip& chip, const std::vector<StreamArrays>& arrays, const Column<std::int64_t>& edges,
               const Sinks& sinks, unsigned threads) {
  const std::size_t n_edges = edges.shape(0), batch = arrays.size();
  require_sinks(sinks, chip.cores(), n_edges == 0 ? 0 : n_edges - 1, batch);
  std::vector<Columns> streams;
  std::vector<std::vector<Watch>> watches;
  for (std::size_t b = 0; b < batch; ++b) {
    streams.push_back(columns_of(arrays[b]));
    watches.push_back(watches_of(sinks, chip.cores(), batch, b));
  }
  const nb::gil_scoped_release release;
  const std::vector<RunResult> results = chip.run_batch(streams, {edges.data(), n_edges}, watches, threads);
  for (std::size_t b = 0; b < batch; ++b) store_result(sinks, results[b], batch, b);
}

Isa isa_of(const std::string& name) {
  if (name == "auto") return best_isa();
  if (name == "portable") return Isa::portable;
  require(name == "avx2", "isa must be auto, avx2 or portable");
  require(best_isa() == Isa::avx2, "this machine has no AVX2");
  return Isa::avx2;
}

using ShapeTuple = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;

Shape shape_of(const ShapeTuple& shape) { return {std::get<0>(shape), std::get<1>(shape), std::get<2>(shape)}; }

void add_core(std::vector<CoreConfig>& to, const Weight& weight, std::int32_t threshold, std::int32_t floor,
              bool reset_to_zero, bool all_spikes, std::uint32_t stride, std::uint32_t padding, std::uint32_t pool,
              const ShapeTuple& in_shape, const ShapeTuple& neuron_shape) {
  const Shape in = shape_of(in_shape), neurons = shape_of(neuron_shape);
  require(weight.shape(0) == in.channels && weight.shape(3) == neurons.channels, "weight must be [C, kh, kw, F]");
  require(stride >= 1 && threshold >= 1 && threshold <= INT16_MAX && floor >= INT16_MIN && floor <= 0,
          "stride, threshold or floor is out of range");
  to.push_back({weight.data(), static_cast<std::uint32_t>(weight.shape(1)), static_cast<std::uint32_t>(weight.shape(2)),
                threshold, floor, reset_to_zero ? Reset::zero : Reset::subtract,
                all_spikes ? SpikesPerUpdate::all : SpikesPerUpdate::one, stride, padding, pool, in, neurons});
}

using CoreArguments = std::tuple<Weight, std::int32_t, std::int32_t, bool, bool, std::uint32_t, std::uint32_t,
                                 std::uint32_t, ShapeTuple, ShapeTuple>;

void make_chip(Chip* self, const std::vector<CoreArguments>& cores, const std::string& isa) {
  require(!cores.empty(), "a chip needs at least one core");
  std::vector<CoreConfig> configs;
  for (const CoreArguments& core : cores) {
    std::apply([&](const auto&... argument) { add_core(configs, argument...); }, core);
  }
  std::vector<Core> built;
  for (const CoreConfig& config : configs) built.emplace_back(config, isa_of(isa));
  new (self) Chip(std::move(built));
}

}  // namespace
}  // namespace chiploop

NB_MODULE(_core, module) {
  using namespace chiploop;
  module.def("best_isa", [] { return best_isa() == Isa::avx2 ? "avx2" : "portable"; });

  nb::class_<Sinks>(module, "Sinks")
      .def(nb::init<CounterTable, LostTable, Table<std::int64_t>, Table<std::int16_t>,
                    std::vector<std::optional<Maps<std::uint16_t>>>, std::vector<std::optional<Maps<std::int16_t>>>>(),
           nb::kw_only(), "counters"_a.noconvert(), "lost"_a.noconvert(), "totals"_a.noconvert(), "last"_a.noconvert(),
           "counts"_a.noconvert(), "potentials"_a.noconvert());

  nb::class_<Chip>(module, "Chip")
      .def("__init__", &make_chip, "cores"_a.noconvert(), nb::kw_only(), "isa"_a = "auto")
      .def("run", &run, "stream"_a.noconvert(), "edges"_a.noconvert(), "sinks"_a, "spikes"_a)
      .def("run_batch", &run_batch, "batch"_a.noconvert(), "edges"_a.noconvert(), "sinks"_a, "threads"_a)
      .def("reset", &Chip::reset);

  bind_scan(module);
}
