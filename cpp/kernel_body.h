// The update of the states, written once for all instruction sets. A file that includes this says in CHIPLOOP_TARGET what
// its functions are compiled for, and hands sets of lanes (kernel_lanes.h).
#pragma once

#ifndef CHIPLOOP_TARGET
#error "define CHIPLOOP_TARGET before including kernel_body.h"
#endif

#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernel.h"
#include "kernel_fire.h"
#include "kernel_lanes.h"

namespace chiploop {
namespace {

// Constants and counts of a run of updates, for one set of lanes. Counts are kept lane by lane in int16.
template <typename Lanes>
struct Registers {
  typename Lanes::V below, theta, floor;
  typename Lanes::V high, low, floored;

  CHIPLOOP_TARGET explicit Registers(const CoreConfig& config)
      : below(Lanes::splat(static_cast<std::int16_t>(config.threshold - 1))),
        theta(Lanes::splat(static_cast<std::int16_t>(config.threshold))),
        floor(Lanes::splat(static_cast<std::int16_t>(config.floor))),
        high(Lanes::splat(0)), low(high), floored(high) {}

  CHIPLOOP_TARGET static std::int64_t sum(typename Lanes::V counts) {
    alignas(64) std::int16_t lane[Lanes::kLanes];
    Lanes::store(lane, counts);
    std::int64_t total = 0;
    for (const std::int16_t n : lane) total += n;
    return total;
  }

  // Adds what was counted, and begins anew.
  CHIPLOOP_TARGET __attribute__((always_inline)) inline void give(Counters& to) {
    to.saturated_high += sum(high);
    to.saturated_low += sum(low);
    to.floored += sum(floored);
    high = low = floored = Lanes::splat(0);
  }
};

// The rows that an event reaches: how many, the first block of the first, its weights, and what leads to the next.
struct Rows {
  std::uint32_t count;
  std::size_t first, row_blocks;
  const std::int8_t* weight;
  std::size_t weight_row;
};

// What a core does with a state beyond adding the weight.
template <bool kSaturates_, bool kFloor_, bool kMap_, Fired kFired_, bool kBare_ = false>
struct Form {
  static constexpr bool kBare = kBare_;  // nothing at all
  static constexpr bool kSaturates = kSaturates_, kFloor = kFloor_, kMap = kMap_;
  static constexpr Fired kFired = kFired_;
};

// Updates as many neurons as there are lanes; returns one bit for each that fired.
template <typename Form, typename Lanes, typename Weight>
CHIPLOOP_INLINE std::uint32_t update(Registers<Lanes>& r, std::int16_t* state, const Weight* weight,
                                     const std::int16_t* map) {
  const auto before = Lanes::load(state);
  const auto w = Lanes::load(weight);
  auto v = Lanes::add(before, w);
  if constexpr (Form::kBare) {
    Lanes::store(state, v);
    return 0;
  }
  if constexpr (Form::kSaturates) {
    const auto wrapped = v;
    v = Lanes::adds(before, w);
    r.high = Lanes::count(r.high, Lanes::greater(v, wrapped));
    r.low = Lanes::count(r.low, Lanes::greater(wrapped, v));
  }
  if constexpr (Form::kFloor) {
    r.floored = Lanes::count(r.floored, Lanes::greater(r.floor, v));
    v = Lanes::max(v, r.floor);
  }
  auto below = r.below, theta = r.theta;
  if constexpr (Form::kMap) {
    below = Lanes::load(map);
    theta = Lanes::add(below, Lanes::splat(1));  // wraps for the dead, which never fire
  }
  const auto fired = Lanes::greater(v, below);
  if constexpr (Form::kFired == Fired::subtract) v = Lanes::drop(v, fired, theta);
  if constexpr (Form::kFired == Fired::zero) v = Lanes::clear(v, fired);
  Lanes::store(state, v);
  return Lanes::bits(fired);
}

// The kernel's working set. Its address is never taken, so that it lives in registers: all that it does is inlined.
template <typename Form, typename Block, typename Pair>
struct Updates {
  Registers<Block> block;
  Registers<Pair> pair;
  std::int16_t* states;
  const std::int16_t* map;  // each threshold less one, where they differ
  Hit* hits;                // where the next goes

  CHIPLOOP_TARGET __attribute__((always_inline)) inline explicit Updates(const Job& job)
      : block(job.core.config),
        pair(job.core.config),
        states(job.state.v.data()->lane),
        map(Form::kMap ? job.core.below.data()->lane : states),
        hits(job.state.hits.data()) {}

