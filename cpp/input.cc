// Loops run a block or a column at a time, so that they vectorise. The same source is compiled for AVX2 and for any
// machine; nothing is contracted or reordered, so both give the same bits.
#include "input.h"

#include <algorithm>
#include <limits>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define CHIPLOOP_X86 1
#define CHIPLOOP_AVX2 __attribute__((target("avx2")))
#endif
#define CHIPLOOP_INLINE inline __attribute__((always_inline))

namespace chiploop {
namespace {

#ifdef CHIPLOOP_X86
bool has_avx2() {
  static const bool found = __builtin_cpu_supports("avx2");
  return found;
}
#endif

constexpr std::size_t kBlock = 512;
constexpr std::size_t kWorthAThread = std::size_t{1} << 20;  // cells and events; below it starting a thread costs more

// To the nearest integer, ties to even: past 2^51 there are no halves. Far larger numbers stay as large.
CHIPLOOP_INLINE double whole(double value) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  return (value + kRound) - kRound;
}

template <class Count>
constexpr Count largest() {
  if constexpr (std::is_floating_point_v<Count>) {
    return Count{1 << 24};
  } else {
    return std::numeric_limits<Count>::max();
  }
}

// Adds the events [first, last) to a window; places are worked out a block at a time, which vectorises.
template <bool kBounded, class Count>
CHIPLOOP_INLINE std::int64_t add_events(const EventColumns& events, std::size_t first, std::size_t last, const Sensor& sensor,
                        Count* counts) {
  std::uint32_t places[kBlock];
  const std::uint32_t rows = sensor.height, columns = sensor.width;
  std::int64_t lost = 0;
  for (std::size_t at = first; at < last; at += kBlock) {
    const std::size_t n = std::min(kBlock, last - at);
    const std::uint16_t *const channel = events.channel + at, *const y = events.y + at, *const x = events.x + at;
    for (std::size_t i = 0; i < n; ++i) places[i] = (channel[i] * rows + y[i]) * columns + x[i];
    for (std::size_t i = 0; i < n; ++i) {
      Count& count = counts[places[i]];
      if (kBounded && count == largest<Count>()) {
        ++lost;
      } else {
        count = static_cast<Count>(count + 1);
      }
    }
  }
  return lost;
}

template <class Count>
CHIPLOOP_INLINE std::int64_t count_one_inline(const EventColumns& events, const Sensor& sensor, std::span<const std::int64_t> edges,
                       Count* counts, std::size_t stride) {
  const auto before = [&](std::int64_t edge) {
    return static_cast<std::size_t>(std::lower_bound(events.t, events.t + events.n, edge) - events.t);
  };
  const bool bounded = events.n > static_cast<std::size_t>(largest<Count>());  // fewer cannot fill a cell
  std::size_t first = before(edges.front());
  auto lost = static_cast<std::int64_t>(first);
  for (std::size_t k = 0; k + 1 < edges.size(); ++k, counts += stride) {
    std::fill_n(counts, sensor.size(), Count{0});
    const std::size_t last = before(edges[k + 1]);
    lost += bounded ? add_events<true>(events, first, last, sensor, counts)
                    : add_events<false>(events, first, last, sensor, counts);
    first = last;
  }
  return lost + static_cast<std::int64_t>(events.n - first);
}

template <class Word>
CHIPLOOP_INLINE std::size_t unpack_inline(const Word* words, std::size_t n, const WordFields& fields, const Sensor& sensor,
                         std::int64_t start, std::int64_t duration, const EventSink& sink) {
  const unsigned y_at = fields.x_bits, channel_at = y_at + fields.y_bits, t_at = channel_at + fields.channel_bits;
  const auto ones = [](unsigned bits) { return static_cast<Word>((Word{1} << bits) - 1); };
  const Word in_x = ones(fields.x_bits), in_y = ones(fields.y_bits), in_channel = ones(fields.channel_bits);
  const auto width = static_cast<Word>(sensor.width), height = static_cast<Word>(sensor.height);
  const auto channels = static_cast<Word>(sensor.channels);
  const auto is_bad = [&](std::size_t i) {
    const Word word = words[i], x = word & in_x, y = word >> y_at & in_y, channel = word >> channel_at & in_channel;
    return (x >= width) | (y >= height) | (channel >= channels);
  };
  const auto is_late = [&](std::size_t i) {
    return i > 0 && words[i] >> t_at < words[i - 1] >> t_at;
  };
  const auto is_past = [&](std::size_t i) { return std::uint64_t{words[i] >> t_at} >= static_cast<std::uint64_t>(duration); };
  // A loop a column: each vectorises, and a recording's words stay in the first-level cache from one to the next.
  for (std::size_t i = 0; i < n; ++i) sink.t[i] = start + static_cast<std::int64_t>(words[i] >> t_at);
  for (std::size_t i = 0; i < n; ++i) sink.channel[i] = static_cast<std::uint16_t>(words[i] >> channel_at & in_channel);
  for (std::size_t i = 0; i < n; ++i) sink.y[i] = static_cast<std::uint16_t>(words[i] >> y_at & in_y);
  for (std::size_t i = 0; i < n; ++i) sink.x[i] = static_cast<std::uint16_t>(words[i] & in_x);
  Word bad = 0;
  for (std::size_t i = 0; i < n; ++i) bad |= static_cast<Word>(is_bad(i));
  for (std::size_t i = 1; i < n; ++i) bad |= static_cast<Word>(words[i] >> t_at < words[i - 1] >> t_at);
  if (bad == 0 && (n == 0 || !is_past(n - 1))) return n;
  for (std::size_t i = 0; i < n; ++i) {
    if (is_bad(i) || is_late(i) || is_past(i)) return i;
  }
  return n;
}

CHIPLOOP_INLINE std::size_t move_inline(const EventColumns& events, const Sensor& sensor, const Motion& m, const double* draws,
                        const EventSink& sink) {
  const double below = sensor.height, right = sensor.width;
  std::uint16_t new_y[kBlock], new_x[kBlock];
  std::uint8_t keep[kBlock];
  std::size_t kept = 0;
  for (std::size_t at = 0; at < events.n; at += kBlock) {
    const std::size_t n = std::min(kBlock, events.n - at);
    const std::uint16_t *const from_y = events.y + at, *const from_x = events.x + at;
    for (std::size_t i = 0; i < n; ++i) {
      const double dy = from_y[i] - m.cy, dx = from_x[i] - m.cx;
      // As NumPy evaluates it, an operation at a time: the build must not contract a product and a sum into one.
      const double y = whole(m.sy * (m.cos * dy - m.sin * dx) + m.cy + m.shift_y);
      const double x = whole(m.sx * (m.sin * dy + m.cos * dx + m.shear * dy) + m.cx + m.shift_x);
      keep[i] = static_cast<std::uint8_t>((y >= 0) & (y < below) & (x >= 0) & (x < right));
      new_y[i] = static_cast<std::uint16_t>(static_cast<std::int32_t>(std::min(std::max(y, 0.0), below)));
      new_x[i] = static_cast<std::uint16_t>(static_cast<std::int32_t>(std::min(std::max(x, 0.0), right)));
    }
    const std::int64_t* const t = events.t + at;
    for (std::size_t i = 0; i < n; ++i) keep[i] &= static_cast<std::uint8_t>((t[i] >= m.first) & (t[i] < m.stop));
    if (draws != nullptr) {
      for (std::size_t i = 0; i < n; ++i) keep[i] &= static_cast<std::uint8_t>(draws[at + i] >= m.drop);
    }
    // Written in any case, and overwritten by the next where it goes: kept <= at + i, so there is a place.
    for (std::size_t i = 0; i < n; ++i) {
      sink.t[kept] = t[i];
      sink.channel[kept] = events.channel[at + i];
      sink.y[kept] = new_y[i];
      sink.x[kept] = new_x[i];
      kept += keep[i];
    }
  }
  return kept;
}

#ifdef CHIPLOOP_X86
template <class Count>
CHIPLOOP_AVX2 std::int64_t count_one_avx2(const EventColumns& events, const Sensor& sensor,
                                          std::span<const std::int64_t> edges, Count* counts, std::size_t stride) {
  return count_one_inline(events, sensor, edges, counts, stride);
}

template <class Word>
CHIPLOOP_AVX2 std::size_t unpack_avx2(const Word* words, std::size_t n, const WordFields& fields, const Sensor& sensor,
                                      std::int64_t start, std::int64_t duration, const EventSink& sink) {
  return unpack_inline(words, n, fields, sensor, start, duration, sink);
}

CHIPLOOP_AVX2 std::size_t move_avx2(const EventColumns& events, const Sensor& sensor, const Motion& motion,
                                    const double* draws, const EventSink& sink) {
  return move_inline(events, sensor, motion, draws, sink);
}
#endif

template <class Count>
std::int64_t count_one(const EventColumns& events, const Sensor& sensor, std::span<const std::int64_t> edges,
                       Count* counts, std::size_t stride, [[maybe_unused]] bool wide) {
#ifdef CHIPLOOP_X86
  if (wide && has_avx2()) return count_one_avx2(events, sensor, edges, counts, stride);
#endif
  return count_one_inline(events, sensor, edges, counts, stride);
}

}  // namespace

