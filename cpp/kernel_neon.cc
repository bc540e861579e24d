// NEON: 8 lanes a register. Every 64-bit Arm processor has it.
#include "kernel.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#define CHIPLOOP_TARGET
#include "kernel_body.h"

namespace chiploop {
namespace {

struct Half {
  static constexpr std::size_t kLanes = 8;
  using V = int16x8_t;
  using Mask = uint16x8_t;
  CHIPLOOP_INLINE V load(const std::int16_t* from) { return vld1q_s16(from); }
  CHIPLOOP_INLINE V load(const std::int8_t* from) { return vmovl_s8(vld1_s8(from)); }
  CHIPLOOP_INLINE void store(std::int16_t* to, V v) { vst1q_s16(to, v); }
  CHIPLOOP_INLINE V splat(std::int16_t x) { return vdupq_n_s16(x); }
  CHIPLOOP_INLINE V add(V v, V w) { return vaddq_s16(v, w); }
  CHIPLOOP_INLINE V adds(V v, V w) { return vqaddq_s16(v, w); }
  CHIPLOOP_INLINE V max(V v, V w) { return vmaxq_s16(v, w); }
  CHIPLOOP_INLINE Mask greater(V v, V w) { return vcgtq_s16(v, w); }
  CHIPLOOP_INLINE V drop(V v, Mask m, V w) { return vsubq_s16(v, vandq_s16(vreinterpretq_s16_u16(m), w)); }
  CHIPLOOP_INLINE V clear(V v, Mask m) { return vbicq_s16(v, vreinterpretq_s16_u16(m)); }
  CHIPLOOP_INLINE V count(V v, Mask m) { return vsubq_s16(v, vreinterpretq_s16_u16(m)); }
  CHIPLOOP_INLINE std::uint32_t bits_of_two(Mask a, Mask b) {
    constexpr std::uint8_t weight[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t narrow = vandq_u8(vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b)), vld1q_u8(weight));
    return vaddv_u8(vget_low_u8(narrow)) | static_cast<std::uint32_t>(vaddv_u8(vget_high_u8(narrow))) << 8;
  }
};

using Block = Twice<Half>;

}  // namespace

bool has_neon() { return true; }
Kernels neon_kernels(const Core& core) { return kernels_of<Block, Twice<Block>>(core); }

}  // namespace chiploop

#else

namespace chiploop {
bool has_neon() { return false; }
Kernels neon_kernels(const Core& core) { return portable_kernels(core); }
}  // namespace chiploop

#endif
