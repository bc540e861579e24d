// The update for neurons that the vector kernels do not have: leaky ones, and 32-bit states. One neuron at a time.
//
// A leaky state has 16 fractional bits; its decay is evaluated when its position is next updated, from the time that went
// by. The arithmetic is in integers throughout, so that every machine gives the same bits.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernel.h"

namespace chiploop {
namespace {

constexpr int kFraction = 16;    // fractional bits of a leaky state
constexpr int kFactorBits = 31;  // of a decay factor
constexpr std::int64_t kHalfFactor = std::int64_t{1} << (kFactorBits - 1);
constexpr std::uint64_t kFineSteps = 1024;

std::int64_t scaled(std::int64_t value, std::int64_t factor) { return (value * factor + kHalfFactor) >> kFactorBits; }

// Factor of the leak over so many us, in 2^-31.
std::int64_t decay_over(const Core& core, std::int64_t dt_us) {
  if (dt_us <= 0) return std::int64_t{1} << kFactorBits;
  const auto dt = static_cast<std::uint64_t>(dt_us);
  if (dt / kFineSteps >= core.coarse.size()) return 0;
  return scaled(core.fine[dt % kFineSteps], core.coarse[dt / kFineSteps]);
}

// What all updates of a run share.
struct Rules {
  std::int64_t lowest, highest;  // of a state
  std::int64_t floor;
  int fraction;  // fractional bits
  Reset reset;
  SpikesPerUpdate spikes_per_update;
};

Rules rules_of(const Core& core) {
  const bool leaks = !core.fine.empty();
  const int fraction = leaks ? kFraction : 0;
  const CoreConfig& c = core.config;
  return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max(),
          c.floor == INT16_MIN && !leaks ? std::numeric_limits<std::int32_t>::min() : std::int64_t{c.floor} << fraction,
          fraction, c.reset, c.spikes_per_update};
}

// Adds a weight to one neuron and emits its spikes.
void update(const Job& job, const Rules& rules, std::size_t event, std::size_t position, std::size_t f, std::int32_t w) {
  const Core& core = job.core;
  const std::size_t neuron = position * core.config.neurons.channels + f;
  Counters& counters = job.state.counters;
  std::int64_t v = job.state.general[neuron] + (std::int64_t{w} << rules.fraction);
  counters.saturated_high += v > rules.highest;
  counters.saturated_low += v < rules.lowest;
  v = std::clamp(v, rules.lowest, rules.highest);
  counters.floored += v < rules.floor;
  v = std::max(v, rules.floor);
  std::int64_t spikes = 0;
  const std::int32_t given = core.thresholds[neuron];
  if (const std::int64_t theta = std::int64_t{given} << rules.fraction; given != kDead && v >= theta) {
    spikes = rules.spikes_per_update == SpikesPerUpdate::all && rules.reset == Reset::subtract ? v / theta : 1;
    v = rules.reset == Reset::subtract ? v - spikes * theta : 0;
  }
  job.state.general[neuron] = static_cast<std::int32_t>(v);
  if (spikes != 0) {
    emit(job, {event, position * core.blocks + f / kLanes, static_cast<std::uint32_t>(f % kLanes)}, spikes);
  }
}

// Lets the neurons of one position leak up to now.
void leak(const Job& job, std::size_t position, std::int64_t t_us) {
  if (job.state.last_us.empty()) return;
  const std::int64_t factor = decay_over(job.core, t_us - job.state.last_us[position]);
  job.state.last_us[position] = t_us;
  const std::size_t features = job.core.config.neurons.channels;
  for (std::size_t i = position * features; i < (position + 1) * features; ++i) {
    job.state.general[i] = static_cast<std::int32_t>(scaled(job.state.general[i], factor));
  }
}

void scatter(const Job& job) {
  const Core& core = job.core;
  const CoreConfig& c = core.config;
  const Rules rules = rules_of(core);
  const std::size_t features = c.neurons.channels;
  for (std::size_t e = 0; e < job.in.size(); ++e) {
    const Event& event = job.in[e];
    const Reach rows = core.rows[event.y], columns = core.columns[event.x];
    for (std::uint32_t oy = rows.first; oy < rows.first + rows.count; ++oy) {
      const std::size_t ky = event.y + c.padding - oy * c.stride;
      for (std::uint32_t ox = columns.first; ox < columns.first + columns.count; ++ox) {
        const std::size_t kx = event.x + c.padding - ox * c.stride;
        const std::int8_t* weight =
            core.flat_weights.data() + ((event.channel * c.kernel_height + ky) * c.kernel_width + kx) * features;
        const std::size_t position = std::size_t{oy} * c.neurons.width + ox;
        leak(job, position, event.t_us);
        for (std::size_t f = 0; f < features; ++f) update(job, rules, e, position, f, weight[f]);
      }
    }
    job.state.counters.synops += core.fan_out(event.y, event.x) * static_cast<std::int64_t>(features);
  }
  job.state.counters.events_in += static_cast<std::int64_t>(job.in.size());
}

void tick(const Job& job) {
  const Core& core = job.core;
  const Rules rules = rules_of(core);
  const std::size_t positions = std::size_t{core.config.neurons.height} * core.config.neurons.width;
  for (std::size_t position = 0; position < positions; ++position) {
    leak(job, position, job.in[0].t_us);
    for (std::size_t f = 0; f < core.config.neurons.channels; ++f) {
      update(job, rules, 0, position, f, core.bias[f / kLanes].lane[f % kLanes]);
    }
  }
}

}  // namespace

Kernels general_kernels(const Core&) { return {scatter, tick, nullptr}; }

void copy_general(const Core& core, const CoreState& state, std::int64_t t_us, std::int16_t* to) {
  const std::size_t features = core.config.neurons.channels;
  const int fraction = core.fine.empty() ? 0 : kFraction;
  for (std::size_t i = 0; i < state.general.size(); ++i) {
    std::int64_t v = state.general[i];
    if (!state.last_us.empty()) v = scaled(v, decay_over(core, t_us - state.last_us[i / features]));
    if (fraction > 0) v = (v + (std::int64_t{1} << (fraction - 1))) >> fraction;
    to[i] = static_cast<std::int16_t>(std::clamp<std::int64_t>(v, INT16_MIN, INT16_MAX));
  }
}

}  // namespace chiploop
