// Tests of the timed chip on cases small enough to be worked by hand; also meant for the sanitizers.
//
// A relay is one neuron whose every event gives a spike. With the constants below it serves one in 10 + 3 = 13 ns.
#include "timed.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <random>
#include <string>

#include "agenda.h"
#include "check.h"
#include "ring.h"

using namespace chiploop;

namespace {

using Times = std::vector<std::int64_t>;

constexpr std::size_t kNoBound = static_cast<std::size_t>(-1);
constexpr Timing kPlain{10, 3, 5, kNoBound, false, 1000};

// One by one position, `features` neurons that all hear `channels` channels with weight 1.
Core position(std::uint32_t features, std::int32_t threshold, const std::int16_t* bias = nullptr, std::uint32_t channels = 1) {
  const std::vector<std::int8_t> weight(std::size_t{channels} * features, 1);
  CoreConfig config{weight.data(), 1, 1, threshold, -100, Reset::subtract, SpikesPerUpdate::one, 1, 0, 0,
                    {channels, 1, 1}, {features, 1, 1}};
  const std::vector<std::int16_t> biases(features, bias == nullptr ? std::int16_t{0} : *bias);
  if (bias != nullptr) config.bias = biases.data();
  return Core(config, Isa::portable);
}

Core relay() { return position(1, 1); }

Circuit chain(std::size_t n) {
  std::vector<Core> cores;
  Wiring wiring{{{0, 0, 0}}, {}, std::vector<bool>(n, false), 0};
  for (std::size_t c = 0; c < n; ++c) {
    cores.push_back(relay());
    wiring.targets.push_back(c + 1 < n ? std::vector<Link>{{c + 1, 0, 0}} : std::vector<Link>{});
  }
  wiring.is_output[n - 1] = true;
  return Circuit(std::move(cores), std::move(wiring), {1, 1, 1});
}

// What a run gave; its outputs are those of the last core.
struct Ran {
  TimedResult result;
  EventBuffer outputs;
  Times left, latency;
};

Ran run(const Circuit& circuit, const Timing& timing, const Times& t_us, std::int64_t stop_us = 100) {
  TimedChip chip(circuit, timing);
  const std::vector<std::uint16_t> zero(t_us.size());
  Ran ran;
  std::vector<Watch> watches(circuit.cores.size());
  watches.back().outputs = &ran.outputs;
  ran.result = chip.run({t_us, zero, zero, zero, 0, stop_us}, {}, watches);
  ran.left = ran.result.departures.back().left_ns;
  ran.latency = ran.result.departures.back().latency_ns;
  return ran;
}

bool same(const Load& a, const Load& b) { return std::memcmp(&a, &b, sizeof(Load)) == 0; }

void rings_are_queues() {
  std::mt19937 random(1);
  Ring<int> ring;
  std::deque<int> queue;
  for (int i = 0; i < 100'000; ++i) {
    if (queue.empty() || random() % 100 < 51) {
      ring.push(i);
      queue.push_back(i);
    } else {
      CHECK(ring.front() == queue.front() && ring.pop() == queue.front());
      queue.pop_front();
    }
    CHECK(ring.size() == queue.size());
  }
  ring.clear();
  CHECK(ring.empty());
}

void agenda_names_the_first_of_the_earliest() {
  std::mt19937 random(2);
  for (std::size_t lines = 1; lines < 40; ++lines) {
    Agenda agenda(lines);
    Times times(lines, Agenda::kNever);
    for (int i = 0; i < 500; ++i) {
      const std::size_t line = random() % lines;
      times[line] = random() % 4 == 0 ? Agenda::kNever : static_cast<std::int64_t>(random() % 8);
      agenda.set(line, times[line]);
      const auto first = std::min_element(times.begin(), times.end());
      CHECK(agenda.first().time_ns == *first);
      CHECK(*first == Agenda::kNever || agenda.first().line == static_cast<std::size_t>(first - times.begin()));
    }
    agenda.clear();
    CHECK(agenda.first().time_ns == Agenda::kNever);
  }
}

// Three events at 1 us. First core: served in 1000..1013..1026..1039. Second: each arrives 5 later, when it is idle again
// but for the last moment of the service before (completion comes first), and takes 13.
void services_follow_one_another_and_hops_take_time() {
  const Circuit circuit = chain(2);
  const Ran ran = run(circuit, kPlain, {1, 1, 1});
  CHECK((ran.left == Times{1031, 1044, 1057}) && (ran.latency == Times{31, 44, 57}));
  CHECK(ran.result.end_ns == 1057 && ran.outputs.events()[0].t_us == 1);
  CHECK(same(ran.result.load[0], {39, 0 + 13 + 26, 0, 0, 0, 2, 3}));
  CHECK(same(ran.result.load[1], {39, 0, 0, 0, 0, 1, 3}));
  CHECK(same(ran.result.input_load, {}));
  CHECK(ran.result.run.counters[0].fifo_peak == 2 && ran.result.run.counters[1].events_in == 3);
}

// Two slots: the first two of three events at once reserve them before any is served.
void a_full_queue_drops() {
  const Circuit circuit = chain(1);
  const Ran ran = run(circuit, {10, 3, 5, 2, true, 1000}, {1, 1, 1, 2});
  CHECK((ran.left == Times{1013, 1026, 2013}) && (ran.latency == Times{13, 26, 13}));
  CHECK(ran.result.load[0].dropped == 1 && ran.result.run.counters[0].dropped == 1);
  CHECK(ran.result.run.counters[0].events_in == 3 && ran.result.input_load.stalls == 0);
}

// One slot: the second event waits until the first starts (at once), the third until the second starts (13 later).
void a_full_queue_stalls_its_sender() {
  const Circuit circuit = chain(1);
  const Ran ran = run(circuit, {10, 3, 5, 1, false, 1000}, {1, 1, 1});
  CHECK((ran.left == Times{1013, 1026, 1039}));
  CHECK(ran.result.input_load.stalls == 2 && ran.result.input_load.stalled_ns == 13);
  // The third arrives at 1013, after the second began there, and waits 13; so did the second.
  CHECK(same(ran.result.load[0], {39, 26, 0, 0, 0, 1, 3}));
}

// A relay ahead of a position of ten neurons (40 ns each), one slot. First spike: leaves the relay at 1013, is served in
// 1018..1058. The second leaves at 1026 and takes the slot; the third is ready at 1039, and waits until 1058. Held back,
// the relay starts nothing: the fourth event, due at 1 us too, begins at 1058 and is done at 1071.
void a_blocked_core_serves_nothing() {
  std::vector<Core> cores;
  cores.push_back(relay());
  cores.push_back(position(10, 100));
  const Circuit circuit(std::move(cores), {{{0, 0, 0}}, {{{1, 0, 0}}, {}}, {false, true}, 0}, {1, 1, 1});
  const Ran ran = run(circuit, {10, 3, 5, 1, false, 1000}, {1, 1, 1, 1});
  const TimedResult& result = ran.result;
  // Blocked: the third spike 1039..1058; the fourth from 1071 until the third starts, at 1098.
  CHECK(result.load[0].stalls == 2 && result.load[0].stalled_ns == 19 + 27);
  CHECK(result.load[0].busy_ns == 52 && result.load[1].busy_ns == 160);
  // Arrivals 1018, 1031, 1063, 1103; starts 1018, 1058, 1098, 1138.
  CHECK(result.load[1].wait_ns == 0 + 27 + 35 + 35 && result.end_ns == 1178);
  // The input: second event blocked 0, third 13 (till 1013), fourth from 1013 to 1026.
  CHECK(result.input_load.stalls == 3 && result.input_load.stalled_ns == 0 + 13 + 13);
}

// Two relays feed a position of ten neurons with one slot. Both have spikes at 1013: the first's takes the slot, the
// second's is blocked. From 1018 the target serves; the second relay goes on there and its spike arrives at 1023. The
// first relay's next spike, at 1026, is blocked then, and the second relay's next, at 1031, queues behind it.
void blocked_senders_go_on_in_the_order_in_which_they_were_blocked() {
  std::vector<Core> cores;
  cores.push_back(relay());
  cores.push_back(relay());
  cores.push_back(position(10, 1, nullptr, 2));
  const Wiring wiring{{{0, 0, 0}, {1, 0, 0}}, {{{2, 0, 0}}, {{2, 0, 1}}, {}}, {false, false, true}, 0};
  const Circuit circuit(std::move(cores), wiring, {1, 1, 1});
  const Ran ran = run(circuit, {10, 3, 5, 1, false, 1000}, {1, 1});
  const std::vector<Load>& load = ran.result.load;
  CHECK(load[0].stalls == 1 && load[0].stalled_ns == 1058 - 1026);
  CHECK(load[1].stalls == 2 && load[1].stalled_ns == (1018 - 1013) + (1098 - 1031));
  // Starts 1018, 1058, 1098, 1138; arrivals 1018, 1023, 1063, 1103.
  CHECK(load[2].wait_ns == 0 + 35 + 35 + 35 && ran.result.end_ns == 1178 && ran.left.size() == 40);
}

// The input goes to a slow position (ten neurons, 40 ns) and to a relay (13 ns); both send to the third core. The slow
// one stands first in the list and yet is heard last. Its spikes, ten at once, arrive at 1045 and are served in turn.
void merged_streams_are_served_as_they_arrive() {
  std::vector<Core> cores;
  cores.push_back(position(10, 1));
  cores.push_back(relay());
  cores.push_back(position(1, 1, nullptr, 11));
  const Wiring wiring{{{0, 0, 0}, {1, 0, 0}}, {{{2, 0, 0}}, {{2, 0, 10}}, {}}, {false, false, true}, 0};
  const Circuit circuit(std::move(cores), wiring, {1, 1, 1});
  const Ran ran = run(circuit, kPlain, {1});
  CHECK(ran.left.size() == 11 && ran.left[0] == 1018 + 13 && ran.left[1] == 1045 + 13 && ran.left[10] == 1045 + 130);
  CHECK(ran.result.load[2].fifo_peak == 9);  // the first of ten was taken at once
}

// A clock of 1 us on a neuron with bias 1 and threshold 1: a tick, an event and a tick's answer come in turn. At 0 and at
// 1 us the tick is served before the event of the same time; their answers descend from tick and event.
void ticks_come_first() {
  const std::int16_t bias = 1;
  std::vector<Core> cores;
  cores.push_back(position(1, 1, &bias));
  const Circuit circuit(std::move(cores), {{{0, 0, 0}}, {{}}, {true}, 1}, {1, 1, 1});
  const Ran ran = run(circuit, kPlain, {0, 1}, 2);
  CHECK((ran.left == Times{13, 26, 1013, 1026}) && (ran.latency == Times{13, 26, 13, 26}));
  CHECK(ran.result.run.counters[0].clocked == 2 && ran.result.run.counters[0].synops == 2);
  CHECK(ran.result.load[0].wait_ns == 26);  // of the events alone

  // A service of 1.5 us: the tick at 1 us overtakes the event that waits since 0.
  const Ran slow = run(circuit, {1500, 0, 5, kNoBound, false, 1000}, {0, 0}, 2);
  CHECK((slow.left == Times{1500, 3000, 4500, 6000}) && (slow.latency == Times{1500, 2000, 4500, 6000}));
}

// A position that hears the input and a relay. The relay's spike, sent at 995, and an event of the input arrive at 1000.
void of_two_arrivals_at_once_the_one_sent_first_is_heard_first() {
  const auto order = [](std::int64_t hop_ns, std::int64_t event_ns) {
    std::vector<Core> cores;
    cores.push_back(relay());
    const std::int8_t weight[2] = {1, 2};
    cores.push_back(Core({weight, 1, 1, 3, -100, Reset::zero, SpikesPerUpdate::one, 1, 0, 0, {2, 1, 1}, {1, 1, 1}},
                         Isa::portable));
    const Wiring wiring{{{0, 0, 0}, {1, 0, 1}}, {{{1, 0, 0}}, {}}, {false, true}, 0};
    const Circuit circuit(std::move(cores), wiring, {1, 1, 1});
    return run(circuit, {event_ns, 0, hop_ns, kNoBound, false, 1000}, {0, 1}).left;
  };
  // Relay first: 2 + 1 fire at 1995, then the input's 2 and the relay's next 1 at 3985. Were the input first, 2 + 2 would
  // fire at 1995, and the relay's two would be left over.
  CHECK((order(5, 995) == Times{1995, 3985}));
  // Hops take no time: the relay's answer is sent at 1000 as well, but after the input's event.
  CHECK((order(0, 1000) == Times{2000}));
}

// What completes at or after the last edge belongs to the last window; potentials are those at the edges.
void windows_hold_what_was_completed_in_them() {
  std::vector<Core> cores;
  cores.push_back(position(1, 3));
  const Circuit circuit(std::move(cores), {{{0, 0, 0}}, {{}}, {true}, 0}, {1, 1, 1});
  TimedChip chip(circuit, {1000, 0, 5, kNoBound, false, 1000});
  const Times t_us{0, 0, 0, 1, 1, 1, 1}, edges{0, 1, 4, 5};  // completions at 1, 2, ... 7 us
  const std::vector<std::uint16_t> zero(7);
  std::uint16_t counts[3] = {0, 0, 0};
  std::int16_t potentials[3] = {-1, -1, -1}, last = -1;
  std::int64_t total = 0;
  EventBuffer spikes;
  Watch watch;
  watch.counts = counts;
  watch.potentials = potentials;
  watch.counts_stride = watch.potentials_stride = 1;
  watch.spikes = &spikes;
  watch.totals = &total;
  watch.last = &last;
  const TimedResult result = chip.run({t_us, zero, zero, zero, 0, 2}, edges, {&watch, 1});
  CHECK(counts[0] == 0 && counts[1] == 1 && counts[2] == 1 && total == 2);
  CHECK(potentials[0] == 0 && potentials[1] == 0 && potentials[2] == 1 && last == 1);
  CHECK(spikes.size() == 2 && spikes.events()[0].t_us == 3 && spikes.events()[1].t_us == 6);
  CHECK(result.end_ns == 7000 && result.departures[0].left_ns.empty());
}

// States go on from run to run, and start anew in a batch and after a reset.
void states_are_kept_between_runs_and_not_in_a_batch() {
  std::vector<Core> cores;
  cores.push_back(position(1, 2));
  const Circuit circuit(std::move(cores), {{{0, 0, 0}}, {{}}, {true}, 0}, {1, 1, 1});
  TimedChip chip(circuit, kPlain);
  const Times t_us{1};
  const std::vector<std::uint16_t> zero(1);
  const Columns stream{t_us, zero, zero, zero, 0, 10};
  const std::vector<Watch> watch(1);
  const auto spikes = [&] { return chip.run(stream, {}, watch).run.counters[0].spikes; };
  CHECK(spikes() == 0 && spikes() == 1 && spikes() == 0);
  const std::vector<Columns> batch(5, stream);
  const std::vector<std::vector<Watch>> watches(5, watch);
  for (unsigned threads = 1; threads < 4; ++threads) {
    for (const TimedResult& result : chip.run_batch(batch, {}, watches, threads)) {
      CHECK(result.run.counters[0].spikes == 0 && result.end_ns == 1013);
    }
  }
  CHECK(spikes() == 1 && spikes() == 0);
  chip.reset();
  CHECK(spikes() == 0);
}

template <typename Error, typename Work>
void refuses(const char* what, const Work& work) {
  bool refused = false;
  try {
    work();
  } catch (const Error& error) {
    refused = std::string(error.what()).find(what) != std::string::npos;
  }
  CHECK(refused);
}

// A run that would fill the memory is given up; the chip is as fresh after it.
void queues_have_a_bound() {
  const Circuit circuit = chain(2);
  const Timing narrow{10, 3, 5, kNoBound, false, 3};
  CHECK(run(circuit, narrow, {1, 1, 1}).left.size() == 3);
  refuses<std::length_error>("more than 3 events wait at 1000 ns", [&] { run(circuit, narrow, {1, 1, 1, 1}); });

  TimedChip chip(circuit, narrow);
  const Times few{1, 1, 1}, many{1, 1, 1, 1};
  const std::vector<std::uint16_t> zero(4);
  const std::span<const std::uint16_t> three(zero.data(), 3);
  const std::vector<Watch> watch(2);
  const Columns good{few, three, three, three, 0, 9}, bad{many, zero, zero, zero, 0, 9};
  refuses<std::length_error>("more than 3", [&] { chip.run(bad, {}, watch); });
  CHECK(chip.run(good, {}, watch).run.counters[1].spikes == 3);
  const std::vector<Columns> batch{good, bad, good, bad};
  const std::vector<std::vector<Watch>> watches(4, watch);
  for (unsigned threads = 1; threads < 4; ++threads) {
    refuses<std::length_error>("more than 3", [&] { chip.run_batch(batch, {}, watches, threads); });
  }
}

void what_cannot_be_said_in_ns_is_refused() {
  const Circuit circuit = chain(1);
  refuses<std::invalid_argument>("2^40", [&] { TimedChip(circuit, {-1, 0, 0, 1, false, 1}); });
  refuses<std::invalid_argument>("2^40", [&] { TimedChip(circuit, {0, std::int64_t{1} << 41, 0, 1, false, 1}); });
  refuses<std::invalid_argument>("at least 1", [&] { TimedChip(circuit, {0, 0, 0, 0, false, 1}); });
  refuses<std::overflow_error>("2^61", [&] { run(circuit, kPlain, {std::int64_t{1} << 60}); });
  const Times t_us{1};
  const std::vector<std::uint16_t> zero(1), one(1, 1);
  TimedChip chip(circuit, kPlain);
  const std::vector<Watch> watch(1);
  refuses<std::invalid_argument>("outside", [&] { chip.run({t_us, one, zero, zero, 0, 9}, {}, watch); });
}

}  // namespace

int main() {
  rings_are_queues();
  agenda_names_the_first_of_the_earliest();
  services_follow_one_another_and_hops_take_time();
  a_full_queue_drops();
  a_full_queue_stalls_its_sender();
  a_blocked_core_serves_nothing();
  blocked_senders_go_on_in_the_order_in_which_they_were_blocked();
  merged_streams_are_served_as_they_arrive();
  ticks_come_first();
  of_two_arrivals_at_once_the_one_sent_first_is_heard_first();
  windows_hold_what_was_completed_in_them();
  states_are_kept_between_runs_and_not_in_a_batch();
  queues_have_a_bound();
  what_cannot_be_said_in_ns_is_refused();
}
