// The chip in time: each core is a serial server with a bounded FIFO, and what happens is worked through in order of time.
//
// Entries are ordered by (time, kind, core, creation); kinds are tick, input, completion, arrival. Serving an event takes
// event_ns + updates * synop_ns, after which its spikes leave in order; one that finds no room at its target is dropped, or
// its sender is blocked until there is. All times are integers of ns, and nothing depends on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "agenda.h"
#include "chip.h"
#include "core.h"
#include "event.h"
#include "ring.h"
#include "wiring.h"

namespace chiploop {

struct Timing {
  std::int64_t event_ns;
  std::int64_t synop_ns;
  std::int64_t hop_ns;
  std::size_t fifo_depth;  // events that wait for a core or are on their way to it
  bool drops;              // what finds no room is dropped; else its sender waits
  std::size_t most_queued;  // events of all queues together before a run is given up
};

// What a core, or the input, went through; the order is that of the fields of CoreLoad in Python.
struct Load {
  std::int64_t busy_ns = 0;
  std::int64_t wait_ns = 0;
  std::int64_t stalls = 0;
  std::int64_t stalled_ns = 0;
  std::int64_t dropped = 0;
  std::int64_t fifo_peak = 0;
  std::int64_t peak_synops = 0;
};

// An event between a sender and its service.
struct Message {
  std::int64_t time_ns;    // of its arrival
  std::int64_t origin_ns;  // when the sensor event, or the tick, that it descends from was due
  std::uint16_t channel, y, x;
};

// When the output events of one core left, and how long after the cause they descend from.
struct Departures {
  std::vector<std::int64_t> left_ns;
  std::vector<std::int64_t> latency_ns;
};

struct TimedResult {
  RunResult run;
  std::vector<Load> load;  // by core
  Load input_load;
  std::vector<Departures> departures;  // by core; where its outputs are watched
  std::int64_t end_ns = 0;  // of the last completion; where there is none, the stream's start
};

// Where a sender stands in what it has to send.
struct Outbox {
  std::size_t item = 0;    // spike, or event of the input's stream
  std::size_t target = 0;  // the next of its ways
  bool blocked = false;
  std::int64_t blocked_since = 0;
};

// One core at work.
struct Server {
  CoreState state;
  Ring<Message> waiting;          // heard, not yet begun
  Ring<Message> hopping;          // on their way from other cores
  Ring<Message> entering;         // from the input: they arrive in the instant in which they were sent
  Ring<std::int64_t> ticks;       // of the slow clock, not yet begun
  Ring<std::uint32_t> blocked;    // senders that wait for room, in order
  Message job{};                  // in service, or its spikes being sent
  bool job_is_tick = false;
  bool busy = false;              // serving, or blocked
  EventBuffer spikes;             // of the job
  Outbox outbox;
  Load load;
  std::int64_t millisecond = 0;   // in which it last started, and the updates started there
  std::int64_t synops = 0;

  // Slots of the FIFO that are taken.
  std::size_t held() const { return waiting.size() + hopping.size() + entering.size(); }
  void clear();
};

// The changing part of a timed chip: one for each stream that is run at the same time.
struct TimedState {
  explicit TimedState(const Circuit& circuit);

  void reset();

  std::vector<Server> servers;  // by core
  Agenda agenda;
};

// Runs a stream that was checked, from the states as they are, until nothing is left to do (timed_run.cc).
TimedResult run_timed(const Circuit& circuit, const Timing& timing, TimedState& state, const Columns& stream,
                      std::span<const std::int64_t> edges, std::span<const Watch> watches);

class TimedChip {
 public:
  // The circuit must outlive the chip.
  TimedChip(const Circuit& circuit, const Timing& timing);

  const Circuit& circuit() const { return circuit_; }

  void reset();

  // Continues from the states that the last call left, until nothing is left to do; after an error they are zero.
  TimedResult run(const Columns& stream, std::span<const std::int64_t> edges, std::span<const Watch> watches);

  // Runs each stream from reset state on up to `threads` threads; watches[b] are those of stream b. An error is that of
  // the first stream that has one.
  std::vector<TimedResult> run_batch(std::span<const Columns> batch, std::span<const std::int64_t> edges,
                                     std::span<const std::vector<Watch>> watches, unsigned threads);

 private:
  TimedResult run_on(TimedState& state, const Columns& stream, std::span<const std::int64_t> edges,
                     std::span<const Watch> watches) const;

  const Circuit& circuit_;
  Timing timing_;
  TimedState state_;                 // that of run()
  std::vector<TimedState> workers_;  // those of run_batch(), kept so that a batch allocates little
  std::mutex mutex_;                 // the interpreter's lock is released: two callers must not share a state
};

}  // namespace chiploop
