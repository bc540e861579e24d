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
void scatter(const Core& core, CoreState& state, std::span<const Event> in, const Tap& tap, EventBuffer& out) {
  const auto theta = static_cast<std::int16_t>(core.config.threshold);
  const auto floor = static_cast<std::int16_t>(core.config.floor);
  std::vector<Hit> hits(core.most_hits);
  Counters& total = state.counters;
  for (const Event& event : in) {
    const Reach rows = core.rows[event.y], columns = core.columns[event.x];
    const std::size_t run = columns.count * core.blocks;
    std::size_t first = rows.first * core.row_blocks + columns.first * core.blocks;
    const WeightBlock* weight = core.weights.data() + event.channel * core.weight_plane +
                                rows.weight * core.weight_row + columns.weight * core.blocks;
    std::size_t n_hits = 0;
    for (std::uint32_t row = 0; row < rows.count; ++row, first += core.row_blocks, weight += core.weight_row) {
      for (std::size_t i = 0; i < run; ++i) {
        BlockCounts counts;
        const std::uint32_t lanes =
            update<kSaturates, kFloor, kFired>(state.v[first + i], weight[i], theta, floor, counts);
        if (lanes != 0) hits[n_hits++] = {static_cast<std::uint32_t>(first + i), lanes};
        total.saturated_high += counts.high;
        total.saturated_low += counts.low;
        total.floored += counts.floored;
      }
    }
    total.synops += std::int64_t{rows.count} * columns.count * core.config.neurons.channels;
    if constexpr (kFired == Fired::later) {
      fire_many(core, state, tap, event.t_us, {hits.data(), n_hits}, out);
    } else {
      fire_once(core, state, tap, event.t_us, {hits.data(), n_hits}, out);
    }
  }
  total.events_in += static_cast<std::int64_t>(in.size());
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
