// A chain of cores in instant time: an output event carries the time of the input event that caused it.
//
// Each core hears only the one before it, so it sees the same input whether events go depth-first or layer by layer (a
// Kahn process network). Streams are therefore run chunk by chunk, every chunk through all cores; what a core emits is
// cut into chunks again, so that memory stays bounded however much a network amplifies. A chunk never straddles a
// window edge, and so window counts and edge potentials need no time inside the hot loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "core.h"
#include "event.h"

namespace chiploop {

// One stream as it comes from the caller.
struct Columns {
  std::span<const std::int64_t> t_us;
  std::span<const std::uint16_t> channel, y, x;
};

// Where a layer is observed; null where nobody asked. Maps are [y][x][F]; `stride` leads from one window to the next.
struct Watch {
  std::uint16_t* counts = nullptr;
  std::int16_t* potentials = nullptr;
  std::size_t counts_stride = 0;
  std::size_t potentials_stride = 0;
  EventBuffer* spikes = nullptr;
  std::int64_t* totals = nullptr;    // spikes of the whole run
  std::int16_t* last = nullptr;      // potentials at its end
};

// What a run gave besides what it watched.
struct RunResult {
  std::vector<Counters> counters;  // by core
  std::int64_t lost = 0;
};

// The changing part of a chip: one for each stream that is run at the same time.
class ChipState {
 public:
  explicit ChipState(const std::vector<Core>& cores);

  void reset();

  // Runs a stream on from the present state, appending what leaves the last core to `outputs`; `edges` may be empty.
  RunResult run(const std::vector<Core>& cores, const Columns& stream, std::span<const std::int64_t> edges,
                std::span<const Watch> watches, EventBuffer* outputs);

 private:
  void hear(const std::vector<Core>& cores, std::size_t core, std::span<const Event> events, std::span<const Tap> taps,
            EventBuffer* outputs);

  std::vector<CoreState> states_;
  std::vector<EventBuffer> sent_;  // by core: what it made of its latest chunk
  EventBuffer input_;
};

class Chip {
 public:
  Chip(std::vector<Core> cores) : cores_(std::move(cores)), state_(cores_) {}

  const std::vector<Core>& cores() const { return cores_; }

  void reset();

  // Continues from the state that the last call left.
  RunResult run(const Columns& stream, std::span<const std::int64_t> edges, std::span<const Watch> watches,
                EventBuffer& outputs);

  // Runs each stream from reset state on up to `threads` threads; watches[b] are those of stream b.
  std::vector<RunResult> run_batch(std::span<const Columns> batch, std::span<const std::int64_t> edges,
                                   std::span<const std::vector<Watch>> watches, unsigned threads);

 private:
  std::vector<Core> cores_;
  ChipState state_;                // that of run()
  std::vector<ChipState> workers_;  // those of run_batch(), kept so that a batch allocates nothing
  std::mutex mutex_;               // the interpreter's lock is released: two callers must not share a state
};

}  // namespace chiploop
