// One run of a timed chip, entry by entry.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "timed.h"

namespace chiploop {
namespace {

constexpr std::int64_t kLatestNs = std::int64_t{1} << 62;  // 146 years; a service or a hop more still fits int64
constexpr std::int64_t kNsPerMs = 1'000'000;

std::int64_t floored(std::int64_t value, std::int64_t unit) { return value / unit - (value % unit < 0); }

std::int64_t bounded(std::int64_t time_ns) {
  if (time_ns > kLatestNs) throw std::overflow_error("the run lasts longer than 2^62 ns can say");
  return time_ns;
}

// One run of one stream. Lines of the agenda, in the order of kinds and then of cores: tick, input, completion by core,
// and by core what hops to it and what enters it. Of two arrivals at once the hopping one was put down a hop earlier; if a
// hop takes no time, both kinds share the one queue, in the order of creation.
class Run {
 public:
  Run(const Circuit& circuit, const Timing& timing, TimedState& state, const Columns& stream,
      std::span<const std::int64_t> edges, std::span<const Watch> watches)
      : cores_(circuit.cores), wiring_(circuit.wiring), timing_(timing), servers_(state.servers), agenda_(state.agenda),
        stream_(stream), edges_(edges), watches_(watches), n_(cores_.size()) {
    for (const Core& core : cores_) maps_.push_back(core.out_map());
    maps_.push_back(circuit.input);
  }

  TimedResult go() {
    prepare();
    while (agenda_.first().time_ns != Agenda::kNever) {
      const auto [time_ns, line] = agenda_.first();
      now_ = time_ns;
      if (line >= kCompletion + n_) {
        arrive((line - kCompletion - n_) / 2, line);
      } else if (line >= kCompletion) {
        complete(line - kCompletion);
      } else if (line == kInput) {
        hear();
      } else {
        tick();
      }
    }
    return finish();
  }

 private:
  static constexpr std::size_t kTick = 0, kInput = 1, kCompletion = 2;

  std::size_t hop_line(std::size_t core) const { return kCompletion + n_ + 2 * core; }

  void prepare() {
    agenda_.clear();
    for (Server& server : servers_) server.clear();
    result_.departures.resize(n_);
    for (const Watch& watch : watches_) taps_.push_back({watch.counts, watch.totals, watch.spikes});
    result_.end_ns = stream_.start_us * 1000;
    next_edge_us_ = edges_.size() > 2 ? edges_[1] : Agenda::kNever;
    if (!stream_.t_us.empty()) agenda_.set(kInput, stream_.t_us[0] * 1000);
    const bool ticks = std::any_of(cores_.begin(), cores_.end(), [](const Core& core) { return core.has_bias; });
    if (ticks && wiring_.clock_us > 0) {
      tick_us_ = -floored(-stream_.start_us, wiring_.clock_us) * wiring_.clock_us;
      if (tick_us_ < stream_.stop_us) agenda_.set(kTick, tick_us_ * 1000);
    }
  }

  void tick() {
    tick_us_ += wiring_.clock_us;
    agenda_.set(kTick, tick_us_ < stream_.stop_us ? tick_us_ * 1000 : Agenda::kNever);
    for (std::size_t core = 0; core < n_; ++core) {
      if (!cores_[core].has_bias) continue;
      count_queued();
      servers_[core].ticks.push(now_);
      if (!servers_[core].busy) start(core);
    }
  }

  void hear() {
    const std::span<const std::int64_t> t_us = stream_.t_us;
    const std::int64_t due = t_us[due_];
    while (due_ < t_us.size() && t_us[due_] == due) ++due_;
    agenda_.set(kInput, due_ < t_us.size() ? t_us[due_] * 1000 : Agenda::kNever);
    if (!input_.blocked) feed();
  }

  // Sends what the input has due; goes on where it was blocked.
  void feed() {
    for (; input_.item < due_; ++input_.item, input_.target = 0) {
      const std::size_t i = input_.item;
      const Event event{0, stream_.channel[i], stream_.y[i], stream_.x[i], 0};
      if (!send(n_, input_, wiring_.inputs, event, stream_.t_us[i] * 1000)) return;
    }
  }

