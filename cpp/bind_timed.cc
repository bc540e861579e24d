// Python bindings of the timed chip: what a run gives becomes arrays that own what the run wrote.
#include "bind_timed.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "timed.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace chiploop {
namespace {

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Address = Column<std::uint16_t>;
using StreamArrays = std::tuple<Column<std::int64_t>, Address, Address, Address, std::int64_t, std::int64_t>;
using Watched = std::tuple<bool, bool, bool>;  // counts, potentials, spikes of a core

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

// What one run is observed in.
struct Observed {
  Observed(const Circuit& circuit, const std::vector<Watched>& watched, std::size_t windows) {
    const std::size_t n = circuit.cores.size();
    require(watched.size() == n, "what is watched must have one entry a core");
    counts.resize(n);
    potentials.resize(n);
    spikes.resize(n);
    outputs.resize(n);
    watches.resize(n);
    for (std::size_t c = 0; c < n; ++c) {
      const std::size_t map = circuit.cores[c].config.neurons.size();
      const auto& [has_counts, has_potentials, has_spikes] = watched[c];
      if (has_counts) watches[c].counts = counts[c].emplace(windows * map).data();
      if (has_potentials) watches[c].potentials = potentials[c].emplace(windows * map).data();
      if (has_spikes) watches[c].spikes = &spikes[c].emplace();
      if (circuit.wiring.is_output[c]) watches[c].outputs = &outputs[c].emplace();
      watches[c].counts_stride = watches[c].potentials_stride = map;
    }
    const std::size_t answers = circuit.wiring.answers, map = circuit.cores[answers].config.neurons.size();
    totals.resize(map);
    last.resize(map);
    watches[answers].totals = totals.data();
    watches[answers].last = last.data();
  }

