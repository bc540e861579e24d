"""The timed device against numbers worked by hand and the device in instant time, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chiploop.chip.device import Monitor, Trace
from chiploop.chip.dvs import DvsLayer
from chiploop.chip.profile import read_profile
from chiploop.chip.program import Program, Target
from chiploop.chip.timed import TimedDevice
from chiploop.chip.timing import CoreLoad, Timing
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from strategies_chip import (
    affordable,
    chain_of,
    neuron,
    one_core,
    pulses,
    random_events,
    random_program,
    require_same_batch,
    require_same_trace,
)
from strategies_graph import random_graph

SPECK = read_profile("speck2f")
PLAIN = Timing(event_ns=287, synop_ns=33, hop_ns=60)
RELAY = {"threshold": 1, "floor": 0}  # with weight 1, every event gives a spike


def opened(program: Program, timing: Timing = PLAIN, **options: int) -> TimedDevice:
    device = TimedDevice(timing, **options)
    device.load(program)
    return device


def relays(n: int) -> Program:
    """Return a chain of single neurons that pass every event on."""
    cores = (
        one_core(
            np.ones((1, 1, 1, 1), np.int8),
            (1, 1, 1),
            core=i,
            layer=f"layer{i}",
            targets=(Target(i + 1),) if i + 1 < n else (),
            **RELAY,
        )
        for i in range(n)
    )
    return chain_of(*cores)


def load_of(trace: Trace, layer: str = "layer0") -> CoreLoad:
    assert trace.timing is not None
    return trace.timing.load[layer]


def test_one_event_through_nine_cores_takes_the_published_time() -> None:
    for timing in (Timing.of(SPECK), Timing(event_ns=7, synop_ns=5, hop_ns=3)):
        trace = opened(relays(9), timing).run(pulses([4]))
        assert trace.timing is not None
        expected = 9 * (timing.event_ns + timing.synop_ns) + 8 * timing.hop_ns
        assert trace.timing.latency_ns["layer8"].tolist() == [expected]
        assert trace.timing.output_ns["layer8"].tolist() == [4000 + expected]
        assert trace.timing.end_ns == 4000 + expected
    assert SPECK.event_latency_ns == 9 * Timing.of(SPECK).service_ns(1) + 8 * Timing.of(SPECK).hop_ns == 3360


def random_timing(rng: np.random.Generator) -> Timing:
    """Return constants of a chip that drops nothing."""
    event_ns, synop_ns, hop_ns = (int(rng.choice([0, 1, 60, 700])) for _ in range(3))
    depth = [None, 1, 2, 16][int(rng.integers(4))]
    return Timing(event_ns=event_ns, synop_ns=synop_ns, hop_ns=hop_ns, fifo_depth=depth)


@pytest.mark.parametrize("seed", range(60))
def test_chains_that_drop_nothing_spike_as_in_instant_time(seed: int) -> None:
    rng = stream(seed, "timed law")
    program = random_program(rng)
    events = affordable(program, random_events(rng, program.input_shape), 5_000)
    layers = tuple(core.layer for core in program.cores)
    stop = events.stop_us + 1
    monitor = Monitor(spikes=layers, counts=layers, potentials=layers, window_edges_us=(events.start_us, stop))
    instant = VirtualDevice(threads=1)
    instant.load(program)
    expected = instant.run(events, monitor=monitor)
    timing = random_timing(rng)
    trace = opened(program, timing).run(events, monitor=monitor)
    for layer in layers:
        for name in ("channel", "y", "x"):
            np.testing.assert_array_equal(
                getattr(trace.spikes[layer], name), getattr(expected.spikes[layer], name), err_msg=layer
            )
        np.testing.assert_array_equal(trace.counts[layer], expected.counts[layer])
        np.testing.assert_array_equal(trace.potentials[layer], expected.potentials[layer])
        assert dataclasses.replace(trace.counters[layer], fifo_peak=0) == expected.counters[layer]
    assert trace.lost == expected.lost
    _require_consistent(program, trace, timing)


@pytest.mark.parametrize("seed", range(40))
def test_times_are_consistent_on_graphs_that_stall_and_drop(seed: int) -> None:
    rng = stream(seed, "timed graph")
    program = random_graph(rng)
    instant = VirtualDevice(threads=1)
    events = affordable(program, random_events(rng, program.input_shape), 2_500, device=instant)
    timing = Timing(event_ns=40, synop_ns=3, hop_ns=11, fifo_depth=int(rng.choice([1, 4])), overflow="drop")
    for given in (timing, dataclasses.replace(timing, overflow="stall")):
        trace = opened(program, given).run(events, monitor=Monitor(spikes=tuple(c.layer for c in program.cores)))
        _require_consistent(program, trace, given)


def _require_consistent(program: Program, trace: Trace, timing: Timing) -> None:
    """Check what must hold between the numbers of any trace."""
    timed = trace.timing
    assert timed is not None
    for core in program.cores:
        load, counters = timed.load[core.layer], trace.counters[core.layer]
        neurons = core.neuron_shape.channels * core.neuron_shape.height * core.neuron_shape.width
        services = counters.events_in + counters.clocked // neurons
        assert load.busy_ns == services * timing.event_ns + (counters.synops + counters.clocked) * timing.synop_ns
        assert load.busy_ns + load.stalled_ns <= timed.end_ns
        assert load.stalls > 0 or load.stalled_ns == 0
        assert load.stalls == 0 or timing.overflow == "stall"
        assert load.dropped == 0 or timing.overflow == "drop"
        if timing.fifo_depth is not None:
            assert load.fifo_peak <= timing.fifo_depth
        if core.core in program.outputs:
            left, latency = timed.output_ns[core.layer], timed.latency_ns[core.layer]
            assert len(left) == len(trace.outputs[core.layer])
            np.testing.assert_array_equal(trace.outputs[core.layer].t_us, left // 1000)
            assert np.all(np.diff(left) >= 0)
            assert np.all(latency >= timing.event_ns)
            assert np.all((left - latency) % 1000 == 0)  # sensors and the clock keep whole us
            assert left.max(initial=0) <= timed.end_ns


def test_a_stalled_chip_keeps_up_with_its_slowest_core() -> None:
    # Ten neurons behind two relays; all queues full: one event leaves every 287 + 10 * 33 = 617 ns.
    weight = np.ones((1, 1, 1, 10), np.int8)
    slow = one_core(weight, (1, 1, 1), core=2, layer="layer2", threshold=1)
    first, second = (dataclasses.replace(core, targets=(Target(core.core + 1),)) for core in relays(2).cores)
    program = chain_of(first, second, slow)
    trace = opened(program, dataclasses.replace(PLAIN, fifo_depth=2)).run(pulses([0] * 500))
    assert trace.timing is not None
    left = trace.timing.output_ns["layer2"]
    assert np.all(np.diff(left[::10])[5:] == 617)
    assert trace.counters["layer2"].events_in == 500
    assert trace.timing.input_load.stalls > 400
    # Each core starts one event as its successor frees a slot: it stalls for what is left of the 617 after its 320.
    assert load_of(trace, "layer1").stalled_ns == pytest.approx(500 * (617 - 320), rel=0.02)


def test_the_clock_takes_time_and_its_spikes_descend_from_its_ticks() -> None:
    # Bias 5 reaches threshold 10 at every second tick; a tick of three neurons takes 287 + 3 * 33 = 386 ns.
    core = one_core(np.zeros((1, 1, 1, 3), np.int8), (1, 1, 1), threshold=10, bias=np.full(3, 5, np.int16))
    program = chain_of(core, clock_us=2)
    trace = opened(program).run(Events.empty(SensorShape(1, 1, 1), stop_us=8))
    assert trace.timing is not None
    assert trace.timing.output_ns["layer0"].tolist() == [2386] * 3 + [6386] * 3
    assert trace.timing.latency_ns["layer0"].tolist() == [386] * 6
    assert trace.counters["layer0"].clocked == 12
    assert load_of(trace).peak_synops == 12  # updates by the clock are work too


def test_the_last_window_takes_what_completes_after_it() -> None:
    # Service 1.5 us: completions at 1.5, 3.0, 4.5 us, the recording and its windows end at 2 us.
    timing = Timing(event_ns=1500, synop_ns=0, hop_ns=0)
    monitor = Monitor(counts=("layer0",), potentials=("layer0",), window_edges_us=(0, 1, 2))
    trace = opened(neuron(6, threshold=10), timing).run(pulses([0, 0, 0], stop_us=2), monitor=monitor)
    assert trace.counts["layer0"].reshape(-1).tolist() == [0, 1]
    assert trace.potentials["layer0"].reshape(-1).tolist() == [0, 18 - 10]
    assert trace.outputs["layer0"].t_us.tolist() == [3]
    assert (trace.outputs["layer0"].stop_us, trace.span_us) == (5, 2)


def test_peak_synops_is_that_of_the_busiest_millisecond() -> None:
    events = pulses([100, 999, 1000, 1001, 1500, 2500])
    assert load_of(opened(relays(1)).run(events)).peak_synops == 3


def test_results_do_not_depend_on_threads_and_a_batch_is_its_streams_from_reset() -> None:
    rng = stream(0, "timed threads")
    first = rng.integers(-60, 90, (2, 3, 3, 5)).astype(np.int8)
    second = rng.integers(-60, 90, (5, 3, 3, 3)).astype(np.int8)
    program = chain_of(
        one_core(first, (2, 6, 6), threshold=100, padding=1, pool=1, targets=(Target(1),)),
        one_core(second, (5, 3, 3), core=1, layer="layer1", threshold=100),
    )
    layers = tuple(core.layer for core in program.cores)
    batch = [random_events(stream(seed, "timed stream"), program.input_shape, 80) for seed in range(7)]
    edges = (0, 9, max(events.stop_us for events in batch))
    monitor = Monitor(counts=layers, potentials=layers, window_edges_us=edges)
    timing = dataclasses.replace(PLAIN, fifo_depth=2, overflow="drop")
    one, three = (opened(program, timing, threads=threads) for threads in (1, 3))
    require_same_batch(one.run_batch(batch, monitor=monitor), three.run_batch(batch, monitor=monitor))
    traces = three.run_many(batch, monitor=monitor)
    together = three.run_batch(batch, monitor=monitor)
    for b, events in enumerate(batch):
        one.reset()
        alone = one.run(events, monitor=monitor)
        require_same_trace(traces[b], alone)
        assert traces[b].timing is not None
        assert alone.timing is not None
        assert traces[b].timing.load == alone.timing.load
        for layer, times in alone.timing.output_ns.items():
            np.testing.assert_array_equal(traces[b].timing.output_ns[layer], times)
            np.testing.assert_array_equal(traces[b].timing.latency_ns[layer], alone.timing.latency_ns[layer])
        for layer in layers:
            np.testing.assert_array_equal(together.counts[layer][:, b], alone.counts[layer])
            np.testing.assert_array_equal(together.potentials[layer][:, b], alone.potentials[layer])
        counts = alone.counts[program.output_layer].sum(axis=0, dtype=np.int64)
        np.testing.assert_array_equal(together.output_counts[b], counts.reshape(-1))
    assert sum(len(times) for trace in traces for times in trace.timing.output_ns.values()) > 0  # type: ignore[union-attr]
    assert three.run_batch([]).output_counts.shape[0] == 0
    assert three.run_many([]) == []


def test_states_are_kept_between_runs_and_left_alone_by_a_batch() -> None:
    device = opened(neuron(6, threshold=10))
    assert len(device.run(pulses([0])).outputs["layer0"]) == 0
    assert device.run_batch([pulses([0])]).output_counts.tolist() == [[0]]
    assert len(device.run(pulses([9])).outputs["layer0"]) == 1  # 6 + 6
    device.reset()
    assert len(device.run(pulses([20])).outputs["layer0"]) == 0


def test_the_sensor_layer_comes_first_and_keeps_its_state() -> None:
    shape = SensorShape(2, 4, 4)
    layer = DvsLayer(in_shape=shape, merge=True, pool=1, hot_pixels=((0, 0),))
    program = dataclasses.replace(
        chain_of(one_core(np.ones((1, 1, 1, 1), np.int8), (1, 2, 2), **RELAY)), input_shape=shape, dvs=layer
    )
    events = Events.from_columns([1, 2, 3], [0, 1, 1], [0, 3, 0], [0, 2, 1], shape)
    device = opened(program)
    for trace in (device.run(events), device.run_many([events])[0]):
        assert trace.metrics == {"dvs_dropped": 1.0}
        out = trace.outputs["layer0"]
        assert (out.y.tolist(), out.x.tolist()) == ([1, 0], [1, 0])


def test_a_run_that_would_fill_the_memory_is_given_up_and_leaves_a_fresh_chip() -> None:
    device = opened(relays(1), max_queued=5)
    assert len(device.run(pulses([0] * 5)).outputs["layer0"]) == 5
    for action in (device.run, lambda events: device.run_many([pulses([0]), events]), lambda e: device.run_batch([e])):
        with pytest.raises(DeviceError, match=r"more than 5 events wait at 2000 ns; .*fifo_depth"):
            action(pulses([2] * 6))

    device = opened(neuron(6, threshold=10), max_queued=5)
    device.run(pulses([0]))
    with pytest.raises(DeviceError):
        device.run(pulses([2] * 6))
    assert len(device.run(pulses([0])).outputs["layer0"]) == 0  # from zero
    # A bound on each queue makes room: what does not fit waits where it comes from.
    bounded = opened(relays(1), dataclasses.replace(PLAIN, fifo_depth=5), max_queued=5)
    assert len(bounded.run(pulses([0] * 600)).outputs["layer0"]) == 600


def test_times_that_ns_cannot_say_are_refused() -> None:
    device = opened(relays(1))
    with pytest.raises(DeviceError, match=r"2\^61 ns of 0; move"):
        device.run(pulses([1 << 60]))
    with pytest.raises(DeviceError, match=r"2\^40 ns"):
        opened(relays(1), Timing(event_ns=1 << 41, synop_ns=0, hop_ns=0))


def test_constants_come_from_one_place() -> None:
    assert TimedDevice().timing == TimedDevice(profile=SPECK).timing == Timing.of(SPECK)
    with pytest.raises(DeviceError, match="one of them"):
        TimedDevice(PLAIN, SPECK)
    with pytest.raises(DeviceError, match="threads = 0"):
        TimedDevice(PLAIN, threads=0)
    with pytest.raises(DeviceError, match="max_queued = 0"):
        TimedDevice(PLAIN, max_queued=0)


def test_nothing_runs_before_load_or_after_close() -> None:
    device = TimedDevice(PLAIN)
    for _ in range(2):
        for action in (lambda: device.run(pulses([1])), lambda: device.run_many([]), device.reset):
            with pytest.raises(DeviceError, match="load"):
                action()
        device.load(relays(1))
        device.close()
