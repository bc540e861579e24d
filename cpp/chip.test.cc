// Tests of the chip: chunks, windows, and batches on threads; also meant for the sanitizers.
#include "chip.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "check.h"
#include "plain_core.h"

using namespace chiploop;

namespace {

// More events than a chunk, with a window edge inside: 3000 events of weight 1 at theta 2 give 1500 spikes.
void chunks_and_windows_lose_nothing() {
  Made made{{1}, {nullptr, 1, 1, 2, 0, Reset::subtract, SpikesPerUpdate::one, 1, 0, 0, {1, 1, 1}, {1, 1, 1}}, {}, {}};
  std::vector<Core> cores;
  cores.push_back(made.build(best_isa()));
  Chip chip(std::move(cores), {{{0, 0, 0}}, {{}}, {true}}, {1, 1, 1});
  std::vector<std::int64_t> t(3000), edges{0, 1501, 4000};
  for (std::size_t i = 0; i < t.size(); ++i) t[i] = static_cast<std::int64_t>(i);
  const std::vector<std::uint16_t> zero(3000);
  std::uint16_t counts[2] = {0, 0};
  std::int16_t potentials[2] = {-1, -1};
  Watch watch;
  watch.counts = counts;
  watch.potentials = potentials;
  watch.counts_stride = watch.potentials_stride = 1;
  EventBuffer out;
  watch.outputs = &out;
  const RunResult result = chip.run({t, zero, zero, zero, 0, 4000}, edges, {&watch, 1});
  CHECK(out.size() == 1500 && out.events()[0].t_us == 1 && out.events()[1499].t_us == 2999);
  CHECK(counts[0] == 750 && counts[1] == 750);        // 1501 events leave one behind
  CHECK(potentials[0] == 1 && potentials[1] == 0);
  CHECK(result.counters[0].events_in == 3000 && result.lost == 0);
}

// Two cores of 3 x 3 kernels with 20 and 5 features on an 8 x 8 map; the first one's spikes are pooled.
std::vector<Core> two_cores(std::mt19937& random, Isa isa) {
  std::vector<Core> cores;
  const Shape maps[3] = {{2, 8, 8}, {20, 8, 8}, {5, 4, 4}};
  for (int i = 0; i < 2; ++i) {
    const Shape in = i == 0 ? maps[0] : Shape{20, 4, 4};
    Made made{std::vector<std::int8_t>(in.channels * 9 * maps[i + 1].channels),
              {nullptr, 3, 3, 60, -60, Reset::subtract, SpikesPerUpdate::one, 1, 1, i == 0 ? 1u : 0u, in, maps[i + 1]},
              {},
              {}};
    for (std::int8_t& w : made.weight) w = static_cast<std::int8_t>(std::uniform_int_distribution<int>(-40, 60)(random));
    cores.push_back(made.build(isa));
  }
  return cores;
}

struct Stream {
  std::vector<std::int64_t> t;
  std::vector<std::uint16_t> channel, y, x;
  Columns columns() const { return {t, channel, y, x, 0, static_cast<std::int64_t>(t.size())}; }
};

std::vector<Stream> random_streams(std::mt19937& random, std::size_t n) {
  std::vector<Stream> streams(n);
  for (Stream& stream : streams) {
    for (std::size_t i = 0; i < 200 + random() % 2000; ++i) {
      stream.t.push_back(static_cast<std::int64_t>(i));
      stream.channel.push_back(static_cast<std::uint16_t>(random() % 2));
      stream.y.push_back(static_cast<std::uint16_t>(random() % 8));
      stream.x.push_back(static_cast<std::uint16_t>(random() % 8));
    }
  }
  return streams;
}

// What a batch writes into; the streams' parts lie side by side, as the arrays of the caller do.
struct Sinks {
  static constexpr std::size_t kWindows = 3, kFirst = 20 * 8 * 8, kLast = 5 * 4 * 4;
  std::vector<std::uint16_t> counts;
  std::vector<std::int16_t> potentials;
  std::vector<std::int64_t> totals;
  std::size_t batch;

  explicit Sinks(std::size_t n) : counts(kWindows * n * kFirst), potentials(kWindows * n * kLast), totals(n * kLast), batch(n) {}

  std::vector<Watch> of(std::size_t b) {
    std::vector<Watch> watches(2);
    watches[0].counts = counts.data() + b * kFirst;
    watches[0].counts_stride = batch * kFirst;
    watches[1].potentials = potentials.data() + b * kLast;
    watches[1].potentials_stride = batch * kLast;
    watches[1].totals = totals.data() + b * kLast;
    return watches;
  }
};

// However many threads share a batch, each stream gives what it gives alone, on every instruction set.
void batches_equal_single_runs() {
  const std::vector<std::int64_t> edges{0, 500, 1100, 3000};
  for (const Isa isa : available_isas()) {
    std::mt19937 random(3);
    const Wiring wiring{{{0, 0, 0}}, {{{1, 0, 0}}, {}}, {false, true}, 0, 1};
    Chip chip(two_cores(random, isa), wiring, {2, 8, 8});
    const std::vector<Stream> streams = random_streams(random, 9);
    std::vector<Columns> columns;
    for (const Stream& stream : streams) columns.push_back(stream.columns());
    Sinks alone(streams.size());
    std::vector<RunResult> want;
    for (std::size_t b = 0; b < streams.size(); ++b) {
      chip.reset();
      want.push_back(chip.run(columns[b], edges, alone.of(b)));
      CHECK(want[b].counters[0].spikes > 0 && want[b].counters[1].spikes > 0);
    }
    for (const unsigned threads : {1u, 2u, 4u}) {
      Sinks sinks(streams.size());
      std::vector<std::vector<Watch>> watches;
      for (std::size_t b = 0; b < streams.size(); ++b) watches.push_back(sinks.of(b));
      const std::vector<RunResult> got = chip.run_batch(columns, edges, watches, threads);
      CHECK(sinks.counts == alone.counts && sinks.potentials == alone.potentials && sinks.totals == alone.totals);
      for (std::size_t b = 0; b < streams.size(); ++b) {
        CHECK(std::memcmp(got[b].counters.data(), want[b].counters.data(), 2 * sizeof(Counters)) == 0);
      }
    }
  }
}

}  // namespace

int main() {
  chunks_and_windows_lose_nothing();
  batches_equal_single_runs();
}
