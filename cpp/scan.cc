// Elements are independent, so each thread takes a stretch of them and walks all of time on a block that stays in the
// first-level cache: every array is read or written once. The same source is compiled for AVX2 and for any machine;
// fma() rounds once on both, so both give the same bits.
#include "scan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CHIPLOOP_X86 1
#define CHIPLOOP_FMA __attribute__((target("avx2,fma")))
#endif
#define CHIPLOOP_INLINE inline __attribute__((always_inline))

namespace chiploop {
namespace {

constexpr std::size_t kBlock = 512;  // floats a row of the working set; some ten rows fit in 32 KiB

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

template <bool kAll, bool kZero>
CHIPLOOP_INLINE void forward_block(const ScanNeuron& n, const ScanForward& a, std::size_t steps, std::size_t size,
                                   std::size_t first, std::size_t width) {
  alignas(32) float v[kBlock];
  alignas(32) float s[kBlock];
  std::fill_n(v, width, 0.0f);
  for (std::size_t t = 0; t < steps; ++t) {
    const std::size_t at = t * size + first;
    const float* const current = a.current + at;
    float* const before = a.before + at;
    for (std::size_t i = 0; i < width; ++i) {
      const float raw = std::fma(n.keep, v[i], current[i] * n.gain);
      before[i] = raw;
      const float p = std::max(raw, n.v_min);
      const float fired = spikes_of<kAll>(n, p);
      s[i] = fired;
      v[i] = kZero ? (fired == 0.0f ? p : 0.0f) : std::fma(fired, -n.v_th, p);
    }
    if (a.spikes) std::copy_n(s, width, a.spikes + at);
    if (a.v_seen) std::copy_n(a.v_seen + at, width, v);
    if (a.after) std::copy_n(v, width, a.after + at);
  }
}

template <Slope kSlope, bool kAll, bool kZero>
CHIPLOOP_INLINE void backward_block(const ScanNeuron& n, const ScanBackward& a, std::size_t steps, std::size_t size,
                                    std::size_t first, std::size_t width) {
  alignas(32) float carry[kBlock];
  std::fill_n(carry, width, 0.0f);
  for (std::size_t t = steps; t-- > 0;) {
    const std::size_t at = t * size + first;
    const float* const before = a.before + at;
    const float* const grad_spikes = a.grad_spikes + at;
    float* const out = a.grad_current + at;
    if (a.grad_v) {
      for (std::size_t i = 0; i < width; ++i) carry[i] += a.grad_v[at + i];
    }
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

struct Stretch {
  std::size_t first, last;
};

template <bool kAll, bool kZero>
CHIPLOOP_INLINE void forward_body(const ScanNeuron& n, const ScanForward& a, std::size_t steps, std::size_t size, Stretch s) {
  for (std::size_t at = s.first; at < s.last; at += kBlock) {
    forward_block<kAll, kZero>(n, a, steps, size, at, std::min(kBlock, s.last - at));
  }
}

template <Slope kSlope, bool kAll, bool kZero>
CHIPLOOP_INLINE void backward_body(const ScanNeuron& n, const ScanBackward& a, std::size_t steps, std::size_t size, Stretch s) {
  for (std::size_t at = s.first; at < s.last; at += kBlock) {
    backward_block<kSlope, kAll, kZero>(n, a, steps, size, at, std::min(kBlock, s.last - at));
  }
}

using Forward = void (*)(const ScanNeuron&, const ScanForward&, std::size_t, std::size_t, Stretch);
using Backward = void (*)(const ScanNeuron&, const ScanBackward&, std::size_t, std::size_t, Stretch);

template <bool kAll, bool kZero>
struct Any {
  static void forward(const ScanNeuron& n, const ScanForward& a, std::size_t steps, std::size_t size, Stretch s) {
    forward_body<kAll, kZero>(n, a, steps, size, s);
  }
  template <Slope kSlope>
  static void backward(const ScanNeuron& n, const ScanBackward& a, std::size_t steps, std::size_t size, Stretch s) {
    backward_body<kSlope, kAll, kZero>(n, a, steps, size, s);
  }
};

#ifdef CHIPLOOP_X86
template <bool kAll, bool kZero>
struct Avx2 {
  CHIPLOOP_FMA static void forward(const ScanNeuron& n, const ScanForward& a, std::size_t steps, std::size_t size, Stretch s) {
    forward_body<kAll, kZero>(n, a, steps, size, s);
  }
  template <Slope kSlope>
  CHIPLOOP_FMA static void backward(const ScanNeuron& n, const ScanBackward& a, std::size_t steps, std::size_t size, Stretch s) {
    backward_body<kSlope, kAll, kZero>(n, a, steps, size, s);
  }
};
bool wide() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#else
template <bool kAll, bool kZero>
using Avx2 = Any<kAll, kZero>;
bool wide() { return false; }
#endif

template <template <bool, bool> class Isa>
Forward forward_of(const ScanNeuron& n) {
  if (n.all_spikes) return n.reset_to_zero ? Isa<true, true>::forward : Isa<true, false>::forward;
  return n.reset_to_zero ? Isa<false, true>::forward : Isa<false, false>::forward;
}

template <class Kernel>
Backward with_slope(Slope slope) {
  switch (slope) {
    case Slope::exponential: return Kernel::template backward<Slope::exponential>;
    case Slope::fast_sigmoid: return Kernel::template backward<Slope::fast_sigmoid>;
    case Slope::triangle: return Kernel::template backward<Slope::triangle>;
    case Slope::rectangle: break;
  }
  return Kernel::template backward<Slope::rectangle>;
}

template <template <bool, bool> class Isa>
Backward backward_of(const ScanNeuron& n) {
  if (n.all_spikes) return n.reset_to_zero ? with_slope<Isa<true, true>>(n.slope) : with_slope<Isa<true, false>>(n.slope);
  return n.reset_to_zero ? with_slope<Isa<false, true>>(n.slope) : with_slope<Isa<false, false>>(n.slope);
}

// Gives every thread a stretch of whole blocks; the split changes no result, since elements are independent.
template <class Kernel, class Arrays>
void run(Kernel kernel, const ScanNeuron& n, const Arrays& a, std::size_t steps, std::size_t size, int threads) {
  const std::size_t blocks = (size + kBlock - 1) / kBlock;
  const std::size_t workers = std::clamp<std::size_t>(static_cast<std::size_t>(std::max(threads, 1)), 1, std::max<std::size_t>(blocks, 1));
  const auto stretch = [&](std::size_t w) {
    return Stretch{std::min(size, blocks * w / workers * kBlock), std::min(size, blocks * (w + 1) / workers * kBlock)};
  };
  std::vector<std::thread> others;
  for (std::size_t w = 1; w < workers; ++w) {
    others.emplace_back([&, w] { kernel(n, a, steps, size, stretch(w)); });
  }
  kernel(n, a, steps, size, stretch(0));
  for (std::thread& other : others) other.join();
}

}  // namespace

void scan_forward(const ScanNeuron& neuron, const ScanForward& arrays, std::size_t steps, std::size_t size, int threads) {
  run(wide() ? forward_of<Avx2>(neuron) : forward_of<Any>(neuron), neuron, arrays, steps, size, threads);
}

void scan_backward(const ScanNeuron& neuron, const ScanBackward& arrays, std::size_t steps, std::size_t size, int threads) {
  run(wide() ? backward_of<Avx2>(neuron) : backward_of<Any>(neuron), neuron, arrays, steps, size, threads);
}

}  // namespace chiploop