  // Updates kBlocks blocks, at most four, and writes down which lanes fired, even if none did: where the next hit goes
  // must not depend on what fires, or loads of states would wait until that is known.
  template <int kBlocks, typename Weight>
  CHIPLOOP_TARGET __attribute__((always_inline)) inline void add(std::uint64_t place, std::size_t first,
                                                                 const Weight* weight) {
    constexpr std::size_t kNext = 2 * kLanes;
    std::int16_t* const state = states + first * kLanes;
    const std::int16_t* const at = map + first * kLanes;
    hits->high = 0;
    if constexpr (kBlocks >= 2) {
      hits->low = update<Form, Pair>(pair, state, weight, at);
    } else {
      hits->low = update<Form, Block>(block, state, weight, at);
    }
    if constexpr (kBlocks == 3) hits->high = update<Form, Block>(block, state + kNext, weight + kNext, at + kNext);
    if constexpr (kBlocks == 4) hits->high = update<Form, Pair>(pair, state + kNext, weight + kNext, at + kNext);
    hits->place = place + first;
    if constexpr (!Form::kBare) ++hits;
  }

  // Updates a run of blocks that lie side by side; kRun: how many, if known beforehand, else 0.
  template <int kRun, typename Weight>
  CHIPLOOP_TARGET __attribute__((always_inline)) inline void add_run(std::uint64_t place, std::size_t first,
                                                                     const Weight* weight, std::size_t run) {
    if constexpr (kRun > 0) {
      constexpr int kRest = kRun % 4;
#pragma GCC unroll 4
      for (int i = 0; i + 4 <= kRun; i += 4) add<4>(place, first + i, weight + i * kLanes);
      if constexpr (kRest > 0) add<kRest>(place, first + kRun - kRest, weight + (kRun - kRest) * kLanes);
    } else {
      for (; run >= 4; run -= 4, first += 4, weight += 4 * kLanes) add<4>(place, first, weight);
      if (run == 3) add<3>(place, first, weight);
      if (run == 2) add<2>(place, first, weight);
      if (run == 1) add<1>(place, first, weight);
    }
  }

  template <int kRun>
  CHIPLOOP_TARGET __attribute__((always_inline)) inline void add_rows(std::uint64_t place, Rows rows, std::size_t run) {
    for (; rows.count != 0; --rows.count, rows.first += rows.row_blocks, rows.weight += rows.weight_row) {
      add_run<kRun>(place, rows.first, rows.weight, run);
    }
  }

  CHIPLOOP_TARGET __attribute__((always_inline)) inline void give_counts(Counters& to) {
    block.give(to);
    pair.give(to);
  }