  std::vector<std::optional<std::vector<std::uint16_t>>> counts;     // by core, [windows, y, x, F]
  std::vector<std::optional<std::vector<std::int16_t>>> potentials;  // likewise
  std::vector<std::optional<EventBuffer>> spikes, outputs;           // by core
  std::vector<std::int64_t> totals;                                  // of the core that answers, [y, x, F]
  std::vector<std::int16_t> last;
  std::vector<Watch> watches;
};

// Hands the vector over to an array.
template <typename T>
nb::object to_array(std::vector<T>&& values, std::initializer_list<std::size_t> shape) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  T* data = owned->data();
  const nb::capsule owner(owned.release(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(data, shape, owner));
}

template <typename T, typename Field>
nb::object to_column(const EventBuffer& buffer, Field field) {
  std::vector<T> values(buffer.size());
  std::transform(buffer.events().begin(), buffer.events().end(), values.begin(), field);
  return to_array(std::move(values), {buffer.size()});
}

nb::object to_columns(const std::optional<EventBuffer>& buffer) {
  if (!buffer) return nb::none();
  return nb::make_tuple(to_column<std::int64_t>(*buffer, [](const Event& e) { return e.t_us; }),
                        to_column<std::uint16_t>(*buffer, [](const Event& e) { return e.channel; }),
                        to_column<std::uint16_t>(*buffer, [](const Event& e) { return e.y; }),
                        to_column<std::uint16_t>(*buffer, [](const Event& e) { return e.x; }));
}

template <typename T>
nb::object to_maps(std::optional<std::vector<T>>&& maps, std::size_t windows, const Shape& map) {
  return maps ? to_array(std::move(*maps), {windows, map.height, map.width, map.channels}) : nb::none();
}

nb::object to_times(std::vector<std::int64_t>&& times) {
  const std::size_t n = times.size();
  return to_array(std::move(times), {n});
}

// One row a core, in the order of the fields of its type.
template <typename Row>
nb::object to_table(const std::vector<Row>& rows) {
  constexpr std::size_t n = sizeof(Row) / sizeof(std::int64_t);
  static_assert(sizeof(Row) == n * sizeof(std::int64_t));
  std::vector<std::int64_t> values;
  for (const Row& row : rows) {
    const auto fields = std::bit_cast<std::array<std::int64_t, n>>(row);
    values.insert(values.end(), fields.begin(), fields.end());
  }
  return to_array(std::move(values), {rows.size(), n});
}

nb::dict to_dict(const Circuit& circuit, TimedResult&& result, Observed&& seen, std::size_t windows) {
  nb::list counts, potentials, spikes, outputs, left, latency;
  for (std::size_t c = 0; c < circuit.cores.size(); ++c) {
    const Shape& map = circuit.cores[c].config.neurons;
    counts.append(to_maps(std::move(seen.counts[c]), windows, map));
    potentials.append(to_maps(std::move(seen.potentials[c]), windows, map));
    spikes.append(to_columns(seen.spikes[c]));
    outputs.append(to_columns(seen.outputs[c]));
    left.append(to_times(std::move(result.departures[c].left_ns)));
    latency.append(to_times(std::move(result.departures[c].latency_ns)));
  }
  const Shape& map = circuit.cores[circuit.wiring.answers].config.neurons;
  result.load.push_back(result.input_load);
  nb::dict all;
  all["counters"] = to_table(result.run.counters);
  all["load"] = to_table(result.load);
  all["counts"] = counts;
  all["potentials"] = potentials;
  all["spikes"] = spikes;
  all["outputs"] = outputs;
  all["output_ns"] = left;
  all["latency_ns"] = latency;
  all["totals"] = to_array(std::move(seen.totals), {map.height, map.width, map.channels});
  all["last"] = to_array(std::move(seen.last), {map.height, map.width, map.channels});
  all["lost"] = result.run.lost;
  all["end_ns"] = result.end_ns;
  return all;
}

Columns columns_of(const StreamArrays& arrays) {
  const auto& [t, channel, y, x, start_us, stop_us] = arrays;
  const std::size_t n = t.shape(0);
  require(channel.shape(0) == n && y.shape(0) == n && x.shape(0) == n, "event columns must have one length");
  return {{t.data(), n}, {channel.data(), n}, {y.data(), n}, {x.data(), n}, start_us, stop_us};
}

std::size_t windows_of(const Column<std::int64_t>& edges) { return std::max<std::size_t>(edges.shape(0), 1) - 1; }

nb::dict run(TimedChip& chip, const StreamArrays& arrays, const Column<std::int64_t>& edges,
             const std::vector<Watched>& watched) {
  const std::size_t windows = windows_of(edges);
  Observed seen(chip.circuit(), watched, windows);
  const Columns stream = columns_of(arrays);
  TimedResult result;
  {
    const nb::gil_scoped_release release;
    result = chip.run(stream, {edges.data(), edges.shape(0)}, seen.watches);
  }
  return to_dict(chip.circuit(), std::move(result), std::move(seen), windows);
}

nb::list run_batch(TimedChip& chip, const std::vector<StreamArrays>& arrays, const Column<std::int64_t>& edges,
                   const std::vector<Watched>& watched, unsigned threads) {
  const std::size_t windows = windows_of(edges);
  std::vector<Columns> streams;
  std::vector<Observed> seen;
  seen.reserve(arrays.size());  // a watch points into what it is observed in
  std::vector<std::vector<Watch>> watches;
  for (const StreamArrays& stream : arrays) {
    streams.push_back(columns_of(stream));
    watches.push_back(seen.emplace_back(chip.circuit(), watched, windows).watches);
  }
  std::vector<TimedResult> results;
  {
    const nb::gil_scoped_release release;
    results = chip.run_batch(streams, {edges.data(), edges.shape(0)}, watches, threads);
  }
  nb::list all;
  for (std::size_t b = 0; b < results.size(); ++b) {
    all.append(to_dict(chip.circuit(), std::move(results[b]), std::move(seen[b]), windows));
  }
  return all;
}

void make_chip(TimedChip* self, const Chip& chip, std::int64_t event_ns, std::int64_t synop_ns, std::int64_t hop_ns,
               std::optional<std::size_t> fifo_depth, bool drops, std::size_t most_queued) {
  const std::size_t depth = fifo_depth.value_or(std::numeric_limits<std::size_t>::max());
  new (self) TimedChip(chip.circuit(), {event_ns, synop_ns, hop_ns, depth, drops, most_queued});
}

}  // namespace

void bind_timed(nb::module_& module) {
  nb::class_<TimedChip>(module, "TimedChip")
      .def("__init__", &make_chip, "chip"_a, nb::kw_only(), "event_ns"_a, "synop_ns"_a, "hop_ns"_a,
           "fifo_depth"_a.none(), "drops"_a, "most_queued"_a, nb::keep_alive<1, 2>())
      .def("run", &run, "stream"_a.noconvert(), "edges"_a.noconvert(), "watched"_a)
      .def("run_batch", &run_batch, "batch"_a.noconvert(), "edges"_a.noconvert(), "watched"_a, "threads"_a)
      .def("reset", &TimedChip::reset);
}

}  // namespace chiploop
