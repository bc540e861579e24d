"""What every spiking chip device does, whatever it is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from chiploop.chip.device import COUNTER_NAMES, DEVICES, Counters, Device, Monitor, Trace
from chiploop.chip.program import Program, Target
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from served import opened
from strategies_chip import (
    affordable,
    chain_of,
    head,
    neuron,
    one_core,
    pulses,
    random_events,
    random_monitor,
    random_program,
    require_same_trace,
    seeds,
)

EVENT_DRIVEN = ["oracle", "pool", "ray", "remote", "virtual"]
EVERY = [*EVENT_DRIVEN, "accelerator", "timed", "timed-oracle"]
N_SYNOPS = 2_000
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=EVENT_DRIVEN)
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    if request.param == "ray":
        request.getfixturevalue("ray")
    with opened(request.param) as device:
        yield device


@pytest.fixture(params=EVERY)
def any_device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Yield a device of any kind: also those on which time passes, and the one that has no events inside."""
    if request.param == "ray":
        request.getfixturevalue("ray")
    with opened(request.param) as device:
        yield device


def example(seed: int) -> tuple[Program, Events, np.random.Generator]:
    rng = stream(seed, "contract")
    program = random_program(rng)
    return program, affordable(program, random_events(rng, program.input_shape), N_SYNOPS), rng


def all_layers(program: Program, *edges: int) -> Monitor:
    layers = tuple(core.layer for core in program.cores)
    return Monitor(counts=layers, potentials=layers, spikes=layers, window_edges_us=edges)


@pytest.mark.usefixtures("ray")
def test_event_driven_devices_are_registered() -> None:
    assert set(DEVICES.names()) == {*EVERY, "speck"}  # a board has a file of its own
    for name in EVERY:
        with opened(name) as device:
            assert isinstance(device, Device)


def test_info_says_what_it_is(device: Device) -> None:
    assert device.info.name in {*EVENT_DRIVEN, "pool of 2 x virtual", "pool of 2 x ray:virtual"}
    assert (device.info.kind, device.info.deterministic) == ("simulated", True)
    assert device.info.observes == {"counts", "potentials", "spikes"}


@few
@given(seed=seeds)
def test_two_chunks_equal_the_whole(device: Device, seed: int) -> None:
    program, events, rng = example(seed)
    # The cut goes before the first event of some time: a window edge cannot part a tie.
    middle = int(rng.integers(events.start_us + 1, events.stop_us + 1))
    at = int(np.searchsorted(events.t_us, middle))
    stop = max(events.stop_us, middle + 1)
    device.load(program)
    whole = device.run(events, monitor=all_layers(program, events.start_us, middle, stop))
    device.reset()
    first = device.run(head(events, at), monitor=all_layers(program, events.start_us, middle))
    second = device.run(tail(events, at), monitor=all_layers(program, middle, stop))
    require_same_trace(joined(first, second, whole), whole)


def tail(events: Events, n: int) -> Events:
    columns = (column[n:] for column in (events.t_us, events.channel, events.y, events.x))
    return Events(*columns, events.shape, events.start_us, events.stop_us)


def joined(first: Trace, second: Trace, like: Trace) -> Trace:
    """Join two traces as if they were one run; span and bounds are those of `like`."""

    def both(a: Events, b: Events) -> Events:
        columns = (np.concatenate([getattr(a, n), getattr(b, n)]) for n in ("t_us", "channel", "y", "x"))
        return Events(*columns, a.shape, a.start_us, a.stop_us)

    return dataclasses.replace(
        like,
        outputs={k: both(first.outputs[k], second.outputs[k]) for k in first.outputs},
        spikes={k: both(first.spikes[k], second.spikes[k]) for k in first.spikes},
        counts={k: np.concatenate([first.counts[k], second.counts[k]]) for k in first.counts},
        potentials={k: np.concatenate([first.potentials[k], second.potentials[k]]) for k in first.potentials},
        counters={k: first.counters[k] + second.counters[k] for k in first.counters},
        lost=first.lost + second.lost,
    )


@few
@given(seed=seeds)
def test_reset_and_load_bring_back_the_fresh_state(device: Device, seed: int) -> None:
    program, events, rng = example(seed)
    monitor = random_monitor(rng, program, events)
    device.load(program)
    fresh = device.run(events, monitor=monitor)
    device.reset()
    device.reset()
    require_same_trace(device.run(events, monitor=monitor), fresh)
    device.load(program)
    require_same_trace(device.run(events, monitor=monitor), fresh)


