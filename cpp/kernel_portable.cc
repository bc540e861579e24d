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

// Updates 16 neurons; returns two bits a lane for those that fired.
template <bool kSaturates, bool kFloor, Fired kFired>
std::uint32_t update(StateBlock& state, const WeightBlock& weight, std::int16_t theta, std::int16_t floor,
                     BlockCounts& counts) {
  std::int16_t fired[kLanes];
  std::int16_t any = 0;
  for (std::size_t i = 0; i < kLanes; ++i) {
    std::int32_t v = state.lane[i] + weight.lane[i];
    if constexpr (kSaturates) {
      counts.high += v > kStateMax;
      counts.low += v < kStateMin;
      v = std::clamp(v, kStateMin, kStateMax);
    }
    if constexpr (kFloor) {
      counts.floored += v < floor;
      v = std::max(v, std::int32_t{floor});
    }
    const bool fires = v >= theta;
    fired[i] = static_cast<std::int16_t>(-fires);
    any = static_cast<std::int16_t>(any | fired[i]);
    if constexpr (kFired == Fired::subtract) v -= fired[i] & theta;
    if constexpr (kFired == Fired::zero) v &= ~fired[i];
    state.lane[i] = static_cast<std::int16_t>(v);
  }
  if (any == 0) return 0;
  std::uint32_t lanes = 0;
  for (std::size_t i = 0; i < kLanes; ++i) lanes |= (fired[i] != 0 ? 3u : 0u) << (2 * i);
  return lanes;
}

template <bool kSaturates, bool kFloor, Fired kFired>
void scatter(const Job& job) {
  const Core& core = job.core;
  const auto theta = static_cast<std::int16_t>(core.config.threshold);
  const auto floor = static_cast<std::int16_t>(core.config.floor);
  const std::size_t room = hit_room(core);
  Hit* const hits = job.state.hits.data();
  std::size_t n_hits = 0;
  Counters& total = job.state.counters;
  for (std::size_t e = 0; e < job.in.size(); ++e) {
    const Event& event = job.in[e];
    const Reach rows = core.rows[event.y], columns = core.columns[event.x];
    const std::size_t run = columns.count * core.blocks;
    std::size_t first = rows.first * core.row_blocks + columns.first * core.blocks;
    const WeightBlock* weight = core.weights.data() + event.channel * core.weight_plane +
                                rows.weight * core.weight_row + columns.weight * core.blocks;
    for (std::uint32_t row = 0; row < rows.count; ++row, first += core.row_blocks, weight += core.weight_row) {
      for (std::size_t i = 0; i < run; ++i) {
        BlockCounts counts;
        const std::uint32_t lanes =
            update<kSaturates, kFloor, kFired>(job.state.v[first + i], weight[i], theta, floor, counts);
        if (lanes != 0) hits[n_hits++] = {(std::uint64_t{e} << 32) + first + i, lanes, 0};
        total.saturated_high += counts.high;
        total.saturated_low += counts.low;
        total.floored += counts.floored;
      }
    }
    total.synops += std::int64_t{rows.count} * columns.count * core.config.neurons.channels;
    if constexpr (kFired == Fired::later) {
      fire_many(job, {hits, n_hits});
      n_hits = 0;
    } else if (n_hits + core.most_hits >= room) {
      fire_once(job, {hits, n_hits});
      n_hits = 0;
    }
  }
  if constexpr (kFired != Fired::later) fire_once(job, {hits, n_hits});
  total.events_in += static_cast<std::int64_t>(job.in.size());
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

}  // namespace chiploop
