"""Random programs, streams and monitors for the chip's tests, and the comparison of what two devices say."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from chiploop.chip.device import BatchTrace, Device, Monitor, Trace
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.chip.virtual import VirtualDevice
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream

N_STORM = 400
"""Events of a storm: 32768 / 127 = 259 updates in one direction saturate a state."""


def one_core(weight: np.ndarray, in_shape: tuple[int, int, int], **fields: object) -> CoreConfig:
    """Return a core with the neuron map that its kernel, stride and padding make."""
    given = {"core": 0, "layer": "layer0", "threshold": 10, "floor": -32768, "reset": "subtract", "pool": 0}
    given |= {"spikes_per_update": "one", "stride": 1, "padding": 0, "targets": (), **fields}
    _, kh, kw, features = weight.shape
    stride, padding = given["stride"], given["padding"]
    size = [(n + 2 * padding - k) // stride + 1 for n, k in zip(in_shape[1:], (kh, kw), strict=True)]
    shape = SensorShape(features, *size)
    return CoreConfig(weight=weight, in_shape=SensorShape(*in_shape), neuron_shape=shape, **given)


def chain_of(*cores: CoreConfig, clock_us: int | None = None) -> Program:
    """Return the program whose cores hear one another in turn."""
    return Program(
        profile_hash="",
        quant_hash="",
        cores=cores,
        input_shape=cores[0].in_shape,
        inputs=(Target(cores[0].core),),
        outputs=(cores[-1].core,),
        clock_us=clock_us,
    )


def neuron(weight: int, *, clock_us: int | None = None, **fields: object) -> Program:
    """Return a program of a single neuron with a single synapse."""
    return chain_of(one_core(np.full((1, 1, 1, 1), weight, np.int8), (1, 1, 1), **fields), clock_us=clock_us)


def pulses(times: list[int], *, stop_us: int | None = None) -> Events:
    """Return events on the only address of a one-pixel sensor."""
    zeros = np.zeros(len(times), np.int64)
    return Events.from_columns(np.array(times, np.int64), zeros, zeros, zeros, SensorShape(1, 1, 1), stop_us=stop_us)


def random_program(rng: np.random.Generator) -> Program:
    """Return a chain of one to four small cores; every field takes its ordinary and its extreme values."""
    n_cores = int(rng.integers(1, 5))
    shape = SensorShape(*(int(n) for n in rng.integers(1, (4, 8, 8))))
    cores = []
    for number in range(n_cores):
        targets = (Target(number + 1),) if number + 1 < n_cores else ()
        core = _random_core(rng, number, shape, targets)
        cores.append(core)
        shape = core.out_shape
    return chain_of(*cores)


def _random_core(rng: np.random.Generator, number: int, shape: SensorShape, targets: tuple[Target, ...]) -> CoreConfig:
    kernel, geometry = random_map(rng, shape)
    # The vector kernels take blocks of 16 features, by ones, twos and fours.
    widths = [1, 2, 3, 4, 4, 20, 37] if targets else [1, 2, 3, 15, 16, 17, 33, int(rng.integers(1, 71))]
    features = int(rng.choice(widths))
    rule = str(rng.choice(["one", "one", "all"]))
    return one_core(
        random_weight(rng, (shape.channels, *kernel, features)),
        shape,
        core=number,
        layer=f"layer{number}",
        targets=targets,
        **geometry,
        **random_neuron(rng, rule),
    )


def random_map(rng: np.random.Generator, shape: SensorShape) -> tuple[list[int], dict[str, int]]:
    """Return a kernel and the stride, padding and pool of a core that hears such a map."""
    covering = rng.random() < 0.2  # a fully connected layer
    padding = 0 if covering else int(rng.integers(0, 4))
    kernel = [n if covering else int(rng.integers(1, min(n + 2 * padding, 4) + 1)) for n in shape[1:]]
    stride = int(rng.choice([1, 1, 1, 2, 3, 5]))
    size = min((n + 2 * padding - k) // stride + 1 for n, k in zip(shape[1:], kernel, strict=True))
    pool = int(rng.choice([p for p in (0, 0, 1, 2) if size >> p]))
    return kernel, {"stride": stride, "padding": padding, "pool": pool}


def random_neuron(rng: np.random.Generator, rule: str) -> dict[str, object]:
    # A low threshold under "all" answers one update with a hundred spikes, and four such cores with millions.
    thresholds = [40, 127, 300, 32640, 32641] if rule == "all" else [1, 2, 7, 40, 127, 128, 300, 32640, 32641, 32767]
    return {
        "threshold": int(rng.choice(thresholds)),
        "floor": int(rng.choice([-32768, -32767, -32641, -32640, -200, -13, -1, 0])),
        "reset": str(rng.choice(["subtract", "subtract", "zero"])),
        "spikes_per_update": rule,
    }


def random_weight(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    kind = rng.integers(5)
    if kind == 0:
        return rng.integers(-128, 128, shape).astype(np.int8)
    if kind == 1:
        return rng.choice(np.array([-128, -1, 0, 0, 1, 127], np.int8), shape)
    if kind == 2:  # drives states up, out of range where nothing takes the surplus away
        return rng.integers(90, 128, shape).astype(np.int8)
    if kind == 3:  # drives states down
        return rng.integers(-128, -90, shape).astype(np.int8)
    return np.clip(rng.normal(6, 25, shape), -128, 127).astype(np.int8)


def random_events(rng: np.random.Generator, shape: SensorShape, n_most: int = 24, *, start_us: int = 0) -> Events:
    """Return a short stream with ties, bursts on one address and pauses."""
    storm = rng.random() < 0.2  # one address over and over, often enough to leave int16 with the largest weights
    n = N_STORM if storm else int(rng.integers(0, n_most + 1))
    gaps = rng.choice([0, 0, 1, 2, 50], n)
    columns = [rng.integers(0, size, n) for size in shape]
    if storm or rng.random() < 0.3:
        columns = [np.full(n, rng.integers(0, size)) for size in shape]
    times = start_us + np.cumsum(gaps)
    last = int(times[-1]) if n else start_us
    stop_us = last + int(rng.integers(1, 20))
    return Events.from_columns(times, *columns, shape, start_us=start_us, stop_us=stop_us)


def affordable(program: Program, events: Events, n_updates: int, *, device: Device | None = None) -> Events:
    """Return the longest start of a stream (by doubling) that costs at most so many updates on a fresh chip.

    Under a clock, whose edges cost as well, a start of a stream ends with its last event.
    """
    device = device or VirtualDevice(threads=1)
    device.load(program)
    start = head if program.clock_us is None else opening
    best, n = 0, 1
    while True:
        device.reset()
        trace = device.run(start(events, n))
        if sum(counters.synops + counters.clocked for counters in trace.counters.values()) > n_updates:
            return start(events, best)
        if n >= len(events):
            return start(events, n)
        best, n = n, 2 * n


def head(events: Events, n: int) -> Events:
    """Return the first n events, with the bounds of all."""
    columns = (column[:n] for column in (events.t_us, events.channel, events.y, events.x))
    return Events(*columns, events.shape, events.start_us, events.stop_us)


def opening(events: Events, n: int) -> Events:
    """Return the first n events, with bounds that end with the last of them."""
    part = head(events, n)
    return dataclasses.replace(part, stop_us=int(part.t_us[-1]) + 1 if len(part) else events.start_us)


def random_monitor(rng: np.random.Generator, program: Program, events: Events, *, spikes: bool = True) -> Monitor:
    """Return a monitor on a random choice of layers, whose windows cover the run, clock and all, and may outlast it."""
    layers = [core.layer for core in program.cores]
    chosen = [tuple(layer for layer in layers if rng.random() < 0.7) for _ in range(3)]
    span = events.stop_us - events.start_us
    inner = rng.integers(events.start_us, events.stop_us + 1, int(rng.integers(0, 5))) if span else []
    beyond = events.stop_us + int(rng.integers(0, 30))
    edges = sorted({events.start_us, beyond, *(int(edge) for edge in inner)})
    if len(edges) < 2:
        edges = [events.start_us, events.start_us + 1]
    return Monitor(
        counts=chosen[0], potentials=chosen[1], spikes=chosen[2] if spikes else (), window_edges_us=tuple(edges)
    )


seeds = st.integers(0, 2**32 - 1)
programs = seeds.map(lambda seed: random_program(stream(seed, "program")))


def require_same_trace(one: Trace, other: Trace) -> None:
    """Assert that two traces are equal bit for bit."""
    assert one.counters == other.counters
    assert one.outputs == other.outputs
    assert one.spikes == other.spikes
    _require_same_maps(one.counts, other.counts)
    _require_same_maps(one.potentials, other.potentials)
    assert (one.lost, one.span_us) == (other.lost, other.span_us)


def require_same_batch(one: BatchTrace, other: BatchTrace) -> None:
    """Assert that two batch traces are equal bit for bit."""
    for name in ("counters", "counts", "potentials"):
        _require_same_maps(getattr(one, name), getattr(other, name))
    for name in ("output_counts", "output_potentials", "lost"):
        _require_same_maps({name: getattr(one, name)}, {name: getattr(other, name)})


def _require_same_maps(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype, name
        if not np.array_equal(one[name], other[name]):  # asserting costs more than running
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
