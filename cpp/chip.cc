#include "chip.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "parallel.h"

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

// Cuts a run of events of one time or, if it is longer, leaves it whole: returns where the slice that begins at `from` ends.
std::size_t slice_end(std::span<const std::int64_t> t_us, std::size_t from, std::size_t to) {
  std::size_t end = std::min(from + kChunk, to);
  while (end < to && t_us[end] == t_us[end - 1]) ++end;
  return end;
}

std::int64_t first_edge(std::int64_t start_us, std::int64_t clock_us) {
  const std::int64_t whole = start_us / clock_us * clock_us;
  return whole < start_us ? whole + clock_us : whole;  // division truncates, which is upwards below zero
}

std::vector<std::vector<Feed>> feeds_of(const Wiring& wiring, std::size_t cores) {
  std::vector<std::vector<Feed>> feeds(cores);
  const auto add = [&](std::size_t source, const std::vector<Link>& links) {
    for (const Link& link : links) {
      auto& into = feeds[link.core];
      if (into.empty() || into.back().source != source) into.push_back({source, {}});
      into.back().links.push_back(link);
    }
  };
  add(Feed::kInput, wiring.inputs);
  for (std::size_t core = 0; core < cores; ++core) add(core, wiring.targets[core]);
  return feeds;
}

bool is_plain(const std::vector<Link>& links, std::size_t to) {
  return links.size() == 1 && links[0].core == to && links[0].pool == 0 && links[0].shift == 0;
}

bool is_plain_chain(const Wiring& wiring, std::size_t cores) {
  if (wiring.clock_us != 0 || !is_plain(wiring.inputs, 0)) return false;
  for (std::size_t core = 0; core < cores; ++core) {
    const bool last = core + 1 == cores;
    if (wiring.is_output[core] != last) return false;
    if (last ? !wiring.targets[core].empty() : !is_plain(wiring.targets[core], core + 1)) return false;
  }
  return true;
}

}  // namespace

Circuit::Circuit(std::vector<Core> given, Wiring ways, const Shape& map)
    : cores(std::move(given)), wiring(std::move(ways)), input(map) {
  feeds = feeds_of(wiring, cores.size());
  is_chain = is_plain_chain(wiring, cores.size());
}

ChipState::ChipState(const Circuit& circuit) : taps_(circuit.cores.size()), sent_(circuit.cores.size()) {
  for (const Core& core : circuit.cores) states_.push_back(core.fresh_state());
}

void ChipState::reset() {
  for (CoreState& state : states_) state.reset();
}

void ChipState::chain(const Circuit& circuit, std::size_t core, std::span<const Event> events,
                      std::span<const Watch> watches) {
  const bool last = core + 1 == circuit.cores.size();
  EventBuffer* const outputs = watches[core].outputs;
  for (std::size_t at = 0; at < events.size(); at += kChunk) {
    const auto chunk = events.subspan(at, std::min(kChunk, events.size() - at));
    EventBuffer& sent = outputs != nullptr ? *outputs : sent_[core];
    if (&sent != outputs) sent.clear();
    circuit.cores[core].run(states_[core], chunk, taps_[core], sent);
    if (!last) chain(circuit, core + 1, sent.events(), watches);
  }
}

// Returns what a core hears of this slice, ordered by time, then by source; within a source its own order stays.
std::span<const Event> ChipState::gathered(const Circuit& circuit, std::size_t core) {
  const std::vector<Feed>& feeds = circuit.feeds[core];
  const auto sent_by = [&](const Feed& feed) { return (feed.source == Feed::kInput ? input_ : sent_[feed.source]).events(); };
  if (feeds.size() == 1 && is_plain(feeds[0].links, core)) return sent_by(feeds[0]);
  merged_.clear();
  for (const Feed& feed : feeds) {
    const Shape map = feed.source == Feed::kInput ? circuit.input : circuit.cores[feed.source].out_map();
    for (const Event& event : sent_by(feed)) {
      for (const Link& link : feed.links) {
        Event arrived;
        if (route(link, event, map, arrived)) merged_.push(arrived);
      }
    }
  }
  if (feeds.size() > 1) {
    const std::span<Event> events = merged_.events_to_sort();
    std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.t_us < b.t_us; });
  }
  return merged_.events();
}

void ChipState::slice(const Circuit& circuit, bool edge, std::span<const Watch> watches) {
  for (std::size_t c = 0; c < circuit.cores.size(); ++c) {
    const Core& core = circuit.cores[c];
    const std::span<const Event> heard = gathered(circuit, c);
    sent_[c].clear();
    if (edge && core.has_bias) core.tick(states_[c], next_edge_us_, taps_[c], sent_[c]);
    core.run(states_[c], heard, taps_[c], sent_[c]);
    if (watches[c].outputs == nullptr) continue;
    for (const Event& event : sent_[c].events()) watches[c].outputs->push(event);
  }
}

void ChipState::listen(const Circuit& circuit, const Columns& stream, std::size_t from, std::size_t to,
                       std::span<const Watch> watches) {
  while (from < to) {
    const std::size_t end = circuit.is_chain ? std::min(from + kChunk, to) : slice_end(stream.t_us, from, to);
    gather(stream, from, end, input_);
    if (circuit.is_chain) {
      chain(circuit, 0, input_.events(), watches);
    } else {
      slice(circuit, false, watches);
    }
    from = end;
  }
}

