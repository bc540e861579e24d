// Five-byte records into columns. Nothing branches on what a record holds but its being an overflow marker; the checks
// run over the columns afterwards, and where they fail another pass finds out what to say.
#include <algorithm>
#include <bit>
#include <cstring>

#include "input.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CHIPLOOP_X86 1
#define CHIPLOOP_AVX2 __attribute__((target("avx2")))
#include <immintrin.h>
#endif
#define CHIPLOOP_INLINE inline __attribute__((always_inline))

namespace chiploop {
namespace {

constexpr std::size_t kRecord = 5;
constexpr std::uint8_t kOverflowY = 240;
constexpr std::int64_t kOverflowUs = 1 << 13;

std::int64_t time_of(const std::uint8_t* record) {
  return (std::int64_t{record[2]} & 0x7F) << 16 | std::int64_t{record[3]} << 8 | record[4];
}

// The kinds are looked for one after the other, as one who checks column by column meets them.
Decoded find_fault(const std::uint8_t* bytes, std::size_t records, std::uint32_t width, std::uint32_t height) {
  for (const Fault kind : {Fault::x, Fault::y}) {
    const std::size_t place = kind == Fault::x ? 0 : 1;
    const std::uint32_t bound = kind == Fault::x ? width : height;
    for (std::size_t i = 0; i < records; ++i) {
      const std::uint8_t* const record = bytes + kRecord * i;
      if (record[1] != kOverflowY && record[place] >= bound) return {0, kind, i, 0, record[place]};
    }
  }
  std::int64_t shift = 0, before = 0;
  for (std::size_t i = 0; i < records; ++i) {
    const std::uint8_t* const record = bytes + kRecord * i;
    if (record[1] == kOverflowY) {
      shift += kOverflowUs;
      continue;
    }
    const std::int64_t t = time_of(record) + shift;
    if (t < before) return {0, Fault::time, i, before, t};
    before = t;
  }
  return {0, Fault::none, 0, 0, 0};
}

// How far decoding has come: events written, and what markers have added to the time.
struct Progress {
  std::size_t n = 0;
  std::int64_t shift = 0;
};

CHIPLOOP_INLINE void take(const std::uint8_t* record, const EventSink& sink, Progress& at) {
  if (record[1] == kOverflowY) {
    at.shift += kOverflowUs;
    return;
  }
  sink.t[at.n] = time_of(record) + at.shift;
  sink.channel[at.n] = record[2] >> 7;
  sink.y[at.n] = record[1];
  sink.x[at.n] = record[0];
  ++at.n;
}

CHIPLOOP_INLINE bool is_sound(const EventSink& sink, std::size_t n, std::uint32_t width, std::uint32_t height) {
  std::uint16_t x = 0, y = 0;
  std::uint64_t back = 0;
  for (std::size_t i = 0; i < n; ++i) x = std::max(x, sink.x[i]);
  for (std::size_t i = 0; i < n; ++i) y = std::max(y, sink.y[i]);
  for (std::size_t i = 1; i < n; ++i) back |= static_cast<std::uint64_t>(sink.t[i] < sink.t[i - 1]);
  return n == 0 || (x < width && y < height && back == 0);
}

bool decode_portable(const std::uint8_t* bytes, std::size_t records, std::uint32_t width, std::uint32_t height,
                     const EventSink& sink, Progress& at) {
  for (std::size_t i = 0; i < records; ++i) take(bytes + kRecord * i, sink, at);
  return is_sound(sink, at.n, width, height);
}

#ifdef CHIPLOOP_X86
constexpr char kNone = -128;  // a shuffle writes 0

CHIPLOOP_AVX2 CHIPLOOP_INLINE __m128i load16(const std::uint8_t* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

// The byte `k` of eight records, as eight 16-bit numbers, from loads at records 0, 3 and 5.
template <char k>
CHIPLOOP_AVX2 CHIPLOOP_INLINE __m128i column(__m128i from_0, __m128i from_3, __m128i from_5) {
  constexpr char a = k, b = k + 5, c = k + 10, o = kNone;
  return _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(from_0, _mm_setr_epi8(a, o, b, o, c, o, o, o, o, o, o, o, o, o, o, o)),
                                   _mm_shuffle_epi8(from_3, _mm_setr_epi8(o, o, o, o, o, o, a, o, b, o, c, o, o, o, o, o))),
                      _mm_shuffle_epi8(from_5, _mm_setr_epi8(o, o, o, o, o, o, o, o, o, o, o, o, b, o, c, o)));
}

CHIPLOOP_AVX2 CHIPLOOP_INLINE void store8(std::uint16_t* to, __m128i values) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), values);
}

