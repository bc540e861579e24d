#include "core.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "kernel.h"

namespace chiploop {
namespace {

constexpr std::int32_t kStateMin = std::numeric_limits<std::int16_t>::min();
constexpr std::int32_t kStateMax = std::numeric_limits<std::int16_t>::max();

// Places of kernel rows: those that share a remainder k mod stride stand together and descend in k, so that the weights
// which one input meets ascend with the output it reaches.
std::vector<std::uint32_t> places(std::uint32_t kernel, std::uint32_t stride) {
  std::vector<std::uint32_t> place(kernel);
  std::uint32_t next = 0;
  for (std::uint32_t phase = 0; phase < std::min(kernel, stride); ++phase) {
    const std::uint32_t last = phase + (kernel - 1 - phase) / stride * stride;
    for (std::uint32_t k = last + stride; k > phase;) {
      k -= stride;
      place[k] = next++;
    }
  }
  return place;
}

// Output o and kernel row k meet input i where o * stride + k = i + padding.
std::vector<Reach> reaches(std::uint32_t inputs, std::uint32_t outputs, std::uint32_t kernel, std::uint32_t stride,
                           std::uint32_t padding) {
  const std::vector<std::uint32_t> place = places(kernel, stride);
  std::vector<Reach> all(inputs, Reach{0, 0, 0});
  for (std::uint32_t i = 0; i < inputs; ++i) {
    const std::uint32_t at = i + padding;
    const std::uint32_t first = at < kernel ? 0 : (at - kernel) / stride + 1;
    const std::uint32_t end = std::min(at / stride + 1, outputs);
    if (first < end) all[i] = {first, end - first, place[at - first * stride]};
  }
  return all;
}

std::size_t weight_plane_bytes(const CoreConfig& config) {
  return std::size_t{config.kernel_height} * config.kernel_width * config.neurons.channels;
}

std::vector<Site> sites_of(const CoreConfig& config, std::size_t blocks) {
  const Shape& map = config.neurons;
  const std::uint32_t height = map.height >> config.pool, width = map.width >> config.pool;
  std::vector<Site> sites;
  sites.reserve(map.height * map.width * blocks);
  for (std::uint32_t y = 0; y < map.height; ++y) {
    for (std::uint32_t x = 0; x < map.width; ++x) {
      const std::uint32_t py = y >> config.pool, px = x >> config.pool;
      const std::uint32_t leaves = py < height && px < width;
      for (std::uint32_t b = 0; b < blocks; ++b) {
        const auto channel = static_cast<std::uint32_t>(b * kLanes);
        const PackedAddress first(static_cast<std::uint16_t>(channel), static_cast<std::uint16_t>(py),
                                  static_cast<std::uint16_t>(px));
        sites.push_back({first, (y * map.width + x) * map.channels + channel, leaves});
      }
    }
  }
  return sites;
}

std::vector<WeightBlock> weights_of(const CoreConfig& config, std::size_t blocks) {
  const std::size_t features = config.neurons.channels, kh = config.kernel_height, kw = config.kernel_width;
  const auto row = places(config.kernel_height, config.stride), column = places(config.kernel_width, config.stride);
  std::vector<WeightBlock> weights(config.in.channels * kh * kw * blocks);
  const std::int8_t* from = config.weight;
  for (std::size_t c = 0; c < config.in.channels; ++c) {
    for (std::size_t ky = 0; ky < kh; ++ky) {
      for (std::size_t kx = 0; kx < kw; ++kx, from += features) {
        std::memcpy(&weights[((c * kh + row[ky]) * kw + column[kx]) * blocks], from, features);
      }
    }
  }
  return weights;
}

}  // namespace

Core::Core(const CoreConfig& given, Isa isa) : config(given) {
  blocks = (config.neurons.channels + kLanes - 1) / kLanes;
  row_blocks = config.neurons.width * blocks;
  weight_row = config.kernel_width * blocks;
  weight_plane = config.kernel_height * weight_row;
  rows = reaches(config.in.height, config.neurons.height, config.kernel_height, config.stride, config.padding);
  columns = reaches(config.in.width, config.neurons.width, config.kernel_width, config.stride, config.padding);
  take_ways();
  sites = sites_of(config, blocks);
  weights = weights_of(config, blocks);

  if (weight_row > kStateMax) {  // the kernels count what happens in a row in int16 lanes
    throw std::invalid_argument("a kernel row holds at most 32767 blocks of 16 weights");
  }

  std::uint32_t most_rows = 0, most_columns = 0;
  for (const Reach& reach : rows) most_rows = std::max(most_rows, reach.count);
  for (const Reach& reach : columns) most_columns = std::max(most_columns, reach.count);
  most_hits = std::size_t{most_rows} * most_columns * blocks;

  const std::size_t n = config.in.channels * weight_plane_bytes(config);
  std::int32_t lowest = 0, highest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    lowest = std::min<std::int32_t>(lowest, config.weight[i]);
    highest = std::max<std::int32_t>(highest, config.weight[i]);
  }
  std::int32_t smallest = config.threshold, largest = config.threshold;
  take_thresholds(smallest, largest);
  take_bias(lowest, highest);
  // With V < theta before an update, V + w < theta + w_max. Where w_max <= theta that is less than 2 theta: one spike
  // at most is due, and after it V < theta again. A reset to zero restores V < theta whatever the weight.
  const bool one_is_enough = config.reset == Reset::zero || highest <= smallest;
  multiple = !one_is_enough && config.spikes_per_update == SpikesPerUpdate::all;
  const bool surplus_grows = !one_is_enough && config.spikes_per_update == SpikesPerUpdate::one;
  saturates = surplus_grows || largest - 1 + highest > kStateMax || config.floor + lowest < kStateMin;

