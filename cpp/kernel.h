// What the kernels share: the list of blocks that fired, and what happens to their spikes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core.h"

namespace chiploop {

// How the update leaves a neuron that fired; `later`: fire_many() divides, as several spikes may be due.
enum class Fired { subtract, zero, later };

Scatter portable_scatter(const Core& core);
Scatter portable_tick(const Core& core);
Scatter general_scatter(const Core& core);
Scatter general_tick(const Core& core);
Scatter avx2_scatter(const Core& core);
bool has_avx2();

inline constexpr std::uint32_t kOneBitALane = 0x55555555u;

// Hits that a kernel collects before it makes spikes of them: some chunks' worth, and always room for one event's and
// for the write that is not kept.
inline std::size_t hit_room(const Core& core) {
  constexpr std::size_t kUsual = 2048;
  return std::max(kUsual, core.most_hits + 1);
}

// What one call of a kernel works on.
struct Job {
  const Core& core;
  CoreState& state;
  std::span<const Event> in;
  const Tap& tap;
  EventBuffer& out;
};

// Emits one spike for every lane that fired, in the order of events, y, x, feature.
void fire_once(const Job& job, std::span<const Hit> hits);

// Emits every spike that is due (V / threshold of them) and leaves the remainder.
void fire_many(const Job& job, std::span<const Hit> hits);

// Emits the spikes of one neuron, feature `lane` of a block, for the event that this hit names.
void emit(const Job& job, const Hit& hit, std::uint32_t lane, std::int64_t spikes);

}  // namespace chiploop
