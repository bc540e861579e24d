// Cores in instant time: an output event carries the time of the input event that caused it.
//
// In a chain each core hears only the one before it, so it sees the same input whether events go depth-first or layer by
// layer (a Kahn process network). Chains are therefore run chunk by chunk, every chunk through all cores; what a core
// emits is cut into chunks again, so that memory stays bounded however much a network amplifies.
//
// With branches, merges or a slow clock, streams are run slice by slice, every slice layer by layer: a core first answers
// the clock's edge at the slice's beginning, then hears what its sources sent, merged by (time, source, position). A
// slice never parts events of one time.
//
// Neither chunk nor slice straddles a window edge, and so window counts and edge potentials need no time inside the hot
// loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "core.h"
#include "event.h"
#include "wiring.h"

namespace chiploop {

// One stream as it comes from the caller; the clock's edges in [start_us, stop_us) fall into it.
struct Columns {
  std::span<const std::int64_t> t_us;
  std::span<const std::uint16_t> channel, y, x;
  std::int64_t start_us = 0, stop_us = 0;
};

// Where a layer is observed; null where nobody asked. Maps may hold anything before, totals must be zero. Maps are [y][x][F]; `stride` leads from one window to the next.
struct Watch {
  std::uint16_t* counts = nullptr;
  std::int16_t* potentials = nullptr;
  std::size_t counts_stride = 0;
  std::size_t potentials_stride = 0;
  EventBuffer* spikes = nullptr;
  EventBuffer* outputs = nullptr;    // what leaves the chip from an output core
  std::int64_t* totals = nullptr;    // spikes of the whole run
  std::int16_t* last = nullptr;      // potentials at its end
};

// What a run gave besides what it watched.
struct RunResult {
  std::vector<Counters> counters;  // by core
  std::int64_t lost = 0;
};

// What a core hears from one source: the source's position (the input: none), and the links that lead from it.
struct Feed {
  static constexpr std::size_t kInput = static_cast<std::size_t>(-1);
  std::size_t source;
  std::vector<Link> links;
};

// Cores and the ways between them; never changes while streams run.
struct Circuit {
  Circuit(std::vector<Core> given, Wiring ways, const Shape& map);

  std::vector<Core> cores;
  Wiring wiring;
  std::vector<std::vector<Feed>> feeds;  // by core, sources ascending, the input first
  Shape input;                           // map of the input's events
  bool is_chain;                         // each core hears the one before it as it is, and no clock ticks
};

// The changing part of a chip: one for each stream that is run at the same time.
class ChipState {
 public:
  explicit ChipState(const Circuit& circuit);

  void reset();

  // Runs a stream on from the present state; `edges` may be empty.
  RunResult run(const Circuit& circuit, const Columns& stream, std::span<const std::int64_t> edges,
                std::span<const Watch> watches);

  // Adds the weights of every event to the first core's states and does nothing else; returns the synops.
  std::int64_t scatter_bare(const Circuit& circuit, const Columns& stream);

 private:
  // Runs events [from, to) of the stream and the clock's edges before `until`, which no event reaches.
  void advance(const Circuit& circuit, const Columns& stream, std::size_t from, std::size_t to, std::int64_t until,
               std::span<const Watch> watches);
  void listen(const Circuit& circuit, const Columns& stream, std::size_t from, std::size_t to,
              std::span<const Watch> watches);
  void chain(const Circuit& circuit, std::size_t core, std::span<const Event> events, std::span<const Watch> watches);
  void slice(const Circuit& circuit, bool edge, std::span<const Watch> watches);
  std::span<const Event> gathered(const Circuit& circuit, std::size_t core);

  std::vector<CoreState> states_;
  std::vector<Tap> taps_;
  std::vector<EventBuffer> sent_;  // by core: what it made of its latest chunk or slice
  EventBuffer input_, merged_;
  std::int64_t next_edge_us_ = 0;  // of the slow clock
};

class Chip {
 public:
  Chip(std::vector<Core> cores, Wiring wiring, const Shape& input)
      : circuit_(std::move(cores), std::move(wiring), input), state_(circuit_) {}

  const Circuit& circuit() const { return circuit_; }

  void reset();

  // Continues from the state that the last call left.
  RunResult run(const Columns& stream, std::span<const std::int64_t> edges, std::span<const Watch> watches);

  // Runs each stream from reset state on up to `threads` threads; watches[b] are those of stream b.
  std::vector<RunResult> run_batch(std::span<const Columns> batch, std::span<const std::int64_t> edges,
                                   std::span<const std::vector<Watch>> watches, unsigned threads);

  // Runs a stream from reset state through the first core's bare scatter, and resets again; returns its synops.
  std::int64_t bare_scatter(const Columns& stream);

 private:
  Circuit circuit_;
  ChipState state_;                // that of run()
  std::vector<ChipState> workers_;  // those of run_batch(), kept so that a batch allocates nothing
  std::mutex mutex_;               // the interpreter's lock is released: two callers must not share a state
};

// Adds up the counts of every stream of a batch, [windows][batch][size], so that they can be held against counters.
void sum_streams(const std::uint16_t* counts, std::size_t windows, std::size_t batch, std::size_t size, int threads,
                 std::int64_t* sums);

}  // namespace chiploop