  // Makes spikes of the hits.
  CHIPLOOP_TARGET __attribute__((always_inline)) inline void fire(const Job& job) {
    Hit* const begin = job.state.hits.data();
    const std::span<Hit> all{begin, static_cast<std::size_t>(hits - begin)};
    Form::kFired == Fired::later ? fire_many(job, all) : fire_once(job, all);
    hits = begin;
  }
};

// Blocks that may be updated before a lane's count could overflow.
constexpr std::size_t kFull = std::numeric_limits<std::int16_t>::max();

template <typename Form, typename Block, typename Pair>
CHIPLOOP_TARGET void scatter(const Job& job) {
  const Core& core = job.core;
  Updates<Form, Block, Pair> updates(job);
  const Hit* const full = job.state.hits.data() + hit_room(core) - core.most_hits;
  const bool is_huge = core.most_hits > kFull;  // one event fills the counts
  const std::size_t most = is_huge ? 0 : core.most_hits;
  const std::size_t row_blocks = core.row_blocks, weight_row = core.weight_row * kLanes;
  const Way* const row_ways = core.row_ways.data();
  const Way* const column_ways = core.column_ways.data();
  const WeightBlock* const weights = core.weights.data();
  const std::size_t weight_plane = core.weight_plane;
  std::size_t until_full = kFull, reached = 0;
  for (std::size_t e = 0; e < job.in.size(); ++e) {
    const Event event = job.in[e];
    const Way row = row_ways[event.y], column = column_ways[event.x];
    const std::size_t run = column.count;
    const std::int8_t* const weight = weights[event.channel * weight_plane + row.weight + column.weight].lane;
    Rows rows{row.count, row.state + column.state, row_blocks, weight, weight_row};
    const std::uint64_t place = std::uint64_t{e} << 32;
    reached += row.count * run;
    if (until_full < most) {
      updates.give_counts(job.state.counters);
      until_full = kFull;
    }
    until_full -= most;
    // Kernels of three columns and 16, 32 or 64 features are the usual ones, and cost least when unrolled.
    if (is_huge) {
      for (; rows.count != 0; --rows.count, rows.first += row_blocks, rows.weight += weight_row) {
        updates.template add_run<0>(place, rows.first, rows.weight, run);
        updates.give_counts(job.state.counters);
      }
    } else if (run == 3) {
      updates.template add_rows<3>(place, rows, run);
    } else if (run == 6) {
      updates.template add_rows<6>(place, rows, run);
    } else if (run == 12) {
      updates.template add_rows<12>(place, rows, run);
    } else {
      updates.template add_rows<0>(place, rows, run);
    }
    if (Form::kFired == Fired::later || updates.hits > full) updates.fire(job);
  }
  updates.fire(job);
  updates.give_counts(job.state.counters);
  job.state.counters.events_in += static_cast<std::int64_t>(job.in.size());
  job.state.counters.synops += static_cast<std::int64_t>(reached / core.blocks * core.config.neurons.channels);
}

// The slow clock's edge: every neuron of the map, in the order y, x, feature.
template <typename Form, typename Block, typename Pair>
CHIPLOOP_TARGET void tick(const Job& job) {
  const Core& core = job.core;
  Updates<Form, Block, Pair> updates(job);
  const Hit* const full = job.state.hits.data() + hit_room(core) - core.blocks;
  std::size_t until_full = kFull;
  for (std::size_t first = 0; first < core.sites.size(); first += core.blocks, until_full -= core.blocks) {
    if (until_full < core.blocks) {
      updates.give_counts(job.state.counters);
      until_full = kFull;
    }
    updates.template add_run<0>(0, first, core.bias.data()->lane, core.blocks);
    if (Form::kFired == Fired::later || updates.hits > full) updates.fire(job);
  }
  updates.fire(job);
  updates.give_counts(job.state.counters);
}

template <typename Block, typename Pair, bool kSaturates, bool kFloor, bool kMap>
Scatter scatter_by_reset(const Core& core) {
  if (core.multiple) return scatter<Form<kSaturates, kFloor, kMap, Fired::later>, Block, Pair>;
  return core.config.reset == Reset::zero ? scatter<Form<kSaturates, kFloor, kMap, Fired::zero>, Block, Pair>
                                          : scatter<Form<kSaturates, kFloor, kMap, Fired::subtract>, Block, Pair>;
}

template <typename Block, typename Pair, bool kSaturates, bool kFloor>
Scatter scatter_by_map(const Core& core) {
  return core.has_map ? scatter_by_reset<Block, Pair, kSaturates, kFloor, true>(core)
                      : scatter_by_reset<Block, Pair, kSaturates, kFloor, false>(core);
}

template <typename Block, typename Pair>
Scatter scatter_of(const Core& core) {
  const bool floor = core.config.floor > std::numeric_limits<std::int16_t>::min();
  if (core.saturates) {
    return floor ? scatter_by_map<Block, Pair, true, true>(core) : scatter_by_map<Block, Pair, true, false>(core);
  }
  return floor ? scatter_by_map<Block, Pair, false, true>(core) : scatter_by_map<Block, Pair, false, false>(core);
}

// Edges of the clock are rare beside events: forms with every check will do.
template <typename Block, typename Pair, bool kMap>
Scatter tick_by_reset(const Core& core) {
  if (core.multiple) return tick<Form<true, true, kMap, Fired::later>, Block, Pair>;
  return core.config.reset == Reset::zero ? tick<Form<true, true, kMap, Fired::zero>, Block, Pair>
                                          : tick<Form<true, true, kMap, Fired::subtract>, Block, Pair>;
}

template <typename Block, typename Pair>
Kernels kernels_of(const Core& core) {
  return {scatter_of<Block, Pair>(core),
          core.has_map ? tick_by_reset<Block, Pair, true>(core) : tick_by_reset<Block, Pair, false>(core),
          scatter<Form<false, false, false, Fired::subtract, true>, Block, Pair>};
}

}  // namespace
}  // namespace chiploop