@few
@given(seed=seeds)
def test_a_batch_is_its_streams_from_reset_and_leaves_the_run_alone(device: Device, seed: int) -> None:
    program, events, rng = example(seed)
    others = [affordable(program, random_events(rng, program.input_shape), N_SYNOPS) for _ in range(3)]
    last = program.cores[-1]
    layers = tuple(core.layer for core in program.cores)
    edges = (0, 7, max(e.stop_us for e in [events, *others]) + 8)
    device.load(program)
    alone = []
    for one in others:
        device.reset()
        alone.append(device.run(one, monitor=Monitor(counts=layers, potentials=layers, window_edges_us=edges)))
    device.reset()
    whole = device.run(events)
    device.reset()
    device.run(head(events, len(events) // 2))
    batch = device.run_batch(others, monitor=Monitor(counts=layers, potentials=layers, window_edges_us=edges))
    rest = device.run(tail(events, len(events) // 2))

    for b, trace in enumerate(alone):
        for layer in layers:
            np.testing.assert_array_equal(batch.counts[layer][:, b], trace.counts[layer])
            np.testing.assert_array_equal(batch.potentials[layer][:, b], trace.potentials[layer])
            assert Counters(**dict(zip(COUNTER_NAMES, batch.counters[layer][b], strict=True))) == trace.counters[layer]
        np.testing.assert_array_equal(batch.output_potentials[b], trace.potentials[last.layer][-1].reshape(-1))
        assert batch.output_counts[b].sum() == trace.counters[last.layer].spikes
        if not trace.lost:
            np.testing.assert_array_equal(batch.output_counts[b], trace.counts[last.layer].sum(axis=0).reshape(-1))
        assert batch.lost[b] == trace.lost
    # The run went on as if no batch had come between.
    assert rest.outputs[last.layer] == tail(
        whole.outputs[last.layer], len(whole.outputs[last.layer]) - len(rest.outputs[last.layer])
    )


@few
@given(seed=seeds)
def test_counters_agree_with_what_is_seen(device: Device, seed: int) -> None:
    program, events, _ = example(seed)
    device.load(program)
    trace = device.run(events, monitor=all_layers(program, events.start_us, events.stop_us + 1))
    heard = len(events)
    for core in program.cores:
        counters = trace.counters[core.layer]
        spikes = trace.spikes[core.layer]
        assert (counters.events_in, counters.spikes) == (heard, len(spikes))
        assert counters.synops <= counters.events_in * core.weight[0].size
        _, height, width = core.out_shape
        heard = int(np.count_nonzero((spikes.y >> core.pool < height) & (spikes.x >> core.pool < width)))
        assert set(np.unique(spikes.t_us)) <= set(np.unique(events.t_us))
    assert len(trace.outputs[program.output_layer]) == heard
    counted = sum(int(maps.sum(dtype=np.int64)) for maps in trace.counts.values())
    assert counted + trace.lost == sum(counters.spikes for counters in trace.counters.values())


@few
@given(seed=seeds)
def test_scaling_weight_threshold_and_floor_leaves_spikes_alone(device: Device, seed: int) -> None:
    rng = stream(seed, "scaling")
    weight = rng.integers(-40, 41, (2, 3, 3, 4)).astype(np.int8)
    events = random_events(rng, SensorShape(2, 5, 5))
    traces = []
    for k in (1, 3):
        core = one_core((k * weight).astype(np.int8), (2, 5, 5), threshold=50 * k, floor=-60 * k, padding=1)
        device.load(chain_of(core))
        traces.append(device.run(events, monitor=all_layers(chain_of(core), events.start_us, events.stop_us)))
    assert traces[0].spikes == traces[1].spikes
    np.testing.assert_array_equal(3 * traces[0].potentials["layer0"], traces[1].potentials["layer0"])


def test_an_empty_batch_and_an_empty_stream(device: Device) -> None:
    device.load(neuron(9))
    assert device.run_batch([]).output_counts.shape == (0, 1)
    none = Events.empty(SensorShape(1, 1, 1), stop_us=5)
    trace = device.run(none, monitor=Monitor(counts=("layer0",), potentials=("layer0",), window_edges_us=(0, 2, 5)))
    assert trace.counts["layer0"].shape == trace.potentials["layer0"].shape == (2, 1, 1, 1)
    assert len(trace.outputs["layer0"]) == 0
    assert trace.counters["layer0"] == Counters()
    assert trace.span_us == 5


def test_windows_past_the_last_event_hold_its_state(device: Device) -> None:
    device.load(neuron(4))
    trace = device.run(pulses([1, 2]), monitor=Monitor(potentials=("layer0",), window_edges_us=(0, 1, 2, 9, 99)))
    assert trace.potentials["layer0"].reshape(-1).tolist() == [0, 4, 8, 8]


def test_nothing_runs_before_load_or_after_close(any_device: Device) -> None:
    device = any_device
    for action in (lambda: device.run(pulses([1])), lambda: device.run_batch([pulses([1])]), device.reset):
        with pytest.raises(DeviceError, match="load"):
            action()
    device.load(neuron(1))
    device.run(pulses([1]))
    device.close()
    with pytest.raises(DeviceError, match="load"):
        device.run(pulses([1]))


def test_a_stream_of_another_shape_is_refused_with_both_shapes(any_device: Device) -> None:
    device = any_device
    device.load(neuron(1))
    other = Events.empty(SensorShape(2, 3, 4))
    for action in (lambda: device.run(other), lambda: device.run_batch([pulses([1]), other])):
        with pytest.raises(DeviceError, match=r"\(2, 3, 4\).*\(1, 1, 1\)"):
            action()


@pytest.mark.parametrize("edges", [(1, 5), (0, 3)])
def test_windows_that_miss_events_are_refused(device: Device, edges: tuple[int, int]) -> None:
    device.load(neuron(1))
    monitor = Monitor(counts=("layer0",), window_edges_us=edges)
    for action in (
        lambda: device.run(pulses([0, 3]), monitor=monitor),
        lambda: device.run_batch([pulses([0, 3])], monitor=monitor),
    ):
        with pytest.raises(DeviceError, match="last"):
            action()


def test_a_layer_the_program_lacks_is_refused(device: Device) -> None:
    device.load(neuron(1))
    with pytest.raises(DeviceError, match="layer0"):
        device.run(pulses([0]), monitor=Monitor(spikes=("layer1",)))


def test_a_batch_reports_no_spike_events(device: Device) -> None:
    device.load(neuron(1))
    with pytest.raises(DeviceError, match="run"):
        device.run_batch([pulses([0])], monitor=Monitor(spikes=("layer0",)))


def test_a_refused_run_leaves_the_state_alone(device: Device) -> None:
    device.load(neuron(6))
    device.run(pulses([0]))
    with pytest.raises(DeviceError):
        device.run(pulses([1, 2]), monitor=Monitor(counts=("layer0",), window_edges_us=(5, 6)))
    assert len(device.run(pulses([3])).outputs["layer0"]) == 1  # 6 + 6 reaches 10


@few
@given(seed=seeds)
def test_a_batch_answers_as_its_streams_do_whatever_their_order(any_device: Device, seed: int) -> None:
    rng = stream(seed, "order of a batch")
    weight = rng.integers(-40, 60, (2, 3, 3, 4)).astype(np.int8)
    any_device.load(chain_of(one_core(weight, (2, 5, 5), threshold=50, floor=-60, padding=1)))
    batch = [random_events(rng, SensorShape(2, 5, 5)) for _ in range(3)]
    whole = any_device.run_batch(batch)
    turned = any_device.run_batch(batch[::-1])
    np.testing.assert_array_equal(whole.output_counts, turned.output_counts[::-1])
    for b, one in enumerate(batch):
        np.testing.assert_array_equal(any_device.run_batch([one]).output_counts[0], whole.output_counts[b])
    for layer, table in whole.counters.items():
        np.testing.assert_array_equal(table, turned.counters[layer][::-1])


def test_a_branch_gives_each_output_its_own(device: Device) -> None:
    ones = np.full((1, 1, 1, 1), 5, np.int8)
    first = one_core(ones, (1, 1, 1), threshold=5, targets=(Target(1), Target(2)))
    second, third = (
        one_core(ones, (1, 1, 1), core=n, layer=f"layer{n}", threshold=threshold) for n, threshold in ((1, 5), (2, 10))
    )
    fork = Program(
        profile_hash="",
        quant_hash="",
        cores=(first, second, third),
        input_shape=SensorShape(1, 1, 1),
        inputs=(Target(0),),
        outputs=(1, 2),
    )
    device.load(fork)
    trace = device.run(pulses([1, 2, 3, 4]))
    assert trace.outputs["layer1"].t_us.tolist() == [1, 2, 3, 4]
    assert trace.outputs["layer2"].t_us.tolist() == [2, 4]
