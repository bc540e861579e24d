// Which scan runs: by neuron, slope and instruction set; and how the neurons are shared out among threads.
#include "scan.h"

#include <algorithm>
#include <vector>

#include "parallel.h"
#include "scan_body.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CHIPLOOP_X86 1
#endif

namespace chiploop {
namespace {

constexpr std::size_t kBlock = 2048;    // floats a row of the working set: with potentials and spikes 16 KiB of the first-level cache
constexpr std::size_t kPieces = 64;     // pieces of work; more than threads, so that none waits long for another

using Forward = void (*)(const ScanNeuron&, const ScanForward&, std::size_t, std::size_t, const Unit&, const Room&);
using Backward = void (*)(const ScanNeuron&, const ScanBackward&, std::size_t, std::size_t, const Unit&, const Room&);

// The kernels of one instruction set.
#define CHIPLOOP_KERNELS(Name, target)                                                                                  \
  template <bool kAll, bool kZero>                                                                                      \
  struct Name {                                                                                                         \
    target static void forward(const ScanNeuron& n, const ScanForward& a, std::size_t steps, std::size_t size,          \
                               const Unit& u, const Room& r) {                                                          \
      forward_unit<kAll, kZero>(n, a, steps, size, u, r);                                                               \
    }                                                                                                                   \
    target static void observed(const ScanNeuron& n, const ScanForward& a, std::size_t steps, std::size_t size,         \
                                const Unit& u, const Room& r) {                                                         \
      observed_unit(n, a, steps, size, u, r);                                                                           \
    }                                                                                                                   \
    target static void send(const std::uint16_t* counts, const ScanPool& pool, const Unit& u, float* s, float* sent) {   \
      send_unit(counts, pool, u.width, s, sent);                                                                        \
    }                                                                                                                   \
    template <Slope kSlope>                                                                                             \
    target static void backward(const ScanNeuron& n, const ScanBackward& a, std::size_t steps, std::size_t size,        \
                                const Unit& u, const Room& r) {                                                         \
      backward_unit<kSlope, kAll, kZero>(n, a, steps, size, u, r);                                                      \
    }                                                                                                                   \
  };

CHIPLOOP_KERNELS(Any, )
#ifdef CHIPLOOP_X86
CHIPLOOP_KERNELS(Avx2, __attribute__((target("avx2,fma"))))
CHIPLOOP_KERNELS(Avx512, __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma"))))
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq");
}
#endif

template <template <bool, bool> class Isa>
Forward forward_of(const ScanNeuron& n, bool observed) {
  if (observed) return Isa<false, false>::observed;
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

Forward forward_kernel(const ScanNeuron& n, bool observed) {
#ifdef CHIPLOOP_X86
  if (has_avx512()) return forward_of<Avx512>(n, observed);
  if (has_avx2()) return forward_of<Avx2>(n, observed);
#endif
  return forward_of<Any>(n, observed);
}

Backward backward_kernel(const ScanNeuron& n) {
#ifdef CHIPLOOP_X86
  if (has_avx512()) return backward_of<Avx512>(n);
  if (has_avx2()) return backward_of<Avx2>(n);
#endif
  return backward_of<Any>(n);
}

using Send = void (*)(const std::uint16_t*, const ScanPool&, const Unit&, float*, float*);

Send send_kernel() {
#ifdef CHIPLOOP_X86
  if (has_avx512()) return Avx512<false, false>::send;
  if (has_avx2()) return Avx2<false, false>::send;
#endif
  return Any<false, false>::send;
}

// The neurons of one step in units: blocks of memory, or the rows of each row of sums.
struct Units {
  Units(const ScanPool& pool, std::size_t size) : pool_(pool), size_(size) {
    rows_ = (pool.height + pool.size - 1) / pool.size;
    count = pool.size == 1 ? (size + kBlock - 1) / kBlock : size / pool.map() * rows_;
    widest = pool.size == 1 ? kBlock : pool.size * pool.width * pool.channels;
  }

  Unit at(std::size_t i) const {
    if (pool_.size == 1) return {i * kBlock, std::min(kBlock, size_ - i * kBlock), i * kBlock, true};
    const std::size_t frame = i / rows_, row = i % rows_, y = row * pool_.size, line = pool_.width * pool_.channels;
    const std::size_t rows = std::min(pool_.size, pool_.height - y);
    return {frame * pool_.map() + y * line, rows * line, frame * pool_.out_map() + row * pool_.out_row(), rows == pool_.size};
  }

  std::size_t count, widest;

 private:
  ScanPool pool_;
  std::size_t size_, rows_;
};

// Gives every piece a run of whole units; the split changes no result, since neurons are independent.
template <class Kernel, class Arrays>
void run(Kernel kernel, const ScanNeuron& n, const Arrays& a, std::size_t steps, std::size_t size, int threads) {
  constexpr std::size_t kWorthwhile = 1u << 16;  // neurons times steps for which another thread pays
  const Units units(a.pool, size);
  threads = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(std::max(threads, 1)), size * steps / kWorthwhile + 1));
  const std::size_t pieces = std::min(units.count, kPieces);
  parallel(pieces, threads, [&](std::size_t piece, std::size_t) {
    std::vector<float> memory(3 * units.widest);
    const Room room{memory.data(), memory.data() + units.widest, memory.data() + 2 * units.widest};
    const std::size_t last = units.count * (piece + 1) / pieces;
    for (std::size_t i = units.count * piece / pieces; i < last; ++i) kernel(n, a, steps, size, units.at(i), room);
  });
}

}  // namespace

void scan_forward(const ScanNeuron& neuron, const ScanForward& arrays, std::size_t steps, std::size_t size, int threads) {
  run(forward_kernel(neuron, arrays.counts_seen && arrays.v_levels), neuron, arrays, steps, size, threads);
}

void scan_backward(const ScanNeuron& neuron, const ScanBackward& arrays, std::size_t steps, std::size_t size, int threads) {
  run(backward_kernel(neuron), neuron, arrays, steps, size, threads);
}

void send_counts(const std::uint16_t* counts, const ScanPool& pool, std::size_t steps, std::size_t size, int threads,
                 float* sent) {
  const Units units(pool, size);
  const std::size_t sent_size = size / pool.map() * pool.out_map();
  const Send send = send_kernel();
  parallel(steps, threads, [&](std::size_t t, std::size_t) {
    std::vector<float> memory(units.widest);
    for (std::size_t i = 0; i < units.count; ++i) {
      const Unit unit = units.at(i);
      if (unit.sends) send(counts + t * size + unit.first, pool, unit, memory.data(), sent + t * sent_size + unit.sent);
    }
  });
}

}  // namespace chiploop
