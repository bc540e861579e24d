// The update on 16 neurons at a time with AVX2, compiled for it function by function and chosen at run time.
#include "kernel.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define CHIPLOOP_AVX2 __attribute__((target("avx2,popcnt,bmi")))

namespace chiploop {
namespace {

inline std::int64_t lanes_in(std::uint32_t mask) { return std::popcount(mask) >> 1; }

template <bool kSaturates, bool kFloor, Fired kFired>
CHIPLOOP_AVX2 void scatter(const Core& core, CoreState& state, std::span<const Event> in, const Tap& tap,
                           EventBuffer& out) {
  const __m256i below = _mm256_set1_epi16(static_cast<short>(core.config.threshold - 1));
  const __m256i theta = _mm256_set1_epi16(static_cast<short>(core.config.threshold));
  const __m256i floor = _mm256_set1_epi16(static_cast<short>(core.config.floor));
  StateBlock* const all_states = state.v.data();
  const std::size_t blocks = core.blocks, row_blocks = core.row_blocks, weight_row = core.weight_row;
  std::vector<Hit> hit_list(core.most_hits + 1);  // the last entry takes the write that is not kept
  Hit* const hits = hit_list.data();
  std::int64_t synops = 0, high = 0, low = 0, floored = 0;

  for (const Event& event : in) {
    const Reach rows = core.rows[event.y], columns = core.columns[event.x];
    const std::size_t run = columns.count * blocks;
    std::size_t first = rows.first * row_blocks + columns.first * blocks;
    const WeightBlock* weight =
        core.weights.data() + event.channel * core.weight_plane + rows.weight * weight_row + columns.weight * blocks;
    std::size_t n_hits = 0;
    for (std::uint32_t row = 0; row < rows.count; ++row, first += row_blocks, weight += weight_row) {
      for (std::size_t i = 0; i < run; ++i) {
        auto* const place = reinterpret_cast<__m256i*>(all_states + first + i);
        const __m256i before = _mm256_load_si256(place);
        const __m256i w = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(weight + i)));
        __m256i v = _mm256_adds_epi16(before, w);
        if constexpr (kSaturates) {
          const __m256i wrapped = _mm256_add_epi16(before, w);
          high += lanes_in(static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpgt_epi16(v, wrapped))));
          low += lanes_in(static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpgt_epi16(wrapped, v))));
        }
        if constexpr (kFloor) {
          floored += lanes_in(static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpgt_epi16(floor, v))));
          v = _mm256_max_epi16(v, floor);
        }
        const __m256i fired = _mm256_cmpgt_epi16(v, below);
        if constexpr (kFired == Fired::subtract) v = _mm256_sub_epi16(v, _mm256_and_si256(fired, theta));
        if constexpr (kFired == Fired::zero) v = _mm256_andnot_si256(fired, v);
        _mm256_store_si256(place, v);
        const auto lanes = static_cast<std::uint32_t>(_mm256_movemask_epi8(fired));
        hits[n_hits] = {static_cast<std::uint32_t>(first + i), lanes};
        n_hits += lanes != 0;
      }
    }
    synops += std::int64_t{rows.count} * columns.count;
    if (n_hits != 0) {
      if constexpr (kFired == Fired::later) {
        fire_many(core, state, tap, event.t_us, {hits, n_hits}, out);
      } else {
        fire_once(core, state, tap, event.t_us, {hits, n_hits}, out);
      }
    }
  }
  state.counters.events_in += static_cast<std::int64_t>(in.size());
  state.counters.synops += synops * core.config.neurons.channels;
  state.counters.saturated_high += high;
  state.counters.saturated_low += low;
  state.counters.floored += floored;
}

template <bool kSaturates, bool kFloor>
Scatter by_reset(const Core& core) {
  if (core.multiple) return scatter<kSaturates, kFloor, Fired::later>;
  return core.config.reset == Reset::zero ? scatter<kSaturates, kFloor, Fired::zero>
                                          : scatter<kSaturates, kFloor, Fired::subtract>;
}

}  // namespace

bool has_avx2() { return __builtin_cpu_supports("avx2") != 0; }

Scatter avx2_scatter(const Core& core) {
  const bool floor = core.config.floor > INT16_MIN;
  if (core.saturates) return floor ? by_reset<true, true>(core) : by_reset<true, false>(core);
  return floor ? by_reset<false, true>(core) : by_reset<false, false>(core);
}

}  // namespace chiploop

#else

namespace chiploop {
bool has_avx2() { return false; }
Scatter avx2_scatter(const Core& core) { return portable_scatter(core); }
}  // namespace chiploop

#endif