void ChipState::advance(const Circuit& circuit, const Columns& stream, std::size_t from, std::size_t to,
                        std::int64_t until, std::span<const Watch> watches) {
  for (const std::int64_t clock_us = circuit.wiring.clock_us; clock_us != 0 && next_edge_us_ < until;
       next_edge_us_ += clock_us) {
    const std::size_t before = first_at(stream.t_us, from, next_edge_us_);
    listen(circuit, stream, from, before, watches);
    // Events of the edge's own time belong to its slice: a merge may put them before what the edge set off.
    from = first_at(stream.t_us, before, next_edge_us_ + 1);
    gather(stream, before, from, input_);
    slice(circuit, true, watches);
  }
  listen(circuit, stream, from, to, watches);
}

RunResult ChipState::run(const Circuit& circuit, const Columns& stream, std::span<const std::int64_t> edges,
                         std::span<const Watch> watches) {
  const std::vector<Core>& cores = circuit.cores;
  require_addresses(stream, circuit.input);
  for (std::size_t c = 0; c < cores.size(); ++c) {
    states_[c].counters = {};
    states_[c].lost = 0;
    taps_[c] = {watches[c].counts, watches[c].totals, watches[c].spikes};
  }
  if (circuit.wiring.clock_us != 0) next_edge_us_ = first_edge(stream.start_us, circuit.wiring.clock_us);
  const std::size_t windows = edges.empty() ? 1 : edges.size() - 1;
  std::size_t at = 0;
  for (std::size_t window = 0; window < windows; ++window) {
    const std::int64_t until = edges.empty() ? stream.stop_us : std::min(edges[window + 1], stream.stop_us);
    const std::size_t stop = edges.empty() ? stream.t_us.size() : first_at(stream.t_us, at, edges[window + 1]);
    for (std::size_t c = 0; c < cores.size(); ++c) {  // the caller's maps are as they were: no pass over them before
      if (taps_[c].counts != nullptr) std::fill_n(taps_[c].counts, cores[c].config.neurons.size(), std::uint16_t{0});
    }
    advance(circuit, stream, at, stop, until, watches);
    at = stop;
    for (std::size_t c = 0; c < cores.size(); ++c) {
      const Watch& watch = watches[c];
      if (taps_[c].counts != nullptr) taps_[c].counts += watch.counts_stride;
      if (watch.potentials != nullptr) {
        cores[c].copy_potentials(states_[c], edges[window + 1], watch.potentials + window * watch.potentials_stride);
      }
    }
  }
  const std::int64_t end_us = edges.empty() ? stream.stop_us : edges.back();
  RunResult result;
  for (std::size_t c = 0; c < cores.size(); ++c) {
    if (watches[c].last != nullptr) cores[c].copy_potentials(states_[c], end_us, watches[c].last);
    result.counters.push_back(states_[c].counters);
    result.lost += states_[c].lost;
  }
  return result;
}

std::int64_t ChipState::scatter_bare(const Circuit& circuit, const Columns& stream) {
  require_addresses(stream, circuit.input);
  states_[0].counters = {};
  for (std::size_t from = 0; from < stream.t_us.size(); from += kChunk) {
    gather(stream, from, std::min(from + kChunk, stream.t_us.size()), input_);
    circuit.cores[0].scatter_bare(states_[0], input_.events());
  }
  return states_[0].counters.synops;
}

std::int64_t Chip::bare_scatter(const Columns& stream) {
  const std::scoped_lock lock(mutex_);
  state_.reset();
  const std::int64_t synops = state_.scatter_bare(circuit_, stream);
  state_.reset();
  return synops;
}

void Chip::reset() {
  const std::scoped_lock lock(mutex_);
  state_.reset();
}

RunResult Chip::run(const Columns& stream, std::span<const std::int64_t> edges, std::span<const Watch> watches) {
  const std::scoped_lock lock(mutex_);
  return state_.run(circuit_, stream, edges, watches);
}

std::vector<RunResult> Chip::run_batch(std::span<const Columns> batch, std::span<const std::int64_t> edges,
                                       std::span<const std::vector<Watch>> watches, unsigned threads) {
  const std::scoped_lock lock(mutex_);
  const std::size_t n = std::clamp<std::size_t>(threads, 1, std::max<std::size_t>(batch.size(), 1));
  while (workers_.size() < n) workers_.emplace_back(circuit_);

  std::vector<RunResult> results(batch.size());
  parallel(batch.size(), static_cast<int>(n), [&](std::size_t b, std::size_t worker) {
    workers_[worker].reset();
    results[b] = workers_[worker].run(circuit_, batch[b], edges, watches[b]);
  });
  return results;
}

void sum_streams(const std::uint16_t* counts, std::size_t windows, std::size_t batch, std::size_t size, int threads,
                 std::int64_t* sums) {
  constexpr std::size_t kFits = 1u << 16;  // counts of 16 bits whose sum 32 bits hold
  parallel(batch, threads, [&](std::size_t b, std::size_t) {
    sums[b] = 0;
    for (std::size_t window = 0; window < windows; ++window) {
      const std::uint16_t* const from = counts + (window * batch + b) * size;
      for (std::size_t first = 0; first < size; first += kFits) {
        std::uint32_t sum = 0;
        for (std::size_t i = first; i < std::min(first + kFits, size); ++i) sum += from[i];
        sums[b] += sum;
      }
    }
  });
}

}  // namespace chiploop