  void arrive(std::size_t core, std::size_t line) {
    Server& server = servers_[core];
    Ring<Message>& way = line == hop_line(core) ? server.hopping : server.entering;
    server.waiting.push(way.pop());
    agenda_.set(line, way.empty() ? Agenda::kNever : way.front().time_ns);
    server.load.fifo_peak = std::max(server.load.fifo_peak, static_cast<std::int64_t>(server.waiting.size()));
    if (!server.busy) start(core);
  }

  // Takes the next tick or event, if any, and lets the first sender that waits for its slot go on. The line of the core's
  // completions is set here or where it is blocked, once a job.
  void start(std::size_t position) {
    Server& server = servers_[position];
    const Core& core = cores_[position];
    std::int64_t updates = static_cast<std::int64_t>(core.config.neurons.channels);
    server.job_is_tick = !server.ticks.empty();
    if (server.job_is_tick) {
      server.job = {now_, server.ticks.pop(), 0, 0, 0};
      updates = static_cast<std::int64_t>(core.config.neurons.size());
    } else if (!server.waiting.empty()) {
      server.job = server.waiting.pop();
      server.load.wait_ns = bounded(server.load.wait_ns + now_ - server.job.time_ns);
      updates *= core.fan_out(server.job.y, server.job.x);
    } else {
      agenda_.set(kCompletion + position, Agenda::kNever);
      return;
    }
    --queued_;
    const std::int64_t service_ns = timing_.event_ns + updates * timing_.synop_ns;
    server.busy = true;
    server.load.busy_ns = bounded(server.load.busy_ns + service_ns);
    agenda_.set(kCompletion + position, bounded(now_ + service_ns));
    count_updates(server, updates);
    if (!server.job_is_tick && !server.blocked.empty()) resume(server.blocked.pop());
  }

  void count_updates(Server& server, std::int64_t updates) {
    const std::int64_t millisecond = floored(now_, kNsPerMs);
    if (millisecond != server.millisecond) server.synops = 0;
    server.millisecond = millisecond;
    server.synops += updates;
    server.load.peak_synops = std::max(server.load.peak_synops, server.synops);
  }

  void complete(std::size_t position) {
    Server& server = servers_[position];
    const std::int64_t t_us = floored(now_, 1000);
    while (t_us >= next_edge_us_) close_window(next_edge_us_);
    result_.end_ns = now_;
    server.spikes.clear();
    server.outbox = {};
    const Message& job = server.job;
    const Event event{t_us, job.channel, job.y, job.x, 0};
    if (server.job_is_tick) {
      cores_[position].tick(server.state, t_us, taps_[position], server.spikes);
    } else {
      cores_[position].run(server.state, {&event, 1}, taps_[position], server.spikes);
    }
    emit(position);
  }

  // Sends the spikes of the job; goes on where it was blocked, and with the next job when all are sent.
  void emit(std::size_t position) {
    Server& server = servers_[position];
    const std::span<const Event> spikes = server.spikes.events();
    for (; server.outbox.item < spikes.size(); ++server.outbox.item, server.outbox.target = 0) {
      const Event& spike = spikes[server.outbox.item];
      if (!send(position, server.outbox, wiring_.targets[position], spike, server.job.origin_ns)) {
        agenda_.set(kCompletion + position, Agenda::kNever);
        return;
      }
      if (watches_[position].outputs != nullptr) leave(position, spike);
    }
    server.busy = false;
    start(position);
  }

  void leave(std::size_t position, const Event& spike) {
    Departures& out = result_.departures[position];
    watches_[position].outputs->push({floored(now_, 1000), spike.channel, spike.y, spike.x, 0});
    out.left_ns.push_back(now_);
    out.latency_ns.push_back(now_ - servers_[position].job.origin_ns);
  }

  // Sends one event all its ways; false when it is blocked on one of them.
  bool send(std::size_t sender, Outbox& outbox, std::span<const Link> ways, const Event& event, std::int64_t origin_ns) {
    for (; outbox.target < ways.size(); ++outbox.target) {
      const Link& link = ways[outbox.target];
      Event arriving;
      if (!route(link, event, maps_[sender], arriving)) continue;
      Server& to = servers_[link.core];
      if (to.held() < timing_.fifo_depth) {
        put(to, link.core, sender == n_, arriving, origin_ns);
      } else if (timing_.drops) {
        ++to.load.dropped;
      } else {
        to.blocked.push(static_cast<std::uint32_t>(sender));
        outbox.blocked = true;
        outbox.blocked_since = now_;
        ++load_of(sender).stalls;
        return false;
      }
    }
    return true;
  }

