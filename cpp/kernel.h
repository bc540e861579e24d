// What the kernels share: the list of blocks that fired, and what happens to their spikes.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "core.h"

namespace chiploop {

// How the update leaves a neuron that fired; `later`: fire_many() divides, since several spikes may be due.
enum class Fired { subtract, zero, later };

using Scatter = void (*)(const Core&, CoreState&, std::span<const Event>, const Tap&, EventBuffer&);

Scatter portable_scatter(const Core& core);
Scatter avx2_scatter(const Core& core);
bool has_avx2();

// A block in which neurons fired.
struct Hit {
  std::uint32_t block;
  std::uint32_t lanes;  // two bits a lane, as the byte mask of int16 lanes comes out of the register
};

inline constexpr std::uint32_t kOneBitALane = 0x55555555u;

// Reports spikes to the tap: window counts (full at 65535, the rest is lost), totals, and the spikes themselves.
void report(const Core& core, CoreState& state, const Tap& tap, std::int64_t t_us, const Hit& hit, std::uint32_t lane,
            std::int64_t spikes);

// Emits one spike for every lane that fired, in the order (y, x, feature).
inline void fire_once(const Core& core, CoreState& state, const Tap& tap, std::int64_t t_us, std::span<const Hit> hits,
                      EventBuffer& out) {
  const bool tapped = tap.any();
  Event* next = out.room(hits.size() * kLanes + 1);
  for (const Hit& hit : hits) {
    const Site site = core.sites[hit.block];
    for (std::uint32_t lanes = hit.lanes & kOneBitALane; lanes != 0; lanes &= lanes - 1) {
      const auto lane = static_cast<std::uint32_t>(std::countr_zero(lanes)) >> 1;
      // Always written, kept only if it leaves: cheaper than a branch that a pooled odd map makes hard to predict.
      *next = {t_us, static_cast<std::uint16_t>(site.channel + lane), site.y, site.x, 0};
      next += site.leaves;
      state.counters.spikes += 1;
      if (tapped) report(core, state, tap, t_us, hit, lane, 1);
    }
  }
  out.commit(next);
}

// Emits every spike that is due (V / threshold of them) and leaves the remainder.
void fire_many(const Core& core, CoreState& state, const Tap& tap, std::int64_t t_us, std::span<const Hit> hits,
               EventBuffer& out);

}  // namespace chiploop
