// AVX-512 (BW and VL): 32 lanes a register, comparisons that give masks. Compiled for it function by function.
#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define CHIPLOOP_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx2,popcnt,bmi")))
#include "kernel_body.h"

namespace chiploop {
namespace {

struct Block {
  static constexpr std::size_t kLanes = chiploop::kLanes;
  using V = __m256i;
  using Mask = __mmask16;
  CHIPLOOP_INLINE V load(const std::int16_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  CHIPLOOP_INLINE V load(const std::int8_t* from) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  CHIPLOOP_INLINE void store(std::int16_t* to, V v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v); }
  CHIPLOOP_INLINE V splat(std::int16_t x) { return _mm256_set1_epi16(x); }
  CHIPLOOP_INLINE V add(V v, V w) { return _mm256_add_epi16(v, w); }
  CHIPLOOP_INLINE V adds(V v, V w) { return _mm256_adds_epi16(v, w); }
  CHIPLOOP_INLINE V max(V v, V w) { return _mm256_max_epi16(v, w); }
  CHIPLOOP_INLINE Mask greater(V v, V w) { return _mm256_cmpgt_epi16_mask(v, w); }
  CHIPLOOP_INLINE V drop(V v, Mask m, V w) { return _mm256_mask_sub_epi16(v, m, v, w); }
  CHIPLOOP_INLINE V clear(V v, Mask m) { return _mm256_mask_sub_epi16(v, m, v, v); }
  CHIPLOOP_INLINE V count(V v, Mask m) { return _mm256_mask_add_epi16(v, m, v, _mm256_set1_epi16(1)); }
  CHIPLOOP_INLINE std::uint32_t bits(Mask m) { return _cvtmask16_u32(m); }
};

struct Pair {
  static constexpr std::size_t kLanes = 2 * chiploop::kLanes;
  using V = __m512i;
  using Mask = __mmask32;
  CHIPLOOP_INLINE V load(const std::int16_t* from) { return _mm512_loadu_si512(from); }
  CHIPLOOP_INLINE V load(const std::int8_t* from) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  CHIPLOOP_INLINE void store(std::int16_t* to, V v) { _mm512_storeu_si512(to, v); }
  CHIPLOOP_INLINE V splat(std::int16_t x) { return _mm512_set1_epi16(x); }
  CHIPLOOP_INLINE V add(V v, V w) { return _mm512_add_epi16(v, w); }
  CHIPLOOP_INLINE V adds(V v, V w) { return _mm512_adds_epi16(v, w); }
  CHIPLOOP_INLINE V max(V v, V w) { return _mm512_max_epi16(v, w); }
  CHIPLOOP_INLINE Mask greater(V v, V w) { return _mm512_cmpgt_epi16_mask(v, w); }
  CHIPLOOP_INLINE V drop(V v, Mask m, V w) { return _mm512_mask_sub_epi16(v, m, v, w); }
  CHIPLOOP_INLINE V clear(V v, Mask m) { return _mm512_mask_sub_epi16(v, m, v, v); }
  CHIPLOOP_INLINE V count(V v, Mask m) { return _mm512_mask_add_epi16(v, m, v, _mm512_set1_epi16(1)); }
  CHIPLOOP_INLINE std::uint32_t bits(Mask m) { return _cvtmask32_u32(m); }
};

}  // namespace

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0;
}
Kernels avx512_kernels(const Core& core) { return kernels_of<Block, Pair>(core); }

}  // namespace chiploop

#else

namespace chiploop {
bool has_avx512() { return false; }
Kernels avx512_kernels(const Core& core) { return portable_kernels(core); }
}  // namespace chiploop

#endif
