// The scans' arithmetic, on one unit of the work: a stretch of neurons that stays in the first-level cache over all of
// time, so that every array is read or written once. Compiled once for each instruction set, by scan.cc; fma() rounds
// once on all of them, so that all give the same bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "scan.h"

#define CHIPLOOP_INLINE inline __attribute__((always_inline))

// No step of the loop that follows depends on another: arrays are apart, or the same from the same index on.
#if defined(__clang__)
#define CHIPLOOP_APART _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define CHIPLOOP_APART _Pragma("GCC ivdep")
#else
#define CHIPLOOP_APART
#endif

namespace chiploop {
namespace {

// exp for arguments <= 0: 2^n e^r with |r| <= ln 2 / 2 and e^r by its series to degree 6 (relative error below 3e-7).
CHIPLOOP_INLINE float exp_negative(float a) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding and taking it away rounds to an integer
  a = std::max(a, -87.0f);               // below it the result would be subnormal
  const float n = (a * kLog2E + kRound) - kRound;
  const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, a));
  float e = 1.0f / 720.0f;
  e = std::fma(e, r, 1.0f / 120.0f);
  e = std::fma(e, r, 1.0f / 24.0f);
  e = std::fma(e, r, 1.0f / 6.0f);
  e = std::fma(e, r, 0.5f);
  e = std::fma(e, r, 1.0f);
  e = std::fma(e, r, 1.0f);
  const std::int32_t bits = (static_cast<std::int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return e * power;
}

template <Slope kSlope, bool kAll>
CHIPLOOP_INLINE float slope_at(const ScanNeuron& n, float v) {
  float x = v / n.v_th - 1.0f;
  if constexpr (kAll) x = std::min(x, 0.0f);
  const float d = std::fabs(x);
  float slope;
  if constexpr (kSlope == Slope::exponential) {
    slope = exp_negative(-n.shape * d);
  } else if constexpr (kSlope == Slope::fast_sigmoid) {
    const float root = 1.0f + n.shape * d;
    slope = 1.0f / (root * root);
  } else if constexpr (kSlope == Slope::triangle) {
    slope = std::max(1.0f - d / n.shape, 0.0f);
  } else {
    slope = d <= n.shape ? 1.0f : 0.0f;
  }
  return slope / n.v_th;
}

template <bool kAll>
CHIPLOOP_INLINE float spikes_of(const ScanNeuron& n, float v) {
  if constexpr (kAll) return std::max(std::floor(v / n.v_th), 0.0f);
  return v >= n.v_th ? 1.0f : 0.0f;
}

// Neurons that one thread takes through time: `width` of them from `first` on, which send to `sent` on. With a pool they
// are the rows of one row of sums (none, where the map's end leaves them out).
struct Unit {
  std::size_t first, width;
  std::size_t sent;
  bool sends;
};

// Room for a unit's working set: potentials (or carried gradients), spikes (or their gradients), and potentials before
// the reset where they are made on the spot.
struct Room {
  float* v;
  float* s;
  float* u;
};

// Asks for the same neurons a step on: their memory is too far away for the machine to guess it.
template <class T>
CHIPLOOP_INLINE void fetch(const T* from, std::size_t n) {
  constexpr std::size_t kLine = 64 / sizeof(T);
  for (std::size_t i = 0; i < n; i += kLine) __builtin_prefetch(from + i);
}

// Adds up squares of the unit's rows into one row of sums.
CHIPLOOP_INLINE void sum_squares(const ScanPool& p, const float* s, float* sums) {
  const std::size_t columns = p.width / p.size, channels = p.channels, row = p.width * channels;
  for (std::size_t x = 0; x < columns; ++x) {
    float* const to = sums + x * channels;
    const float* const corner = s + x * p.size * channels;
    if (p.size == 2) {  // nearly always
      const float* const below = corner + row;
      CHIPLOOP_APART
      for (std::size_t c = 0; c < channels; ++c) {
        to[c] = corner[c] + corner[channels + c] + below[c] + below[channels + c];
      }
      continue;
    }
    std::fill_n(to, channels, 0.0f);
    for (std::size_t dy = 0; dy < p.size; ++dy) {
      for (std::size_t dx = 0; dx < p.size; ++dx) {
        const float* const from = corner + dy * row + dx * channels;
        CHIPLOOP_APART
        for (std::size_t c = 0; c < channels; ++c) to[c] += from[c];
      }
    }
  }
}

