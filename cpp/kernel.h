// What the kernels share: the list of blocks that fired, and what happens to their spikes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core.h"

namespace chiploop {

// CHIPLOOP_TARGET says what a kernel's functions are compiled for, and is defined by each kernel's file.
#define CHIPLOOP_INLINE CHIPLOOP_TARGET __attribute__((always_inline)) static inline

// How the update leaves a neuron that fired; `later`: fire_many() divides, as several spikes may be due.
enum class Fired { subtract, zero, later };

// What runs events through a core, what runs an edge of the slow clock, and the yardstick of the first: the same rows of
// weights added to the same states, and nothing else (null: there is none).
struct Kernels {
  Scatter scatter;
  Scatter tick;
  Scatter bare;
};

Kernels portable_kernels(const Core& core);
Kernels avx2_kernels(const Core& core);
Kernels avx512_kernels(const Core& core);
Kernels neon_kernels(const Core& core);
Kernels general_kernels(const Core& core);

// Those of an instruction set that this machine has; the general ones where the core needs them.
Kernels kernels_for(const Core& core, Isa isa);

bool has_avx2();
bool has_avx512();
bool has_neon();

// Hits that a kernel collects before it makes spikes of them: few enough to stay in the first-level cache, and always
// room for those of one event and of one position at the clock's edge.
inline std::size_t hit_room(const Core& core) {
  constexpr std::size_t kUsual = 1024;
  return std::max({kUsual, core.most_hits, core.blocks});
}

// What one call of a kernel works on.
struct Job {
  const Core& core;
  CoreState& state;
  std::span<const Event> in;
  const Tap& tap;
  EventBuffer& out;
};

// Emits one spike for every lane that fired, and reports it to whatever is tapped.
void fire_tapped(const Job& job, std::span<const Hit> hits);

// Emits every spike that is due (V / threshold of them) and leaves the remainder.
void fire_many(const Job& job, std::span<const Hit> hits);

// One neuron of a job: the event that reached it, its block, its feature within the block.
struct Place {
  std::size_t event;
  std::size_t block;
  std::uint32_t lane;
};

// Emits the spikes of one neuron.
void emit(const Job& job, const Place& place, std::int64_t spikes);

}  // namespace chiploop
