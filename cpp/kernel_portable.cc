// The update in plain C++, for machines without AVX2 and as the yardstick of the vector kernel.
#include <algorithm>
#include <cstdint>

#include "kernel.h"

namespace chiploop {
namespace {

constexpr std::int32_t kStateMin = INT16_MIN;
constexpr std::int32_t kStateMax = INT16_MAX;

// Counts of one block, in int16 so that the loop over lanes stays one vector wide for the compiler.
struct BlockCounts {
  std::int32_t high = 0;
  std::int32_t low = 0;
  std::int32_t floored = 0;
};

// Updates 16 neurons by 16 weights (or biases); returns two bits a lane for those that fired.
template <bool kSaturates, bool kFloor, Fired kFired, typename Weight>
std::uint32_t update(StateBlock& state, const Weight* weight, const std::int16_t* below, std::int16_t floor,
                     BlockCounts& counts) {
  std::int16_t fired[kLanes];
  std::int16_t any = 0;
  for (std::size_t i = 0; i < kLanes; ++i) {
    std::int32_t v = state.lane[i] + weight[i];
    if constexpr (kSaturates) {
      counts.high += v > kStateMax;
      counts.low += v < kStateMin;
      v = std::clamp(v, kStateMin, kStateMax);
    }
    if constexpr (kFloor) {
      counts.floored += v < floor;
      v = std::max(v, std::int32_t{floor});
    }
    const bool fires = v > below[i];
    fired[i] = static_cast<std::int16_t>(-fires);
    any = static_cast<std::int16_t>(any | fired[i]);
    if constexpr (kFired == Fired::subtract) v -= fired[i] & (below[i] + 1);
    if constexpr (kFired == Fired::zero) v &= ~fired[i];
    state.lane[i] = static_cast<std::int16_t>(v);
  }
  if (any == 0) return 0;
  std::uint32_t lanes = 0;
  for (std::size_t i = 0; i < kLanes; ++i) lanes |= (fired[i] != 0 ? 3u : 0u) << (2 * i);
  return lanes;
}

// One run of updates: the neurons' blocks, their thresholds, and the hits collected so far.
template <bool kSaturates, bool kFloor, Fired kFired>
class Updates {
 public:
  explicit Updates(const Job& job) : job_(job), room_(hit_room(job.core)), hits_(job.state.hits.data()) {
    std::fill_n(uniform_.lane, kLanes, static_cast<std::int16_t>(job.core.config.threshold - 1));
  }

  template <typename Weight>
  void add(std::size_t event, std::size_t block, const Weight* weight) {
    BlockCounts counts;
    const StateBlock& below = job_.core.has_map ? job_.core.below[block] : uniform_;
    const auto floor = static_cast<std::int16_t>(job_.core.config.floor);
    const std::uint32_t lanes =
        update<kSaturates, kFloor, kFired>(job_.state.v[block], weight, below.lane, floor, counts);
    if (lanes != 0) hits_[n_hits_++] = {(std::uint64_t{event} << 32) + block, lanes, 0};
    job_.state.counters.saturated_high += counts.high;
    job_.state.counters.saturated_low += counts.low;
    job_.state.counters.floored += counts.floored;
  }

  // Makes spikes of the hits; `most` more will come before the next call.
  void fire(std::size_t most) {
    if constexpr (kFired == Fired::later) {
      fire_many(job_, {hits_, n_hits_});
    } else {
      if (n_hits_ + most < room_) return;
      fire_once(job_, {hits_, n_hits_});
    }
    n_hits_ = 0;
  }

  void end() { fire(room_); }

 private:
  const Job& job_;
  const std::size_t room_;
  Hit* const hits_;
  std::size_t n_hits_ = 0;
  StateBlock uniform_;
};

template <bool kSaturates, bool kFloor, Fired kFired>
void scatter(const Job& job) {
  const Core& core = job.core;
  Updates<kSaturates, kFloor, kFired> updates(job);
  for (std::size_t e = 0; e < job.in.size(); ++e) {
    const Event& event = job.in[e];
    const Reach rows = core.rows[event.y], columns = core.columns[event.x];
    const std::size_t run = columns.count * core.blocks;
    std::size_t first = rows.first * core.row_blocks + columns.first * core.blocks;
    const WeightBlock* weight = core.weights.data() + event.channel * core.weight_plane +
                                rows.weight * core.weight_row + columns.weight * core.blocks;
    for (std::uint32_t row = 0; row < rows.count; ++row, first += core.row_blocks, weight += core.weight_row) {
      for (std::size_t i = 0; i < run; ++i) updates.add(e, first + i, weight[i].lane);
    }
    job.state.counters.synops += core.fan_out(event.y, event.x) * core.config.neurons.channels;
    updates.fire(core.most_hits);
  }
  updates.end();
  job.state.counters.events_in += static_cast<std::int64_t>(job.in.size());
}

// The slow clock's edge: every neuron of the map, in the order y, x, feature.
template <bool kSaturates, bool kFloor, Fired kFired>
void tick(const Job& job) {
  const Core& core = job.core;
  Updates<kSaturates, kFloor, kFired> updates(job);
  for (std::size_t block = 0; block < core.sites.size(); ++block) {
    updates.add(0, block, core.bias[block % core.blocks].lane);
    updates.fire(1);
  }
  updates.end();
}

template <bool kSaturates, bool kFloor>
Scatter by_reset(const Core& core) {
  if (core.multiple) return scatter<kSaturates, kFloor, Fired::later>;
  return core.config.reset == Reset::zero ? scatter<kSaturates, kFloor, Fired::zero>
                                          : scatter<kSaturates, kFloor, Fired::subtract>;
}

}  // namespace

Scatter portable_scatter(const Core& core) {
  const bool floor = core.config.floor > kStateMin;
  if (core.saturates) return floor ? by_reset<true, true>(core) : by_reset<true, false>(core);
  return floor ? by_reset<false, true>(core) : by_reset<false, false>(core);
}

// Edges of the clock are rare beside events: one form with every check will do.
Scatter portable_tick(const Core& core) {
  if (core.multiple) return tick<true, true, Fired::later>;
  return core.config.reset == Reset::zero ? tick<true, true, Fired::zero> : tick<true, true, Fired::subtract>;
}

}  // namespace chiploop