// The gradient of the sums, given to every neuron of each square.
CHIPLOOP_INLINE void spread_squares(const ScanPool& p, const float* sums, float* s) {
  const std::size_t columns = p.width / p.size, row = p.width * p.channels;
  for (std::size_t x = 0; x < columns * p.size; ++x) std::copy_n(sums + x / p.size * p.channels, p.channels, s + x * p.channels);
  std::fill_n(s + columns * p.size * p.channels, row - columns * p.size * p.channels, 0.0f);
  for (std::size_t dy = 1; dy < p.size; ++dy) std::copy_n(s, row, s + dy * row);
}

// Sends what a unit fired in one step.
CHIPLOOP_INLINE void send(const ScanPool& pool, const float* s, std::size_t width, float* sent) {
  if (pool.size == 1) {
    std::copy_n(s, width, sent);
  } else {
    sum_squares(pool, s, sent);
  }
}

template <bool kAll, bool kZero>
CHIPLOOP_INLINE void forward_unit(const ScanNeuron& given, const ScanForward& a, std::size_t steps, std::size_t size,
                                  const Unit& unit, const Room& room) {
  const ScanNeuron n = given;  // a copy of its own, which no store into an array can reach
  const std::size_t width = unit.width, sent_size = size / a.pool.map() * a.pool.out_map();
  float* const v = room.v;
  float* const s = room.s;
  std::fill_n(v, width, 0.0f);
  for (std::size_t t = 0; t < steps; ++t) {
    const std::size_t at = t * size + unit.first;
    const float* const current = a.current + at;
    float* const before = a.before + at;
    if (t + 1 < steps) fetch(current + size, width);
    CHIPLOOP_APART
    for (std::size_t i = 0; i < width; ++i) {
      const float raw = std::fma(n.keep, v[i], current[i] * n.gain);
      before[i] = raw;
      const float p = std::max(raw, n.v_min);
      const float fired = spikes_of<kAll>(n, p);
      s[i] = fired;
      v[i] = kZero ? (fired == 0.0f ? p : 0.0f) : std::fma(fired, -n.v_th, p);
    }
    if (a.counts_seen) {
      const std::uint16_t* const counts = a.counts_seen + at;
      CHIPLOOP_APART
      for (std::size_t i = 0; i < width; ++i) s[i] = counts[i];
    }
    if (a.spikes && unit.sends) send(a.pool, s, width, a.spikes + t * sent_size + unit.sent);
    if (a.v_seen) std::copy_n(a.v_seen + at, width, v);
    if (a.v_levels) {
      const std::int16_t* const levels = a.v_levels + at;
      const float v_unit = a.v_unit;
      CHIPLOOP_APART
      for (std::size_t i = 0; i < width; ++i) v[i] = levels[i] * v_unit;
    }
    if (a.after) std::copy_n(v, width, a.after + at);
  }
}

