// AVX2: 16 lanes a register. Compiled for it function by function, and chosen at run time.
#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define CHIPLOOP_TARGET __attribute__((target("avx2,popcnt,bmi")))
#include "kernel_body.h"

namespace chiploop {
namespace {

struct Block {
  static constexpr std::size_t kLanes = chiploop::kLanes;
  using V = __m256i;
  using Mask = __m256i;
  CHIPLOOP_INLINE V load(const std::int16_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  CHIPLOOP_INLINE V load(const std::int8_t* from) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  CHIPLOOP_INLINE void store(std::int16_t* to, V v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v); }
  CHIPLOOP_INLINE V splat(std::int16_t x) { return _mm256_set1_epi16(x); }
  CHIPLOOP_INLINE V add(V v, V w) { return _mm256_add_epi16(v, w); }
  CHIPLOOP_INLINE V adds(V v, V w) { return _mm256_adds_epi16(v, w); }
  CHIPLOOP_INLINE V max(V v, V w) { return _mm256_max_epi16(v, w); }
  CHIPLOOP_INLINE Mask greater(V v, V w) { return _mm256_cmpgt_epi16(v, w); }
  CHIPLOOP_INLINE V drop(V v, Mask m, V w) { return _mm256_sub_epi16(v, _mm256_and_si256(m, w)); }
  CHIPLOOP_INLINE V clear(V v, Mask m) { return _mm256_andnot_si256(m, v); }
  CHIPLOOP_INLINE V count(V v, Mask m) { return _mm256_sub_epi16(v, m); }
  CHIPLOOP_INLINE std::uint32_t bits(Mask m) {
    return static_cast<std::uint32_t>(
        _mm_movemask_epi8(_mm_packs_epi16(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1))));
  }
  CHIPLOOP_INLINE std::uint32_t bits_of_two(Mask a, Mask b) {
    return static_cast<std::uint32_t>(
        _mm256_movemask_epi8(_mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), _MM_SHUFFLE(3, 1, 2, 0))));
  }
};

}  // namespace

bool has_avx2() { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi") != 0; }
Kernels avx2_kernels(const Core& core) { return kernels_of<Block, Twice<Block>>(core); }

}  // namespace chiploop

#else

namespace chiploop {
bool has_avx2() { return false; }
Kernels avx2_kernels(const Core& core) { return portable_kernels(core); }
}  // namespace chiploop

#endif
