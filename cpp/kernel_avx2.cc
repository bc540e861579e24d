// The update on 16 neurons at a time with AVX2, compiled for it function by function and chosen at run time.
#include "kernel.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define CHIPLOOP_AVX2 __attribute__((target("avx2,popcnt,bmi")))

namespace chiploop {
namespace {

// Lanes counted one by one: each is -1 where something happened. A row has fewer blocks than an int16 can count.
class LaneCount {
 public:
  CHIPLOOP_AVX2 LaneCount() : row_(_mm256_setzero_si256()), total_(_mm256_setzero_si256()) {}

  CHIPLOOP_AVX2 void add(__m256i happened) { row_ = _mm256_sub_epi16(row_, happened); }

  CHIPLOOP_AVX2 void end_row() {
    const __m256i ones = _mm256_set1_epi16(1);
    total_ = _mm256_add_epi32(total_, _mm256_madd_epi16(row_, ones));
    row_ = _mm256_setzero_si256();
  }

  CHIPLOOP_AVX2 std::int64_t take() {
    alignas(32) std::int32_t lane[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lane), total_);
    total_ = _mm256_setzero_si256();
    std::int64_t sum = 0;
    for (const std::int32_t n : lane) sum += n;
    return sum;
  }

 private:
  __m256i row_;
  __m256i total_;
};

template <bool kSaturates, bool kFloor, bool kMap, Fired kFired>
CHIPLOOP_AVX2 void scatter(const Job& job) {
  const Core& core = job.core;
  const __m256i one_below = _mm256_set1_epi16(static_cast<short>(core.config.threshold - 1));
  const __m256i one_theta = _mm256_set1_epi16(static_cast<short>(core.config.threshold));
  const __m256i floor = _mm256_set1_epi16(static_cast<short>(core.config.floor));
  StateBlock* const states = job.state.v.data();
  const std::size_t blocks = core.blocks, row_blocks = core.row_blocks, weight_row = core.weight_row;
  const std::size_t room = hit_room(core), most_hits = core.most_hits;
  Hit* const hits = job.state.hits.data();
  std::size_t n_hits = 0;
  std::int64_t positions = 0;
  LaneCount high, low, floored;

  for (std::size_t e = 0; e < job.in.size(); ++e) {
    const Event event = job.in[e];
    const Reach rows = core.rows[event.y], columns = core.columns[event.x];
    const std::size_t run = columns.count * blocks;
    std::size_t first = rows.first * row_blocks + columns.first * blocks;
    const WeightBlock* weight =
        core.weights.data() + event.channel * core.weight_plane + rows.weight * weight_row + columns.weight * blocks;
    positions += std::int64_t{rows.count} * columns.count;
    for (std::uint32_t row = 0; row < rows.count; ++row, first += row_blocks, weight += weight_row) {
      const std::uint64_t place = (std::uint64_t{e} << 32) + first;
      for (std::size_t i = 0; i < run; ++i) {
        auto* const state = reinterpret_cast<__m256i*>(states + first + i);
        const __m256i before = _mm256_load_si256(state);
        const __m256i w = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(weight + i)));
        __m256i v = _mm256_adds_epi16(before, w);
        if constexpr (kSaturates) {
          const __m256i wrapped = _mm256_add_epi16(before, w);
          high.add(_mm256_cmpgt_epi16(v, wrapped));
          low.add(_mm256_cmpgt_epi16(wrapped, v));
        }
        if constexpr (kFloor) {
          floored.add(_mm256_cmpgt_epi16(floor, v));
          v = _mm256_max_epi16(v, floor);
        }
        __m256i below = one_below, theta = one_theta;
        if constexpr (kMap) {
          below = _mm256_load_si256(reinterpret_cast<const __m256i*>(core.below.data() + first + i));
          theta = _mm256_add_epi16(below, _mm256_set1_epi16(1));  // wraps for the dead, which never fire
        }
        const __m256i fired = _mm256_cmpgt_epi16(v, below);
        if constexpr (kFired == Fired::subtract) v = _mm256_sub_epi16(v, _mm256_and_si256(fired, theta));
        if constexpr (kFired == Fired::zero) v = _mm256_andnot_si256(fired, v);
        _mm256_store_si256(state, v);
        const auto lanes = static_cast<std::uint32_t>(_mm256_movemask_epi8(fired));
        hits[n_hits].place = place + i;
        hits[n_hits].lanes = lanes;
        n_hits += lanes != 0;
      }
      if constexpr (kSaturates) high.end_row(), low.end_row();
      if constexpr (kFloor) floored.end_row();
    }
    if constexpr (kFired == Fired::later) {
      if (n_hits != 0) fire_many(job, {hits, n_hits});
      n_hits = 0;
    } else if (n_hits + most_hits >= room) {
      fire_once(job, {hits, n_hits});
      n_hits = 0;
    }
  }
  if constexpr (kFired != Fired::later) fire_once(job, {hits, n_hits});
  job.state.counters.events_in += static_cast<std::int64_t>(job.in.size());
  job.state.counters.synops += positions * core.config.neurons.channels;
  job.state.counters.saturated_high += high.take();
  job.state.counters.saturated_low += low.take();
  job.state.counters.floored += floored.take();
}

template <bool kSaturates, bool kFloor, bool kMap>
Scatter by_reset(const Core& core) {
  if (core.multiple) return scatter<kSaturates, kFloor, kMap, Fired::later>;
  return core.config.reset == Reset::zero ? scatter<kSaturates, kFloor, kMap, Fired::zero>
                                          : scatter<kSaturates, kFloor, kMap, Fired::subtract>;
}

template <bool kSaturates, bool kFloor>
Scatter by_map(const Core& core) {
  return core.has_map ? by_reset<kSaturates, kFloor, true>(core) : by_reset<kSaturates, kFloor, false>(core);
}

}  // namespace

bool has_avx2() { return __builtin_cpu_supports("avx2") != 0; }

Scatter avx2_scatter(const Core& core) {
  const bool floor = core.config.floor > INT16_MIN;
  if (core.saturates) return floor ? by_map<true, true>(core) : by_map<true, false>(core);
  return floor ? by_map<false, true>(core) : by_map<false, false>(core);
}

}  // namespace chiploop

#else

namespace chiploop {
bool has_avx2() { return false; }
Scatter avx2_scatter(const Core& core) { return portable_scatter(core); }
}  // namespace chiploop

#endif