  void put(Server& to, std::size_t core, bool from_input, const Event& event, std::int64_t origin_ns) {
    const bool enters = from_input && timing_.hop_ns > 0;
    const std::int64_t time_ns = from_input ? now_ : now_ + timing_.hop_ns;
    Ring<Message>& way = enters ? to.entering : to.hopping;
    if (way.empty()) agenda_.set(hop_line(core) + enters, time_ns);
    count_queued();
    way.push({time_ns, origin_ns, event.channel, event.y, event.x});
  }

  void resume(std::size_t sender) {
    Outbox& outbox = sender == n_ ? input_ : servers_[sender].outbox;
    Load& load = load_of(sender);
    outbox.blocked = false;
    load.stalled_ns = bounded(load.stalled_ns + now_ - outbox.blocked_since);
    if (sender == n_) {
      feed();
    } else {
      emit(sender);
    }
  }

  Load& load_of(std::size_t sender) { return sender == n_ ? result_.input_load : servers_[sender].load; }

  void count_queued() {
    if (++queued_ > timing_.most_queued) {
      throw std::length_error("more than " + std::to_string(timing_.most_queued) + " events wait at " +
                              std::to_string(now_) + " ns");
    }
  }

  void close_window(std::int64_t t_us) {
    for (std::size_t c = 0; c < n_; ++c) {
      const Watch& watch = watches_[c];
      if (taps_[c].counts != nullptr) taps_[c].counts += watch.counts_stride;
      if (watch.potentials != nullptr) {
        cores_[c].copy_potentials(servers_[c].state, t_us, watch.potentials + window_ * watch.potentials_stride);
      }
    }
    ++window_;
    next_edge_us_ = window_ + 2 < edges_.size() ? edges_[window_ + 1] : Agenda::kNever;
  }

  TimedResult finish() {
    while (next_edge_us_ != Agenda::kNever) close_window(next_edge_us_);
    const std::int64_t end_us = std::max(edges_.empty() ? stream_.stop_us : edges_.back(), floored(result_.end_ns, 1000));
    if (!edges_.empty()) close_window(end_us);
    for (std::size_t c = 0; c < n_; ++c) {
      Server& server = servers_[c];
      if (watches_[c].last != nullptr) cores_[c].copy_potentials(server.state, end_us, watches_[c].last);
      server.state.counters.dropped = server.load.dropped;
      server.state.counters.fifo_peak = server.load.fifo_peak;
      result_.run.counters.push_back(server.state.counters);
      result_.run.lost += server.state.lost;
      result_.load.push_back(server.load);
    }
    return std::move(result_);
  }

  const std::vector<Core>& cores_;
  const Wiring& wiring_;
  const Timing& timing_;
  std::vector<Server>& servers_;
  Agenda& agenda_;
  const Columns& stream_;
  std::span<const std::int64_t> edges_;
  std::span<const Watch> watches_;
  const std::size_t n_;

  std::vector<Tap> taps_;    // by core; their counts are those of the present window
  std::vector<Shape> maps_;  // of what each sender sends, the input last
  TimedResult result_;
  Outbox input_;
  std::size_t due_ = 0;     // events of the input whose time has come
  std::size_t queued_ = 0;  // events and ticks in all queues
  std::size_t window_ = 0;
  std::int64_t next_edge_us_ = 0;  // where the present window ends, unless it is the last
  std::int64_t tick_us_ = 0;       // of the next tick
  std::int64_t now_ = 0;
};

}  // namespace

TimedResult run_timed(const Circuit& circuit, const Timing& timing, TimedState& state, const Columns& stream,
                      std::span<const std::int64_t> edges, std::span<const Watch> watches) {
  return Run(circuit, timing, state, stream, edges, watches).go();
}

}  // namespace chiploop
