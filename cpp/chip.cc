#include "chip.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

namespace chiploop {
namespace {

// Events a chunk: enough to make the cost of a chunk vanish, few enough to keep the buffers in the second-level cache.
constexpr std::size_t kChunk = 1024;

void require_addresses(const Columns& stream, const Shape& shape) {
  for (std::size_t i = 0; i < stream.t_us.size(); ++i) {
    if (stream.channel[i] >= shape.channels || stream.y[i] >= shape.height || stream.x[i] >= shape.width) {
      throw std::out_of_range("event " + std::to_string(i) + " lies outside the input map of the first core");
    }
  }
}

// Index of the first event from `from` on that is not earlier than `edge`.
std::size_t first_at(std::span<const std::int64_t> t_us, std::size_t from, std::int64_t edge) {
  const auto rest = t_us.subspan(from);
  return from + static_cast<std::size_t>(std::lower_bound(rest.begin(), rest.end(), edge) - rest.begin());
}

void gather(const Columns& stream, std::size_t from, std::size_t to, EventBuffer& into) {
  into.clear();
  Event* slot = into.room(to - from);
  for (std::size_t i = from; i < to; ++i) {
    *slot++ = {stream.t_us[i], stream.channel[i], stream.y[i], stream.x[i], 0};
  }
  into.commit(slot);
}

}  // namespace

ChipState::ChipState(const std::vector<Core>& cores) : sent_(cores.size()) {
  for (const Core& core : cores) states_.push_back(core.fresh_state());
}

void ChipState::reset() {
  for (CoreState& state : states_) std::fill(state.v.begin(), state.v.end(), StateBlock{});
}

void ChipState::hear(const std::vector<Core>& cores, std::size_t core, std::span<const Event> events,
                     std::span<const Tap> taps, EventBuffer* outputs) {
  const bool last = core + 1 == cores.size();
  for (std::size_t at = 0; at < events.size(); at += kChunk) {
    const auto chunk = events.subspan(at, std::min(kChunk, events.size() - at));
    EventBuffer& sent = last && outputs != nullptr ? *outputs : sent_[core];
    if (&sent != outputs) sent.clear();
    cores[core].run(states_[core], chunk, taps[core], sent);
    if (!last) hear(cores, core + 1, sent.events(), taps, outputs);
  }
}

RunResult ChipState::run(const std::vector<Core>& cores, const Columns& stream, std::span<const std::int64_t> edges,
                         std::span<const Watch> watches, EventBuffer* outputs) {
  require_addresses(stream, cores.front().config.in);
  std::vector<Tap> taps(cores.size());
  for (std::size_t c = 0; c < cores.size(); ++c) {
    states_[c].counters = {};
    states_[c].lost = 0;
    taps[c] = {watches[c].counts, watches[c].totals, watches[c].spikes};
  }
  const std::size_t windows = edges.empty() ? 1 : edges.size() - 1;
  std::size_t at = 0;
  for (std::size_t window = 0; window < windows; ++window) {
    const std::size_t stop = edges.empty() ? stream.t_us.size() : first_at(stream.t_us, at, edges[window + 1]);
    while (at < stop) {
      const std::size_t end = std::min(at + kChunk, stop);
      gather(stream, at, end, input_);
      hear(cores, 0, input_.events(), taps, outputs);
      at = end;
    }
    for (std::size_t c = 0; c < cores.size(); ++c) {
      const Watch& watch = watches[c];
      if (taps[c].counts != nullptr) taps[c].counts += watch.counts_stride;
      if (watch.potentials != nullptr) {
        cores[c].copy_potentials(states_[c], watch.potentials + window * watch.potentials_stride);
      }
    }
  }
  RunResult result;
  for (std::size_t c = 0; c < cores.size(); ++c) {
    if (watches[c].last != nullptr) cores[c].copy_potentials(states_[c], watches[c].last);
    result.counters.push_back(states_[c].counters);
    result.lost += states_[c].lost;
  }
  return result;
}

void Chip::reset() {
  const std::scoped_lock lock(mutex_);
  state_.reset();
}

RunResult Chip::run(const Columns& stream, std::span<const std::int64_t> edges, std::span<const Watch> watches,
                    EventBuffer& outputs) {
  const std::scoped_lock lock(mutex_);
  return state_.run(cores_, stream, edges, watches, &outputs);
}

std::vector<RunResult> Chip::run_batch(std::span<const Columns> batch, std::span<const std::int64_t> edges,
                                       std::span<const std::vector<Watch>> watches, unsigned threads) {
  const std::scoped_lock lock(mutex_);
  const std::size_t n = std::clamp<std::size_t>(threads, 1, std::max<std::size_t>(batch.size(), 1));
  while (workers_.size() < n) workers_.emplace_back(cores_);

  std::vector<RunResult> results(batch.size());
  std::vector<std::exception_ptr> errors(n);
  std::atomic<std::size_t> next{0};
  const auto work = [&](std::size_t worker) {
    try {
      for (std::size_t b = next++; b < batch.size(); b = next++) {
        workers_[worker].reset();
        results[b] = workers_[worker].run(cores_, batch[b], edges, watches[b], nullptr);
      }
    } catch (...) {
      errors[worker] = std::current_exception();
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
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return results;
}

}  // namespace chiploop
