// For the C++ tests: random cores and streams, and one chip core as a plain loop over neurons, written apart from cpp/core.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "core.h"

namespace chiploop {

// A core and the arrays it is made from; no map and no bias where they are empty.
struct Made {
  std::vector<std::int8_t> weight;
  CoreConfig config;
  std::vector<std::int32_t> thresholds;
  std::vector<std::int16_t> bias;

  Core build(Isa isa) {
    config.weight = weight.data();
    config.thresholds = thresholds.empty() ? nullptr : thresholds.data();
    config.bias = bias.empty() ? nullptr : bias.data();
    return Core(config, isa);
  }

  // Thresholds that differ from neuron to neuron, some of them dead.
  void randomise_map(std::mt19937& random, bool wanted) {
    thresholds.resize(wanted ? config.neurons.size() : 0);
    for (std::int32_t& theta : thresholds) {
      theta = random() % 8 == 0 ? kDead : std::max(1, config.threshold - static_cast<int>(random() % 50));
    }
  }
};

inline std::uint32_t outputs(std::uint32_t inputs, std::uint32_t kernel, std::uint32_t stride, std::uint32_t padding) {
  return (inputs + 2 * padding - kernel) / stride + 1;
}

inline Made random_core(std::mt19937& random) {
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
  config.neurons = {size(1, 70),
                    outputs(config.in.height, config.kernel_height, config.stride, config.padding),
                    outputs(config.in.width, config.kernel_width, config.stride, config.padding)};
  config.pool = std::min(config.neurons.height, config.neurons.width) >= 2 ? size(0, 1) : 0;
  config.threshold = pick(0, 3) == 0 ? pick(1, 32767) : pick(40, 400);
  config.floor = pick(0, 2) == 0 ? -32768 : -pick(0, 500);
  config.reset = pick(0, 2) == 0 ? Reset::zero : Reset::subtract;
  config.spikes_per_update = pick(0, 1) == 0 ? SpikesPerUpdate::all : SpikesPerUpdate::one;
  const std::size_t area = std::size_t{config.kernel_height} * config.kernel_width;
  Made made{std::vector<std::int8_t>(config.in.channels * area * config.neurons.channels), config, {}, {}};
  const int drift = pick(-100, 100);
  for (std::int8_t& w : made.weight) w = static_cast<std::int8_t>(std::clamp(drift + pick(-60, 60), -128, 127));
  return made;
}

inline std::vector<Event> random_stream(std::mt19937& random, const CoreConfig& config, bool one_address) {
  std::vector<Event> in(400);
  std::int64_t t_us = 0;
  for (Event& event : in) {
    event = {t_us += static_cast<std::int64_t>(random() % 200), static_cast<std::uint16_t>(random() % config.in.channels),
             static_cast<std::uint16_t>(random() % config.in.height),
             static_cast<std::uint16_t>(random() % config.in.width), 0};
    if (one_address) event = {event.t_us, in.front().channel, in.front().y, in.front().x, 0};
  }
  return in;
}

// The contract of a core that does not leak, one neuron after the other, every neuron of the map at every event.
class Plain {
 public:
  explicit Plain(const Made& made) : made_(made), v(made.config.neurons.size()), totals(v.size()) {}

  void hear(const Event& event) {
    const CoreConfig& c = made_.config;
    counters.events_in += 1;
    for_each_neuron([&](std::uint32_t y, std::uint32_t x, std::uint32_t f, std::size_t neuron) {
      const std::int64_t ky = std::int64_t{event.y} + c.padding - std::int64_t{y} * c.stride;
      const std::int64_t kx = std::int64_t{event.x} + c.padding - std::int64_t{x} * c.stride;
      if (ky < 0 || kx < 0 || ky >= c.kernel_height || kx >= c.kernel_width) return;
      const auto at = ((event.channel * c.kernel_height + static_cast<std::size_t>(ky)) * c.kernel_width +
                       static_cast<std::size_t>(kx)) * c.neurons.channels + f;
      counters.synops += 1;
      update(neuron, made_.weight[at], {event.t_us, static_cast<std::uint16_t>(f), static_cast<std::uint16_t>(y),
                                        static_cast<std::uint16_t>(x), 0});
    });
  }

  void tick(std::int64_t t_us) {
    for_each_neuron([&](std::uint32_t y, std::uint32_t x, std::uint32_t f, std::size_t neuron) {
      counters.clocked += 1;
      update(neuron, made_.bias[f], {t_us, static_cast<std::uint16_t>(f), static_cast<std::uint16_t>(y),
                                     static_cast<std::uint16_t>(x), 0});
    });
  }

 private:
  const Made& made_;

 public:
  std::vector<std::int64_t> v, totals;
  Counters counters;
  std::vector<Event> out, spikes;

 private:
  template <typename What>
  void for_each_neuron(What what) {
    const Shape& map = made_.config.neurons;
    std::size_t neuron = 0;
    for (std::uint32_t y = 0; y < map.height; ++y) {
      for (std::uint32_t x = 0; x < map.width; ++x) {
        for (std::uint32_t f = 0; f < map.channels; ++f) what(y, x, f, neuron++);
      }
    }
  }

  void update(std::size_t neuron, std::int64_t weight, const Event& spike) {
    const CoreConfig& c = made_.config;
    const std::int64_t lowest = c.wide ? INT32_MIN : INT16_MIN, highest = c.wide ? INT32_MAX : INT16_MAX;
    const std::int64_t floor = c.wide && c.floor == INT16_MIN ? lowest : c.floor;
    std::int64_t sum = v[neuron] + weight;
    if (sum > highest) counters.saturated_high += 1, sum = highest;
    if (sum < lowest) counters.saturated_low += 1, sum = lowest;
    if (sum < floor) counters.floored += 1, sum = floor;
    const std::int64_t theta = made_.thresholds.empty() ? c.threshold : made_.thresholds[neuron];
    const bool all = c.reset == Reset::subtract && c.spikes_per_update == SpikesPerUpdate::all;
    for (bool more = theta != kDead && sum >= theta; more; more = all && sum >= theta) {
      sum = c.reset == Reset::zero ? 0 : sum - theta;
      counters.spikes += 1;
      totals[neuron] += 1;
      spikes.push_back(spike);
      const auto y = static_cast<std::uint16_t>(spike.y >> c.pool), x = static_cast<std::uint16_t>(spike.x >> c.pool);
      if (y < c.neurons.height >> c.pool && x < c.neurons.width >> c.pool) out.push_back({spike.t_us, spike.channel, y, x, 0});
    }
    v[neuron] = sum;
  }
};

}  // namespace chiploop
