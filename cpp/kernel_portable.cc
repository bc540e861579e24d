// Every other machine: vectors of the compiler (GCC, Clang), 8 lanes each, which become whatever the processor has.
#define CHIPLOOP_TARGET
#include <cstring>

#include "kernel_body.h"

namespace chiploop {
namespace {

struct Half {
  static constexpr std::size_t kLanes = 8;
  using V = std::int16_t __attribute__((vector_size(16)));
  using Mask = V;  // -1 where it holds
  using Unsigned = std::uint16_t __attribute__((vector_size(16)));
  using Bytes = std::int8_t __attribute__((vector_size(8)));
  CHIPLOOP_INLINE V load(const std::int16_t* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
  }
  CHIPLOOP_INLINE V load(const std::int8_t* from) {
    Bytes bytes;
    std::memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(bytes, V);
  }
  CHIPLOOP_INLINE void store(std::int16_t* to, V v) { std::memcpy(to, &v, sizeof v); }
  CHIPLOOP_INLINE V splat(std::int16_t x) { return V{x, x, x, x, x, x, x, x}; }
  // Signed sums may not overflow in C++; unsigned ones wrap.
  CHIPLOOP_INLINE V add(V v, V w) { return (V)((Unsigned)v + (Unsigned)w); }
  CHIPLOOP_INLINE V subtract(V v, V w) { return (V)((Unsigned)v - (Unsigned)w); }
  CHIPLOOP_INLINE V adds(V v, V w) {
    const V sum = add(v, w);
    const V over = ((v ^ sum) & (w ^ sum)) >> 15;     // -1 where both had one sign and the sum has the other
    const V bound = (v >> 15) ^ splat(std::numeric_limits<std::int16_t>::max());
    return (over & bound) | (~over & sum);
  }
  CHIPLOOP_INLINE V max(V v, V w) { return v > w ? v : w; }
  CHIPLOOP_INLINE Mask greater(V v, V w) { return v > w; }
  CHIPLOOP_INLINE V drop(V v, Mask m, V w) { return subtract(v, m & w); }
  CHIPLOOP_INLINE V clear(V v, Mask m) { return v & ~m; }
  CHIPLOOP_INLINE V count(V v, Mask m) { return subtract(v, m); }
  // The product moves bit 0 of byte i to bit 56 + i; lanes are in the order of their addresses.
  CHIPLOOP_INLINE std::uint32_t bits(Mask m) {
    const Bytes bytes = __builtin_convertvector(m & splat(1), Bytes);
    std::uint64_t packed;
    std::memcpy(&packed, &bytes, sizeof packed);
    if constexpr (std::endian::native == std::endian::big) packed = __builtin_bswap64(packed);
    return static_cast<std::uint32_t>(packed * 0x0102040810204080u >> 56);
  }
};

using Block = Twice<Half>;

}  // namespace

Kernels portable_kernels(const Core& core) { return kernels_of<Block, Twice<Block>>(core); }

}  // namespace chiploop
