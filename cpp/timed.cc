#include "timed.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace chiploop {
namespace {

constexpr std::int64_t kLongestServiceNs = std::int64_t{1} << 60;
constexpr std::int64_t kLongestUs = (std::int64_t{1} << 61) / 1000;  // of the input's times

void require_stream(const Columns& stream, const Shape& input) {
  const auto within = [](std::span<const std::uint16_t> column, std::uint32_t bound) {
    return column.empty() || *std::max_element(column.begin(), column.end()) < bound;
  };
  if (!within(stream.channel, input.channels) || !within(stream.y, input.height) || !within(stream.x, input.width)) {
    throw std::invalid_argument("events lie outside the input");
  }
  const std::span<const std::int64_t> t_us = stream.t_us;
  if (!std::is_sorted(t_us.begin(), t_us.end())) throw std::invalid_argument("times must not decrease");
  const bool fits = t_us.empty() || (t_us.front() >= -kLongestUs && t_us.back() <= kLongestUs);
  if (!fits || stream.start_us < -kLongestUs || stream.stop_us > kLongestUs) {
    throw std::overflow_error("times of the input must lie within 2^61 ns of 0");
  }
}

void require_timing(const Circuit& circuit, const Timing& timing) {
  constexpr std::int64_t longest = std::int64_t{1} << 40;
  for (const std::int64_t ns : {timing.event_ns, timing.synop_ns, timing.hop_ns}) {
    if (ns < 0 || ns > longest) throw std::invalid_argument("a time constant must be in 0..2^40 ns");
  }
  for (const Core& core : circuit.cores) {
    const auto most = static_cast<std::int64_t>(core.config.neurons.size());
    if (timing.synop_ns > 0 && most > (kLongestServiceNs - timing.event_ns) / timing.synop_ns) {
      throw std::invalid_argument("updating all neurons of a core takes longer than 2^60 ns");
    }
  }
  if (circuit.wiring.clock_us > kLongestUs) throw std::invalid_argument("the clock's period is longer than 2^61 ns");
  if (timing.fifo_depth == 0 || timing.most_queued == 0) throw std::invalid_argument("queues must hold at least 1 event");
}

}  // namespace

void Server::clear() {
  waiting.clear();
  hopping.clear();
  entering.clear();
  ticks.clear();
  blocked.clear();
  busy = false;
  state.counters = {};
  state.lost = 0;
  load = {};
  millisecond = std::numeric_limits<std::int64_t>::min();
  synops = 0;
}

TimedState::TimedState(const Circuit& circuit) : agenda(2 + 3 * circuit.cores.size()) {
  for (const Core& core : circuit.cores) servers.emplace_back().state = core.fresh_state();
}

void TimedState::reset() {
  for (Server& server : servers) server.state.reset();
}

TimedChip::TimedChip(const Circuit& circuit, const Timing& timing) : circuit_(circuit), timing_(timing), state_(circuit) {
  require_timing(circuit, timing);
}

void TimedChip::reset() {
  const std::scoped_lock lock(mutex_);
  state_.reset();
}

TimedResult TimedChip::run_on(TimedState& state, const Columns& stream, std::span<const std::int64_t> edges,
                              std::span<const Watch> watches) const {
  require_stream(stream, circuit_.input);
  try {
    return run_timed(circuit_, timing_, state, stream, edges, watches);
  } catch (...) {
    state.reset();
    throw;
  }
}

TimedResult TimedChip::run(const Columns& stream, std::span<const std::int64_t> edges, std::span<const Watch> watches) {
  const std::scoped_lock lock(mutex_);
  return run_on(state_, stream, edges, watches);
}

std::vector<TimedResult> TimedChip::run_batch(std::span<const Columns> batch, std::span<const std::int64_t> edges,
                                              std::span<const std::vector<Watch>> watches, unsigned threads) {
  const std::scoped_lock lock(mutex_);
  const std::size_t n = std::clamp<std::size_t>(threads, 1, std::max<std::size_t>(batch.size(), 1));
  while (workers_.size() < n) workers_.emplace_back(circuit_);

  std::vector<TimedResult> results(batch.size());
  std::vector<std::exception_ptr> errors(batch.size());
  std::atomic<std::size_t> next{0};
  std::atomic<std::size_t> failed{batch.size()};  // the first stream that did; those before it are still run
  const auto work = [&](std::size_t worker) {
    for (std::size_t b = next++; b < failed; b = next++) {
      try {
        workers_[worker].reset();
        results[b] = run_on(workers_[worker], batch[b], edges, watches[b]);
      } catch (...) {
        errors[b] = std::current_exception();
        std::size_t first = failed;
        while (b < first && !failed.compare_exchange_weak(first, b)) {
        }
      }
    }
  };
  std::vector<std::thread> pool;
  try {
    for (std::size_t worker = 1; worker < n; ++worker) pool.emplace_back(work, worker);
  } catch (const std::system_error&) {
    // No more threads to be had: those that started, and this one, do the work.
  }
  work(0);
  for (std::thread& thread : pool) thread.join();
  if (failed < batch.size()) std::rethrow_exception(errors[failed]);
  return results;
}

}  // namespace chiploop
