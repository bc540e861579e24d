// Sets of int16 lanes, as the kernels want them. Each has: V (values), Mask (what a comparison gives), kLanes, load (int16,
// or int8 widened), store, splat, add (wraps), adds (saturates), max, greater, drop (subtract where), clear (zero where),
// count (add 1 where), bits (one bit a lane).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel.h"

namespace chiploop {
namespace {

// Two sets of lanes as one, so that what follows a comparison is done half as often.
template <typename One>
struct Twice {
  static constexpr std::size_t kLanes = 2 * One::kLanes;
  struct V {
    typename One::V a, b;
  };
  struct Mask {
    typename One::Mask a, b;
  };
  template <typename T>
  CHIPLOOP_INLINE V load(const T* from) { return {One::load(from), One::load(from + One::kLanes)}; }
  CHIPLOOP_INLINE void store(std::int16_t* to, V v) { One::store(to, v.a), One::store(to + One::kLanes, v.b); }
  CHIPLOOP_INLINE V splat(std::int16_t x) { return {One::splat(x), One::splat(x)}; }
  CHIPLOOP_INLINE V add(V v, V w) { return {One::add(v.a, w.a), One::add(v.b, w.b)}; }
  CHIPLOOP_INLINE V adds(V v, V w) { return {One::adds(v.a, w.a), One::adds(v.b, w.b)}; }
  CHIPLOOP_INLINE V max(V v, V w) { return {One::max(v.a, w.a), One::max(v.b, w.b)}; }
  CHIPLOOP_INLINE Mask greater(V v, V w) { return {One::greater(v.a, w.a), One::greater(v.b, w.b)}; }
  CHIPLOOP_INLINE V drop(V v, Mask m, V w) { return {One::drop(v.a, m.a, w.a), One::drop(v.b, m.b, w.b)}; }
  CHIPLOOP_INLINE V clear(V v, Mask m) { return {One::clear(v.a, m.a), One::clear(v.b, m.b)}; }
  CHIPLOOP_INLINE V count(V v, Mask m) { return {One::count(v.a, m.a), One::count(v.b, m.b)}; }
  CHIPLOOP_INLINE std::uint32_t bits(Mask m) {
    if constexpr (requires { One::bits_of_two(m.a, m.b); }) {
      return One::bits_of_two(m.a, m.b);
    } else {
      return One::bits(m.a) | One::bits(m.b) << One::kLanes;
    }
  }
};

}  // namespace
}  // namespace chiploop
