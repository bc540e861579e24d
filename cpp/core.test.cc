// Tests of the core's tables and proofs, and of the two kernels against each other; also meant for the sanitizers.
#include "core.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "check.h"
#include "chip.h"

using namespace chiploop;

namespace {

// A core and the weights it was made from.
struct Made {
  std::vector<std::int8_t> weight;
  CoreConfig config;
  Core build(Isa isa) {
    config.weight = weight.data();
    return Core(config, isa);
  }
};

std::uint32_t outputs(std::uint32_t inputs, std::uint32_t kernel, std::uint32_t stride, std::uint32_t padding) {
  return (inputs + 2 * padding - kernel) / stride + 1;
}

Made single_synapse(int weight, int threshold, int floor, Reset reset, SpikesPerUpdate rule) {
  const CoreConfig config{nullptr, 1, 1, threshold, floor, reset, rule, 1, 0, 0, {1, 1, 1}, {1, 1, 1}};
  return {{static_cast<std::int8_t>(weight)}, config};
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
                  {nullptr, 1, kernel, 100, -100, Reset::subtract, SpikesPerUpdate::one, stride, padding, 0, in, neurons}};
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

Made random_core(std::mt19937& random) {
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  const auto size = [&](std::uint32_t low, std::uint32_t high) {
    return std::uniform_int_distribution<std::uint32_t>(low, high)(random);
  };
  CoreConfig config{};
  config.in = {size(1, 3), size(1, 12), size(1, 12)};
  config.padding = size(0, 3);
  config.stride = size(1, 4);
  config.kernel_height = size(1, config.in.height + 2 * config.padding);
  config.kernel_width = size(1, config.in.width + 2 * config.padding);
  config.neurons = {size(1, 40),
                    outputs(config.in.height, config.kernel_height, config.stride, config.padding),
                    outputs(config.in.width, config.kernel_width, config.stride, config.padding)};
  config.pool = std::min(config.neurons.height, config.neurons.width) >= 2 ? size(0, 1) : 0;
  config.threshold = pick(0, 3) == 0 ? pick(1, 32767) : pick(40, 400);
  config.floor = pick(0, 2) == 0 ? -32768 : -pick(0, 500);
  config.reset = pick(0, 2) == 0 ? Reset::zero : Reset::subtract;
  config.spikes_per_update = pick(0, 1) == 0 ? SpikesPerUpdate::all : SpikesPerUpdate::one;
  const std::size_t area = std::size_t{config.kernel_height} * config.kernel_width;
  Made made{std::vector<std::int8_t>(config.in.channels * area * config.neurons.channels), config};
  const int drift = pick(-100, 100);
  for (std::int8_t& w : made.weight) w = static_cast<std::int8_t>(std::clamp(drift + pick(-60, 60), -128, 127));
  return made;
}

void kernels_agree() {
  std::mt19937 random(7);
  for (int trial = 0; trial < 300; ++trial) {
    Made made = random_core(random);
    const Core plain = made.build(Isa::portable), fast = made.build(best_isa());
    std::vector<Event> in(400);
    const bool one_address = trial % 3 == 0;
    for (Event& event : in) {
      event = {0, static_cast<std::uint16_t>(random() % made.config.in.channels),
               static_cast<std::uint16_t>(random() % made.config.in.height),
               static_cast<std::uint16_t>(random() % made.config.in.width), 0};
      if (one_address) event = in.front();
    }
    CoreState states[2] = {plain.fresh_state(), fast.fresh_state()};
    std::vector<std::uint16_t> counts[2];
    EventBuffer out[2], spikes[2];
    for (int i = 0; i < 2; ++i) {
      counts[i].resize(made.config.neurons.size());
      const Tap tap{counts[i].data(), nullptr, &spikes[i]};
      (i == 0 ? plain : fast).run(states[i], in, tap, out[i]);
    }
    CHECK(std::memcmp(states[0].v.data(), states[1].v.data(), states[0].v.size() * sizeof(StateBlock)) == 0);
    CHECK(std::memcmp(&states[0].counters, &states[1].counters, sizeof(Counters)) == 0);
    CHECK(counts[0] == counts[1] && states[0].lost == states[1].lost);
    CHECK(out[0].size() == out[1].size() && spikes[0].size() == spikes[1].size());
    CHECK(static_cast<std::int64_t>(spikes[0].size()) == states[0].counters.spikes);
    for (std::size_t i = 0; i < out[0].size(); ++i) {
      const Event &a = out[0].events()[i], &b = out[1].events()[i];
      CHECK(a.channel == b.channel && a.y == b.y && a.x == b.x);
    }
  }
}

void padding_lanes_stay_silent() {
  Made made = single_synapse(127, 1, 0, Reset::subtract, SpikesPerUpdate::one);
  const Core core = made.build(best_isa());
  CoreState state = core.fresh_state();
  EventBuffer out;
  const std::vector<Event> in(5000, Event{});
  core.run(state, in, Tap{}, out);
  CHECK(out.size() == 5000 && state.counters.spikes == 5000 && state.counters.synops == 5000);
  for (std::size_t lane = 1; lane < kLanes; ++lane) CHECK(state.v[0].lane[lane] == 0);
}

// More events than a chunk, with a window edge inside: 3000 events of weight 1 at theta 2 give 1500 spikes.
void chunks_and_windows_lose_nothing() {
  Made made = single_synapse(1, 2, 0, Reset::subtract, SpikesPerUpdate::one);
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

}  // namespace

int main() {
  buffer_keeps_events_while_it_grows();
  reach_follows_the_definition();
  saturation_is_ruled_out_only_where_it_cannot_happen();
  several_spikes_are_due_only_where_weights_pass_the_threshold();
  kernels_agree();
  padding_lanes_stay_silent();
  chunks_and_windows_lose_nothing();
}
