// Which cores hear a core's events, and how an event changes on its way there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core.h"
#include "event.h"

namespace chiploop {

// One way out of a core (or the input): to the core at this position of the list, pooled by a further 2^pool, channels
// raised by `shift`.
struct Link {
  std::size_t core;
  std::uint32_t pool;
  std::uint32_t shift;
};

// All ways of a chip; cores stand in data-flow order, so that every link leads to a later one.
struct Wiring {
  std::vector<Link> inputs;
  std::vector<std::vector<Link>> targets;  // by core
  std::vector<bool> is_output;             // by core
  std::int64_t clock_us = 0;               // period of the slow clock; 0: none
  std::size_t answers = 0;                 // position of the output core whose spikes are totalled
};

// Sends an event along a link; false where it falls into a row or column that fills no window of the further pooling.
inline bool route(const Link& link, const Event& sent, const Shape& out_map, Event& arrived) {
  const std::uint32_t y = sent.y >> link.pool, x = sent.x >> link.pool;
  arrived = {sent.t_us, static_cast<std::uint16_t>(sent.channel + link.shift), static_cast<std::uint16_t>(y),
             static_cast<std::uint16_t>(x), 0};
  return y < out_map.height >> link.pool && x < out_map.width >> link.pool;
}

}  // namespace chiploop