template <class Word>
std::size_t unpack_words(const Word* words, std::size_t n, const WordFields& fields, const Sensor& sensor,
                         std::int64_t start, std::int64_t duration, const EventSink& sink, [[maybe_unused]] bool wide) {
#ifdef CHIPLOOP_X86
  if (wide && has_avx2()) return unpack_avx2(words, n, fields, sensor, start, duration, sink);
#endif
  return unpack_inline(words, n, fields, sensor, start, duration, sink);
}

template std::size_t unpack_words(const std::uint32_t*, std::size_t, const WordFields&, const Sensor&, std::int64_t,
                                  std::int64_t, const EventSink&, bool);
template std::size_t unpack_words(const std::uint64_t*, std::size_t, const WordFields&, const Sensor&, std::int64_t,
                                  std::int64_t, const EventSink&, bool);

std::size_t move_events(const EventColumns& events, const Sensor& sensor, const Motion& motion, const double* draws,
                        const EventSink& sink, [[maybe_unused]] bool wide) {
#ifdef CHIPLOOP_X86
  if (wide && has_avx2()) return move_avx2(events, sensor, motion, draws, sink);
#endif
  return move_inline(events, sensor, motion, draws, sink);
}

template <class Count>
void count_events(std::span<const EventColumns> batch, const Sensor& sensor, std::span<const std::int64_t> edges,
                  Count* counts, std::int64_t* lost, int threads, bool wide) {
  const std::size_t size = batch.size(), pixels = sensor.size();
  std::size_t work = size * pixels * (edges.size() - 1);
  for (const EventColumns& events : batch) work += events.n;
  const std::size_t wanted = std::min({static_cast<std::size_t>(std::max(threads, 1)), size, 1 + work / kWorthAThread});
  const auto stretch = [&](std::size_t worker) {
    for (std::size_t b = worker * size / wanted; b < (worker + 1) * size / wanted; ++b) {
      lost[b] = count_one(batch[b], sensor, edges, counts + b * pixels, size * pixels, wide);
    }
  };
  std::vector<std::thread> workers;
  for (std::size_t worker = 1; worker < wanted; ++worker) workers.emplace_back(stretch, worker);
  stretch(0);
  for (std::thread& worker : workers) worker.join();
}

template void count_events(std::span<const EventColumns>, const Sensor&, std::span<const std::int64_t>, std::uint8_t*,
                           std::int64_t*, int, bool);
template void count_events(std::span<const EventColumns>, const Sensor&, std::span<const std::int64_t>, std::uint16_t*,
                           std::int64_t*, int, bool);
template void count_events(std::span<const EventColumns>, const Sensor&, std::span<const std::int64_t>, float*,
                           std::int64_t*, int, bool);

}  // namespace chiploop
