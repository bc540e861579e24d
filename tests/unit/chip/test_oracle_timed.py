"""The oracle's timed core: services, full queues, clock edges and windows, worked by hand; times in ns."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.device import Counters, Monitor
from chiploop.chip.oracle_timed import TimedOracle
from chiploop.chip.program import DEAD, Target
from chiploop.chip.timing import CoreLoad
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from small_chips import core, graph, latency_ns, left_ns, on_channels, relay, timed, timing
from strategies_chip import chain_of, neuron, one_core, pulses

RELAY = neuron(9, threshold=9)


# ---- one core


def test_service_and_waiting() -> None:
    # Service 1000 + 1 * 10. Arrivals 0, 1000, 10000: the second waits from 1000 to 1010.
    trace = timed(RELAY, timing(1000, 10), pulses([0, 1, 10]))
    assert left_ns(trace) == [1010, 2020, 11010]
    assert latency_ns(trace) == [1010, 1020, 1010]
    assert trace.outputs["layer0"].t_us.tolist() == [1, 2, 11]
    assert trace.outputs["layer0"].stop_us == 12  # room for the last
    assert trace.timing.load["layer0"] == CoreLoad(busy_ns=3030, wait_ns=10, fifo_peak=1, peak_synops=3)
    assert (trace.timing.input_load, trace.timing.end_ns, trace.span_us) == (CoreLoad(), 11010, 11)
    assert trace.counters["layer0"] == Counters(events_in=3, synops=3, spikes=3, fifo_peak=1)


def test_service_counts_the_updates_that_an_address_really_has() -> None:
    # A 3 x 3 kernel with padding on 3 x 3, two features: 4 positions at a corner, 9 in the middle; 8 and 18 updates.
    # An address under no kernel window still costs event_ns.
    program = chain_of(one_core(np.full((1, 3, 3, 2), 1, np.int8), (1, 3, 3), padding=1))
    events = Events.from_columns([0, 500], [0, 0], [0, 1], [0, 1], SensorShape(1, 3, 3))
    assert timed(program, timing(100, 7), events).timing.load["layer0"].busy_ns == 2 * 100 + 7 * (8 + 18)
    program = chain_of(one_core(np.full((1, 1, 1, 1), 1, np.int8), (1, 1, 2), stride=2))
    events = Events.from_columns([0], [0], [0], [1], SensorShape(1, 1, 2))
    trace = timed(program, timing(100, 7), events)
    assert (trace.timing.load["layer0"].busy_ns, trace.timing.end_ns, trace.counters["layer0"].events_in) == (
        100,
        100,
        1,
    )


def test_a_full_queue_drops() -> None:
    # Service 5000, one slot. 0: served at once. 1000: takes the slot until 5000. 2000: no room. 6000: the slot again,
    # until 10000.
    trace = timed(RELAY, timing(5000, depth=1, drop=True), pulses([0, 1, 2, 6]))
    assert left_ns(trace) == [5000, 10000, 15000]
    assert latency_ns(trace) == [5000, 9000, 9000]
    load = trace.timing.load["layer0"]
    assert (load.dropped, load.stalls, load.wait_ns, load.fifo_peak) == (1, 0, 4000 + 4000, 1)
    assert (trace.counters["layer0"].dropped, trace.counters["layer0"].events_in) == (1, 3)
    assert trace.timing.input_load == CoreLoad()


def test_a_full_queue_stalls_the_input_and_what_comes_after() -> None:
    # As before, but the event of 2000 waits outside until 5000, and that of 6000 until 10000.
    trace = timed(RELAY, timing(5000, depth=1), pulses([0, 1, 2, 6]))
    assert left_ns(trace) == [5000, 10000, 15000, 20000]
    assert latency_ns(trace) == [5000, 9000, 13000, 14000]
    assert trace.timing.input_load == CoreLoad(stalls=2, stalled_ns=3000 + 4000)
    # Waits count from the arrival: 1000 to 5000, 5000 to 10000, 10000 to 15000.
    assert trace.timing.load["layer0"] == CoreLoad(busy_ns=20000, wait_ns=14000, fifo_peak=1, peak_synops=4)


def test_events_behind_a_stalled_one_keep_their_order_and_their_due_times() -> None:
    # Service 5000, one slot. Channels 0, 1, 2, 1 at 0, 1000, 2000, 3000. 2000 stalls until 5000; the event of 3000 is
    # tried then, stalls until 10000.
    program = chain_of(relay(0, in_shape=(3, 1, 1)))
    trace = timed(program, timing(5000, depth=1), on_channels([0, 1, 2, 3], [0, 1, 2, 1], 3))
    assert trace.outputs["L0"].channel.tolist() == [0, 1, 2, 1]
    assert latency_ns(trace, "L0") == [5000, 9000, 13000, 17000]
    assert trace.timing.input_load == CoreLoad(stalls=2, stalled_ns=3000 + 5000)


def test_a_burst_needs_slots_even_at_an_idle_core() -> None:
    # Three events at time 0 are all sent before the first arrives. Depth 2: the third finds both slots reserved.
    burst = pulses([0, 0, 0])
    dropping = timed(RELAY, timing(100, depth=2, drop=True), burst)
    assert (left_ns(dropping), dropping.timing.load["layer0"].dropped) == ([100, 200], 1)
    # Stalling, it goes on as soon as the first is taken into service, at time 0: two then wait.
    stalling = timed(RELAY, timing(100, depth=2), burst)
    assert left_ns(stalling) == [100, 200, 300]
    assert stalling.timing.input_load == CoreLoad(stalls=1, stalled_ns=0)
    assert stalling.timing.load["layer0"].fifo_peak == 2
    # Without a bound as well: the first to arrive is taken at once, and two wait.
    free = timed(RELAY, timing(100), burst)
    assert (left_ns(free), free.timing.load["layer0"].fifo_peak) == ([100, 200, 300], 2)


def test_the_busiest_millisecond_counts_what_is_started_in_it() -> None:
    # Two updates an event; 999 us and 1000 us lie in different milliseconds, and so does an event that waits.
    program = chain_of(one_core(np.full((1, 1, 1, 2), 1, np.int8), (1, 1, 1)))
    peak = timed(program, timing(10), pulses([999, 1000, 1999, 2000])).timing.load["layer0"].peak_synops
    assert peak == 4
    peak = timed(program, timing(2000), pulses([997, 998, 998])).timing.load["layer0"].peak_synops
    assert peak == 4  # started at 997, 999 and 1001 us


# ---- clock


def test_waiting_clock_edges_come_before_waiting_events() -> None:
    # Service 2000 whatever is served. At 0 the edge is first, the two events of 0 wait; the edge of 1000 comes when
    # they have long been there, and is served at 2000 before them.
    program = neuron(10, threshold=10, clock_us=1, bias=np.array([10]))
    trace = timed(program, timing(2000), pulses([0, 0], stop_us=2), 0, 2, 4)
    assert left_ns(trace) == [2000, 4000, 6000, 8000]
    assert latency_ns(trace) == [2000, 3000, 6000, 8000]  # edges descend from 0 and 1000
    load = trace.timing.load["layer0"]
    assert (load.busy_ns, load.wait_ns, load.fifo_peak, load.peak_synops) == (8000, 4000 + 6000, 2, 4)
    assert (trace.counters["layer0"].clocked, trace.counters["layer0"].synops) == (2, 2)


def test_clock_edges_need_no_slot_and_cost_their_neurons() -> None:
    # 3 neurons of 100 each and 50 for the edge: 350. One slot; edges at 0 and 1000 go ahead of all.
    weight = np.zeros((1, 1, 1, 3), np.int8)
    program = graph(core(0, weight, bias=np.array([1, 1, 1])), inputs=(Target(0),), outputs=(0,), clock_us=1)
    trace = timed(program, timing(50, 100, depth=1, drop=True), pulses([], stop_us=2))
    assert (trace.timing.load["L0"].busy_ns, trace.timing.end_ns) == (700, 1350)
    assert trace.timing.load["L0"].peak_synops == 6


# ---- windows, states, runs in a row


def test_windows_go_by_the_end_of_service_and_the_last_takes_the_rest() -> None:
    # Service 1500, threshold 10, weight 4: potentials 4, 8, then 12 fires and leaves 2. Events at 0, 1, 2 us are
    # through at 1500, 3000 and 4500: in windows of 1 us up to 3: none, one at 1500, then two, one of them late.
    trace = timed(neuron(4), timing(1500), pulses([0, 1, 2]), 0, 1, 2, 3)
    assert trace.potentials["layer0"].reshape(-1).tolist() == [0, 4, 2]
    assert trace.counts["layer0"].reshape(-1).tolist() == [0, 0, 1]
    assert trace.spikes["layer0"].t_us.tolist() == [4]
    # 3000 is not before an edge at 3 us.
    trace = timed(neuron(4), timing(1500), pulses([0, 1, 2]), 0, 3, 9)
    assert trace.potentials["layer0"].reshape(-1).tolist() == [4, 2]


def test_leaks_go_by_the_end_of_service() -> None:
    # 100 comes in at 1000 us (its service's end), tau = 1000 us: 37 at 2000 us. Counted from 0, 14 would be left.
    program = neuron(100, tau_us=1000.0, thresholds=[[[DEAD]]])
    trace = timed(program, timing(1_000_000), pulses([0]), 0, 500, 2000)
    assert trace.potentials["layer0"].reshape(-1).tolist() == [0, 37]
    # The last potential is that of the end, where the end comes after the last edge: 100 at 1000 us.
    trace = timed(program, timing(1_000_000), pulses([0]), 0, 500)
    assert trace.potentials["layer0"].reshape(-1).tolist() == [100]


def test_runs_in_a_row_keep_the_state_and_start_idle() -> None:
    device = TimedOracle(timing(5000))
    device.load(neuron(6, threshold=10))
    assert len(device.run(pulses([0])).outputs["layer0"]) == 0
    later = Events.from_columns([6], [0], [0], [0], SensorShape(1, 1, 1), start_us=6)
    assert device.run(later).timing.output_ns["layer0"].tolist() == [11000]
    device.reset()
    assert len(device.run(later).outputs["layer0"]) == 0
    batch = device.run_batch([pulses([0, 1]), pulses([])])
    assert (batch.output_counts.tolist(), batch.output_potentials.tolist()) == ([[1], [0]], [[2], [0]])


def test_the_end_of_a_batch_is_that_of_its_work() -> None:
    # 100 comes in at 1000 us, the end of its service, long after the stream's: 100. With a window to 2000 us: 37.
    device = TimedOracle(timing(1_000_000))
    device.load(neuron(100, tau_us=1000.0, thresholds=[[[DEAD]]]))
    assert device.run_batch([pulses([0])]).output_potentials.item() == 100
    monitor = Monitor(window_edges_us=(0, 2000))
    assert device.run_batch([pulses([0])], monitor=monitor).output_potentials.item() == 37


def test_a_run_ends_with_its_last_work() -> None:
    # The second event falls into no pooling window on its way to the core: it is no work.
    program = graph(relay(0), inputs=(Target(0, pool=1),), outputs=(0,), input_shape=SensorShape(1, 3, 3))
    trace = timed(program, timing(5000), Events.from_columns([0, 90], [0, 0], [1, 2], [1, 0], SensorShape(1, 3, 3)))
    assert (trace.timing.end_ns, trace.counters["L0"].events_in) == (5000, 1)
    for stop in (3, 9):  # without any work, it ends where it starts
        trace = timed(RELAY, timing(5000), Events.empty(SensorShape(1, 1, 1), start_us=3, stop_us=stop), 3, 9)
        assert (trace.timing.end_ns, trace.outputs["layer0"].stop_us, trace.span_us) == (3000, stop, stop - 3)


def test_nothing_runs_before_load_or_after_close() -> None:
    with TimedOracle(timing()) as device:
        assert device.info.name == "timed-oracle"
        with pytest.raises(DeviceError, match="load"):
            device.run(pulses([0]))
        device.load(RELAY)
        device.run(pulses([0]))
    with pytest.raises(DeviceError, match="load"):
        device.reset()
