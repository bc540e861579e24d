// Tests of the core's tables and proofs, and of every kernel against a plain loop; also meant for the sanitizers.
#include "core.h"

#include <cstring>

#include "check.h"
#include "plain_core.h"

using namespace chiploop;

namespace {

Made single_synapse(int weight, int threshold, int floor, Reset reset, SpikesPerUpdate rule) {
  const CoreConfig config{nullptr, 1, 1, threshold, floor, reset, rule, 1, 0, 0, {1, 1, 1}, {1, 1, 1}};
  return {{static_cast<std::int8_t>(weight)}, config, {}, {}};
}

void buffer_keeps_events_while_it_grows() {
  EventBuffer buffer;
  for (std::uint16_t i = 0; i < 1000; ++i) buffer.push({i, i, 0, 0, 0});
  CHECK(buffer.size() == 1000);
  for (std::uint16_t i = 0; i < 1000; ++i) CHECK(buffer.events()[i].channel == i);
  Event* slot = buffer.room(5000);
  slot[0] = {7, 7, 7, 7, 0};
  buffer.commit(slot + 1);
  CHECK(buffer.size() == 1001 && buffer.events()[999].channel == 999 && buffer.events()[1000].x == 7);
}

// Kernel entry k has weight k + 1; the run that starts at an input's place must meet output o with k = i + p - o s.
void reach_follows_the_definition() {
  for (std::uint32_t kernel = 1; kernel <= 7; ++kernel) {
    for (std::uint32_t stride = 1; stride <= 9; ++stride) {
      for (std::uint32_t padding = 0; padding <= 4; ++padding) {
        constexpr std::uint32_t inputs = 9;
        const std::uint32_t n = outputs(inputs, kernel, stride, padding);
        const Shape in{1, 1, inputs}, neurons{1, outputs(1, 1, stride, padding), n};
        Made made{std::vector<std::int8_t>(kernel),
                  {nullptr, 1, kernel, 100, -100, Reset::subtract, SpikesPerUpdate::one, stride, padding, 0, in, neurons},
                  {},
                  {}};
        for (std::uint32_t k = 0; k < kernel; ++k) made.weight[k] = static_cast<std::int8_t>(k + 1);
        const Core core = made.build(Isa::portable);
        for (std::uint32_t i = 0; i < inputs; ++i) {
          std::uint32_t found = 0;
          for (std::uint32_t o = 0; o < n; ++o) {
            const std::int64_t k = std::int64_t{i} + padding - std::int64_t{o} * stride;
            if (k < 0 || k >= kernel) continue;
            const Reach& reach = core.columns[i];
            CHECK(o == reach.first + found);
            CHECK(core.weights[reach.weight + found].lane[0] == k + 1);
            ++found;
          }
          CHECK(core.columns[i].count == found);
        }
      }
    }
  }
}

void saturation_is_ruled_out_only_where_it_cannot_happen() {
  const auto saturates = [](int weight, int threshold, int floor, SpikesPerUpdate rule, Reset reset) {
    return single_synapse(weight, threshold, floor, reset, rule).build(Isa::portable).saturates;
  };
  constexpr auto one = SpikesPerUpdate::one, all = SpikesPerUpdate::all;
  CHECK(!saturates(127, 127, -32768, one, Reset::subtract));  // 126 + 127 - 127 < theta
  CHECK(saturates(127, 126, -32768, one, Reset::subtract));   // the surplus grows
  CHECK(!saturates(127, 126, -32768, all, Reset::subtract));  // all of it leaves
  CHECK(!saturates(127, 1, -32768, one, Reset::zero));
  CHECK(!saturates(127, 32641, -32768, one, Reset::subtract));  // 32640 + 127 = 32767
  CHECK(saturates(127, 32642, -32768, one, Reset::subtract));
  CHECK(!saturates(-128, 100, -32640, one, Reset::subtract));  // -32640 - 128 = -32768
  CHECK(saturates(-128, 100, -32641, one, Reset::subtract));
  CHECK(!saturates(5, 100, -32768, one, Reset::subtract));  // nothing pulls down
}

void several_spikes_are_due_only_where_weights_pass_the_threshold() {
  const auto multiple = [](int weight, SpikesPerUpdate rule, Reset reset) {
    return single_synapse(weight, 50, 0, reset, rule).build(Isa::portable).multiple;
  };
  CHECK(multiple(51, SpikesPerUpdate::all, Reset::subtract));
  CHECK(!multiple(50, SpikesPerUpdate::all, Reset::subtract));
  CHECK(!multiple(51, SpikesPerUpdate::one, Reset::subtract));
  CHECK(!multiple(51, SpikesPerUpdate::all, Reset::zero));
}

// What one kind of tap saw of a run.
struct Seen {
  CoreState state;
  EventBuffer out, spikes;
  std::vector<std::uint16_t> counts;
  std::vector<std::int64_t> totals;
};

enum class Taps { none, counts, all };

Seen run(const Core& core, std::span<const Event> in, Taps taps) {
  const std::size_t n = core.config.neurons.size();
  Seen seen{core.fresh_state(), {}, {}, std::vector<std::uint16_t>(n), std::vector<std::int64_t>(n)};
  Tap tap;
  if (taps != Taps::none) tap.counts = seen.counts.data();
  if (taps == Taps::all) tap.totals = seen.totals.data(), tap.spikes = &seen.spikes;
  core.run(seen.state, in, tap, seen.out);
  return seen;
}

void require_same_events(const EventBuffer& buffer, const std::vector<Event>& want) {
  CHECK(buffer.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    const Event& a = buffer.events()[i];
    const Event& b = want[i];
    CHECK(a.t_us == b.t_us && a.channel == b.channel && a.y == b.y && a.x == b.x && a.unused == 0);
  }
}

void require_same(const Core& core, Seen& seen, const Plain& plain, Taps taps) {
  std::vector<std::int16_t> v(core.config.neurons.size());
  core.copy_potentials(seen.state, 0, v.data());
  for (std::size_t i = 0; i < v.size(); ++i) CHECK(v[i] == plain.v[i]);
  CHECK(std::memcmp(&seen.state.counters, &plain.counters, sizeof(Counters)) == 0);
  require_same_events(seen.out, plain.out);
  if (taps == Taps::none) return;
  for (std::size_t i = 0; i < v.size(); ++i) CHECK(seen.counts[i] == plain.totals[i]);
  if (taps != Taps::all) return;
  CHECK(seen.totals == plain.totals);
  require_same_events(seen.spikes, plain.spikes);
}

// Every instruction set of this machine, whatever is tapped; also with other thresholds everywhere and with a bias.
void kernels_equal_the_plain_loop() {
  std::mt19937 random(7);
  Counters reached;
  for (int trial = 0; trial < 300; ++trial) {
    Made made = random_core(random);
    made.randomise_map(random, trial % 2 == 0);
    const std::vector<Event> in = random_stream(random, made.config, trial % 3 == 0);
    Plain plain(made);
    for (const Event& event : in) plain.hear(event);
    for (const Isa isa : available_isas()) {
      const Core core = made.build(isa);
      for (const Taps taps : {Taps::none, Taps::counts, Taps::all}) {
        Seen seen = run(core, in, taps);
        require_same(core, seen, plain, taps);
      }
    }
    reached.spikes += plain.counters.spikes, reached.floored += plain.counters.floored;
    reached.saturated_high += plain.counters.saturated_high, reached.saturated_low += plain.counters.saturated_low;
  }
  CHECK(reached.spikes > 0 && reached.floored > 0 && reached.saturated_high > 0 && reached.saturated_low > 0);
}

// Biases far apart reach every limit within some hundred edges of the clock.
void ticks_equal_the_plain_loop() {
  std::mt19937 random(11);
  for (int trial = 0; trial < 60; ++trial) {
    Made made = random_core(random);
    made.randomise_map(random, trial % 2 == 0);
    made.bias.resize(made.config.neurons.channels);
    for (std::int16_t& b : made.bias) b = static_cast<std::int16_t>(std::uniform_int_distribution<int>(-300, 300)(random));
    Plain plain(made);
    for (std::int64_t edge = 0; edge < 120; ++edge) plain.tick(edge);
    for (const Isa isa : available_isas()) {
      const Core core = made.build(isa);
      Seen seen = run(core, {}, Taps::all);
      const Tap tap{seen.counts.data(), seen.totals.data(), &seen.spikes};
      for (std::int64_t edge = 0; edge < 120; ++edge) core.tick(seen.state, edge, tap, seen.out);
      require_same(core, seen, plain, Taps::all);
    }
  }
}

// A count holds 65535 spikes; what comes after is counted as lost.
void full_counts_lose_the_rest() {
  Made made = single_synapse(1, 1, 0, Reset::subtract, SpikesPerUpdate::one);
  const std::vector<Event> in(65540, Event{});
  for (const Isa isa : available_isas()) {
    const Core core = made.build(isa);
    for (const Taps taps : {Taps::counts, Taps::all}) {
      const Seen seen = run(core, in, taps);
      CHECK(seen.counts[0] == 65535 && seen.state.lost == 5 && seen.state.counters.spikes == 65540);
    }
  }
}

// One event reaches 64 positions of 10,000 features each, which is more blocks than a lane's count holds.
void large_maps_count_exactly() {
  constexpr std::uint32_t features = 10000;
  Made made{std::vector<std::int8_t>(std::size_t{features} * 64, -1),
            {nullptr, 8, 8, 100, -1, Reset::subtract, SpikesPerUpdate::one, 1, 7, 0, {1, 1, 1}, {features, 8, 8}},
            {},
            {}};
  const std::vector<Event> in(3, Event{});
  for (const Isa isa : available_isas()) {
    const Core core = made.build(isa);
    CHECK(core.most_hits > 32767);
    const Seen seen = run(core, in, Taps::none);
    // The first event leaves -1, which is no less than the floor; the two others are floored everywhere.
    CHECK(seen.state.counters.floored == 2 * 64 * std::int64_t{features});
    CHECK(seen.state.counters.synops == 3 * 64 * std::int64_t{features});
  }
}

// The yardstick adds every weight and nothing more: states are sums in int16 that wrap.
void the_bare_scatter_only_adds() {
  std::mt19937 random(13);
  for (int trial = 0; trial < 60; ++trial) {
    Made made = random_core(random);
    const std::vector<Event> in = random_stream(random, made.config, trial % 3 == 0);
    Made endless = made;  // its plain loop never fires and has no bounds within reach
    endless.thresholds.assign(made.config.neurons.size(), kDead);
    endless.config.wide = true;
    endless.config.floor = INT16_MIN;
    Plain plain(endless);
    for (const Event& event : in) plain.hear(event);
    for (const Isa isa : available_isas()) {
      const Core core = made.build(isa);
      CoreState state = core.fresh_state();
      core.scatter_bare(state, in);
      CHECK(state.counters.synops == plain.counters.synops && state.counters.events_in == 400);
      std::vector<std::int16_t> v(plain.v.size());
      core.copy_potentials(state, 0, v.data());
      for (std::size_t i = 0; i < v.size(); ++i) CHECK(v[i] == static_cast<std::int16_t>(plain.v[i]));
    }
  }
}

void padding_lanes_stay_silent() {
  Made made = single_synapse(127, 1, 0, Reset::subtract, SpikesPerUpdate::one);
  const std::vector<Event> in(5000, Event{});
  for (const Isa isa : available_isas()) {
    const Seen seen = run(made.build(isa), in, Taps::none);
    CHECK(seen.out.size() == 5000 && seen.state.counters.spikes == 5000 && seen.state.counters.synops == 5000);
    for (std::size_t lane = 1; lane < kLanes; ++lane) CHECK(seen.state.v[0].lane[lane] == 0);
  }
}

}  // namespace

int main() {
  buffer_keeps_events_while_it_grows();
  reach_follows_the_definition();
  saturation_is_ruled_out_only_where_it_cannot_happen();
  several_spikes_are_due_only_where_weights_pass_the_threshold();
  kernels_equal_the_plain_loop();
  ticks_equal_the_plain_loop();
  full_counts_lose_the_rest();
  large_maps_count_exactly();
  the_bare_scatter_only_adds();
  padding_lanes_stay_silent();
}