// The forward scan where the chip's counts and potentials are both given: nothing is left but the potential before floor
// and reset, from which the gradient comes.
CHIPLOOP_INLINE void observed_unit(const ScanNeuron& given, const ScanForward& a, std::size_t steps, std::size_t size,
                                   const Unit& unit, const Room& room) {
  const float keep = given.keep, gain = given.gain, v_unit = a.v_unit;
  const std::size_t width = unit.width, sent_size = size / a.pool.map() * a.pool.out_map();
  float* const v = room.v;
  float* const s = room.s;
  std::fill_n(v, width, 0.0f);
  for (std::size_t t = 0; t < steps; ++t) {
    const std::size_t at = t * size + unit.first;
    const float* const current = a.current + at;
    float* const before = a.before + at;
    const std::uint16_t* const counts = a.counts_seen + at;
    const std::int16_t* const levels = a.v_levels + at;
    if (t + 1 < steps) fetch(current + size, width), fetch(counts + size, width), fetch(levels + size, width);
    CHIPLOOP_APART
    for (std::size_t i = 0; i < width; ++i) {
      before[i] = std::fma(keep, v[i], current[i] * gain);
      v[i] = levels[i] * v_unit;
      s[i] = counts[i];
    }
    if (a.spikes && unit.sends) send(a.pool, s, width, a.spikes + t * sent_size + unit.sent);
    if (a.after) std::copy_n(v, width, a.after + at);
  }
}

// The chip's potentials before the reset.
CHIPLOOP_INLINE void spent_on_spikes(const ScanBackward& a, float v_th, std::size_t at, std::size_t width, float* u) {
  const std::int16_t* const levels = a.v_levels + at;
  const std::uint16_t* const counts = a.counts_seen + at;
  const float v_unit = a.v_unit;
  CHIPLOOP_APART
  for (std::size_t i = 0; i < width; ++i) u[i] = std::fma(static_cast<float>(counts[i]), v_th, levels[i] * v_unit);
}

template <Slope kSlope, bool kAll, bool kZero>
CHIPLOOP_INLINE void backward_unit(const ScanNeuron& given, const ScanBackward& a, std::size_t steps, std::size_t size,
                                   const Unit& unit, const Room& room) {
  const ScanNeuron n = given;  // a copy of its own, which no store into an array can reach
  const std::size_t width = unit.width, sent_size = size / a.pool.map() * a.pool.out_map();
  float* const carry = room.v;
  float* const spread = room.s;
  std::fill_n(carry, width, 0.0f);
  std::fill_n(spread, width, 0.0f);
  for (std::size_t t = steps; t-- > 0;) {
    const std::size_t at = t * size + unit.first;
    const float* before = room.u;
    if (a.before) {
      before = a.before + at;
      if (t > 0) fetch(before - size, width);
    } else {
      spent_on_spikes(a, n.v_th, at, width, room.u);
      if (t > 0) fetch(a.v_levels + at - size, width), fetch(a.counts_seen + at - size, width);
    }
    const float* grad_spikes = spread;
    if (a.grad_spikes && unit.sends) {
      const float* const sent = a.grad_spikes + t * sent_size + unit.sent;
      if (a.pool.size == 1) {
        grad_spikes = sent;
      } else {
        spread_squares(a.pool, sent, spread);
      }
    }
    float* const out = a.grad_current + at;
    if (a.grad_v) {
      for (std::size_t i = 0; i < width; ++i) carry[i] += a.grad_v[at + i];
    }
    CHIPLOOP_APART
    for (std::size_t i = 0; i < width; ++i) {
      const float p = std::max(before[i], n.v_min), g = carry[i];
      const float slope = slope_at<kSlope, kAll>(n, p);
      float through, direct;
      if constexpr (kZero) {
        const float fired = spikes_of<kAll>(n, p);
        through = grad_spikes[i] - (fired <= 1.0f ? g * p : 0.0f);
        direct = fired == 0.0f ? g : 0.0f;
      } else {
        through = std::fma(g, -n.v_th, grad_spikes[i]);
        direct = g;
      }
      float grad = std::fma(through, slope, direct);
      grad = before[i] >= n.v_min ? grad : 0.0f;  // on the floor a neuron still learns
      out[i] = grad * n.gain;
      carry[i] = grad * n.keep;
    }
  }
}

// Counts of one unit and step, on their way.
CHIPLOOP_INLINE void send_unit(const std::uint16_t* counts, const ScanPool& pool, std::size_t width, float* s, float* sent) {
  CHIPLOOP_APART
  for (std::size_t i = 0; i < width; ++i) s[i] = counts[i];
  send(pool, s, width, sent);
}

}  // namespace
}  // namespace chiploop