  is_general = config.wide || !config.decay.fine.empty();
  if (is_general) {
    flat_weights.assign(config.weight, config.weight + n);
    fine.assign(config.decay.fine.begin(), config.decay.fine.end());
    coarse.assign(config.decay.coarse.begin(), config.decay.coarse.end());
  }
  const Kernels kernels = kernels_for(*this, isa);
  scatter_ = kernels.scatter;
  tick_ = kernels.tick;
  bare_ = kernels.bare;
  config.weight = nullptr;  // the caller's arrays; copied above
  config.bias = nullptr;
  config.thresholds = nullptr;
  config.decay = {};
}

void Core::take_ways() {
  const auto width = static_cast<std::uint32_t>(blocks), row = static_cast<std::uint32_t>(row_blocks);
  const auto kernel_row = static_cast<std::uint32_t>(weight_row);
  for (const Reach& reach : rows) row_ways.push_back({reach.first * row, reach.weight * kernel_row, reach.count});
  for (const Reach& reach : columns) {
    column_ways.push_back({reach.first * width, reach.weight * width, reach.count * width});
  }
}

void Core::take_thresholds(std::int32_t& smallest, std::int32_t& largest) {
  has_map = config.thresholds != nullptr;
  const std::size_t features = config.neurons.channels, n = config.neurons.size();
  thresholds.assign(n, config.threshold);
  if (!has_map) return;
  thresholds.assign(config.thresholds, config.thresholds + n);
  smallest = *std::min_element(thresholds.begin(), thresholds.end());
  largest = *std::max_element(thresholds.begin(), thresholds.end());
  below.assign(sites.size(), StateBlock{});
  for (std::size_t block = 0; block < below.size(); ++block) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::size_t f = block % blocks * kLanes + lane;
      const bool real = f < features;
      below[block].lane[lane] =
          static_cast<std::int16_t>(real ? thresholds[block / blocks * features + f] - 1 : kStateMax);
    }
  }
}

void Core::take_bias(std::int32_t& lowest, std::int32_t& highest) {
  has_bias = config.bias != nullptr;
  if (!has_bias) return;
  bias.assign(blocks, StateBlock{});
  for (std::size_t f = 0; f < config.neurons.channels; ++f) {
    bias[f / kLanes].lane[f % kLanes] = config.bias[f];
    lowest = std::min<std::int32_t>(lowest, config.bias[f]);
    highest = std::max<std::int32_t>(highest, config.bias[f]);
  }
}

void Core::copy_potentials(const CoreState& state, std::int64_t t_us, std::int16_t* to) const {
  if (is_general) return copy_general(*this, state, t_us, to);
  const std::size_t features = config.neurons.channels;
  if (features % kLanes == 0) {  // no padding between positions
    std::memcpy(to, state.v.data(), state.v.size() * sizeof(StateBlock));
    return;
  }
  for (std::size_t block = 0; block < state.v.size(); block += blocks, to += features) {
    std::memcpy(to, state.v[block].lane, features * sizeof(std::int16_t));
  }
}