// The times of four records, two from each half.
CHIPLOOP_AVX2 CHIPLOOP_INLINE void store_times(std::int64_t* to, __m256i records, __m256i places, std::int64_t shift) {
  const __m256i time = _mm256_and_si256(_mm256_shuffle_epi8(records, places), _mm256_set1_epi64x(0x7FFFFF));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_add_epi64(time, _mm256_set1_epi64x(shift)));
}

CHIPLOOP_AVX2 bool decode_avx2(const std::uint8_t* bytes, std::size_t records, std::uint32_t width, std::uint32_t height,
                               const EventSink& sink, Progress& at) {
  constexpr std::size_t kStep = 8, kReach = 9;  // records a step, and records that its last load touches
  constexpr char o = kNone;
  const __m256i first_two = _mm256_setr_epi8(4, 3, 2, o, o, o, o, o, 9, 8, 7, o, o, o, o, o,  //
                                             4, 3, 2, o, o, o, o, o, 9, 8, 7, o, o, o, o, o);
  const __m256i then_last = _mm256_setr_epi8(4, 3, 2, o, o, o, o, o, 9, 8, 7, o, o, o, o, o,  //
                                             9, 8, 7, o, o, o, o, o, 14, 13, 12, o, o, o, o, o);
  std::size_t i = 0;
  for (; i + kReach <= records; i += kStep) {
    const std::uint8_t* const p = bytes + kRecord * i;
    const __m128i from_0 = load16(p), from_2 = load16(p + 10), from_3 = load16(p + 15);
    const __m128i from_4 = load16(p + 20), from_5 = load16(p + 25);
    const __m128i y = column<1>(from_0, from_3, from_5);
    if (_mm_movemask_epi8(_mm_cmpeq_epi16(y, _mm_set1_epi16(kOverflowY))) != 0) {
      for (std::size_t k = 0; k < kStep; ++k) take(p + kRecord * k, sink, at);
      continue;
    }
    store8(sink.y + at.n, y);
    store8(sink.x + at.n, column<0>(from_0, from_3, from_5));
    store8(sink.channel + at.n, _mm_srli_epi16(column<2>(from_0, from_3, from_5), 7));
    store_times(sink.t + at.n, _mm256_setr_m128i(from_0, from_2), first_two, at.shift);
    store_times(sink.t + at.n + 4, _mm256_setr_m128i(from_4, from_5), then_last, at.shift);
    at.n += kStep;
  }
  for (; i < records; ++i) take(bytes + kRecord * i, sink, at);
  return is_sound(sink, at.n, width, height);
}
#endif

}  // namespace

Decoded decode_records(const std::uint8_t* bytes, std::size_t records, std::uint32_t width, std::uint32_t height,
                       const EventSink& sink, [[maybe_unused]] bool wide) {
  Progress at;
#ifdef CHIPLOOP_X86
  static const bool fast = __builtin_cpu_supports("avx2");
  const bool sound = wide && fast ? decode_avx2(bytes, records, width, height, sink, at)
                                  : decode_portable(bytes, records, width, height, sink, at);
#else
  const bool sound = decode_portable(bytes, records, width, height, sink, at);
#endif
  return sound ? Decoded{at.n, Fault::none, 0, 0, 0} : find_fault(bytes, records, width, height);
}

}  // namespace chiploop
