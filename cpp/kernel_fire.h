// Spikes of the blocks in which neurons fired, for kernels that reset in the update; compiled with each of them.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "kernel.h"

namespace chiploop {
namespace {

// Moves the words in which a lane fired to the front, without a branch that nobody could predict; returns those.
CHIPLOOP_TARGET std::span<const Hit> fired_ones(std::span<Hit> hits) {
  std::size_t n = 0;
  for (const Hit& hit : hits) {
    hits[n] = hit;
    n += hit.lanes() != 0;
  }
  return hits.first(n);
}

template <bool kCounts>
CHIPLOOP_TARGET void write_spikes(const Job& job, std::span<const Hit> hits) {
  std::size_t spikes = 0;
  for (const Hit& hit : hits) {
    spikes += static_cast<std::size_t>(std::popcount(hit.lanes()));
    if constexpr (kCounts) {  // counts of each window are new memory: ask for it before it is needed
      const auto lane = static_cast<std::size_t>(std::countr_zero(hit.lanes()));
      __builtin_prefetch(job.tap.counts + job.core.sites[hit.block() + lane / kLanes].neuron, 1);
    }
  }
  Event* next = job.out.room(spikes + 1);
  for (const Hit& hit : hits) {
    const std::int64_t t_us = job.in[hit.event()].t_us;
    const Site* const sites = job.core.sites.data() + hit.block();
    for (std::uint64_t lanes = hit.lanes(); lanes != 0; lanes &= lanes - 1) {
      const auto lane = static_cast<std::uint32_t>(std::countr_zero(lanes));
      const Site& site = sites[lane / kLanes];
      // Always written, kept only if it leaves: cheaper than a branch on the edge of an odd map.
      *next = site.first.event(t_us, lane % kLanes);
      next += site.leaves;
      if constexpr (kCounts) {
        std::uint16_t& count = job.tap.counts[site.neuron + lane % kLanes];
        const bool fits = count != std::numeric_limits<std::uint16_t>::max();
        count = static_cast<std::uint16_t>(count + fits);
        job.state.lost += !fits;
      }
    }
  }
  job.out.commit(next);
  job.state.counters.spikes += static_cast<std::int64_t>(spikes);
}

// Emits one spike for every lane that fired, in the order of events, y, x, feature.
CHIPLOOP_TARGET void fire_once(const Job& job, std::span<Hit> all) {
  const std::span<const Hit> hits = fired_ones(all);
  if (job.tap.totals != nullptr || job.tap.spikes != nullptr) return fire_tapped(job, hits);
  if (job.tap.counts != nullptr) return write_spikes<true>(job, hits);
  write_spikes<false>(job, hits);
}

}  // namespace
}  // namespace chiploop