CoreState Core::fresh_state() const {
  CoreState state{std::vector<StateBlock>(is_general ? 0 : sites.size()), {}, 0, std::vector<Hit>(hit_room(*this)), {}, {}};
  if (is_general) state.general.resize(config.neurons.size());
  if (!fine.empty()) state.last_us.resize(std::size_t{config.neurons.height} * config.neurons.width);
  return state;
}

void CoreState::reset() {
  std::fill(v.begin(), v.end(), StateBlock{});
  std::fill(general.begin(), general.end(), 0);
  std::fill(last_us.begin(), last_us.end(), 0);
}

void Core::tick(CoreState& state, std::int64_t t_us, const Tap& tap, EventBuffer& out) const {
  const Event edge{t_us, 0, 0, 0, 0};
  tick_({*this, state, {&edge, 1}, tap, out});
  state.counters.clocked += static_cast<std::int64_t>(config.neurons.size());
}

void Core::run(CoreState& state, std::span<const Event> in, const Tap& tap, EventBuffer& out) const {
  scatter_({*this, state, in, tap, out});
}

void Core::scatter_bare(CoreState& state, std::span<const Event> in) const {
  if (bare_ == nullptr) throw std::invalid_argument("leaky neurons and 32-bit states have no vector kernel to compare with");
  EventBuffer none;
  bare_({*this, state, in, Tap{}, none});
}

namespace {

// Reports spikes to the tap: window counts (full at 65535, the rest is lost), totals, and the spikes themselves.
void report(const Job& job, const Place& place, std::int64_t spikes) {
  const Tap& tap = job.tap;
  const Site& site = job.core.sites[place.block];
  const std::uint32_t neuron = site.neuron + place.lane;
  if (tap.totals != nullptr) tap.totals[neuron] += spikes;
  if (tap.counts != nullptr) {
    constexpr std::int64_t full = std::numeric_limits<std::uint16_t>::max();
    const std::int64_t fits = std::min(spikes, full - tap.counts[neuron]);
    tap.counts[neuron] = static_cast<std::uint16_t>(tap.counts[neuron] + fits);
    job.state.lost += spikes - fits;
  }
  if (tap.spikes != nullptr) {
    const auto position = static_cast<std::uint32_t>(place.block / job.core.blocks);
    const std::uint32_t width = job.core.config.neurons.width;
    const std::size_t feature = place.block % job.core.blocks * kLanes + place.lane;
    const Event event{job.in[place.event].t_us, static_cast<std::uint16_t>(feature),
                      static_cast<std::uint16_t>(position / width), static_cast<std::uint16_t>(position % width), 0};
    for (std::int64_t i = 0; i < spikes; ++i) tap.spikes->push(event);
  }
}

// Calls `what` with the place of every lane that fired.
template <typename What>
void for_each_place(std::span<const Hit> hits, What what) {
  for (const Hit& hit : hits) {
    for (std::uint64_t lanes = hit.lanes(); lanes != 0; lanes &= lanes - 1) {
      const auto lane = static_cast<std::uint32_t>(std::countr_zero(lanes));
      what(Place{hit.event(), hit.block() + lane / kLanes, static_cast<std::uint32_t>(lane % kLanes)});
    }
  }
}

}  // namespace

void emit(const Job& job, const Place& place, std::int64_t spikes) {
  const Site& site = job.core.sites[place.block];
  job.state.counters.spikes += spikes;
  if (job.tap.any()) report(job, place, spikes);
  if (site.leaves == 0) return;
  Event* next = job.out.room(static_cast<std::size_t>(spikes));
  std::fill_n(next, spikes, site.first.event(job.in[place.event].t_us, place.lane));
  job.out.commit(next + spikes);
}

void fire_tapped(const Job& job, std::span<const Hit> hits) {
  for_each_place(hits, [&](const Place& place) { emit(job, place, 1); });
}

void fire_many(const Job& job, std::span<const Hit> hits) {
  for_each_place(hits, [&](const Place& place) {
    const std::int32_t threshold = job.core.threshold(place.block, place.lane);
    std::int16_t& v = job.state.v[place.block].lane[place.lane];
    const std::int32_t spikes = v / threshold;
    v = static_cast<std::int16_t>(v % threshold);
    emit(job, place, spikes);
  });
}

}  // namespace chiploop
