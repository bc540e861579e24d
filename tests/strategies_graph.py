"""Random programs beyond chains (branches, merges, clocks, leaks, sensor layers) and random constants of time."""

from __future__ import annotations

import dataclasses

import numpy as np

from chiploop.chip.dvs import DvsLayer, NoiseFilter
from chiploop.chip.program import DEAD, CoreConfig, Program, Target
from chiploop.chip.timing import Timing
from chiploop.events.types import SensorShape
from chiploop.rng import stream
from strategies_chip import one_core, random_map, random_neuron, random_weight, seeds

N_MOST_CORES = 4
TAUS_US = (0.4, 3.7, 50.0, 1000.0, 20_000.0, 1e6)
CLOCKS_US = (7, 20, 50, 333)
BIASES = (-32768, -127, -20, -1, 0, 1, 20, 127, 32767)


def random_graph(rng: np.random.Generator) -> Program:
    """Return one to four small cores that hear the input and one another; fields take ordinary and extreme values.

    Merges (with and without channel shifts, also of a source with itself), pools on the way, split inputs, several
    outputs, biases on a slow clock, leaks, a threshold for each neuron, wide states, a sensor layer.
    """
    raw = SensorShape(*(int(n) for n in rng.integers(1, (3, 9, 9))))
    dvs = random_dvs(rng, raw) if rng.random() < 0.3 else None
    clock_us = int(rng.choice(CLOCKS_US)) if rng.random() < 0.5 else None
    sent = [dvs.out_shape if dvs else raw]  # by the input, then by each core
    ways: list[list[Target]] = [[]]
    cores: list[CoreConfig] = []
    for number in rng.permutation(9)[: int(rng.integers(1, N_MOST_CORES + 1))]:
        sources, shape = _random_sources(rng, sent, int(number))
        for node, target in sources:
            ways[node].append(target)
        features = int(rng.choice([1, 2, 3, 4] if len(cores) < N_MOST_CORES - 1 else [1, 15, 16, 17, 33]))
        cores.append(_graph_core(rng, int(number), shape, features, clocked=clock_us is not None))
        sent.append(cores[-1].out_shape)
        ways.append([])
    cores = [dataclasses.replace(core, targets=tuple(way)) for core, way in zip(cores, ways[1:], strict=True)]
    outputs = [core.core for core in cores if not core.targets or rng.random() < 0.2]
    return Program(
        profile_hash="",
        quant_hash="",
        cores=tuple(cores),
        input_shape=raw,
        inputs=tuple(ways[0]),
        outputs=tuple(int(n) for n in rng.permutation(outputs)),
        clock_us=clock_us,
        dvs=dvs,
    )


def _random_sources(
    rng: np.random.Generator, sent: list[SensorShape], number: int
) -> tuple[list[tuple[int, Target]], SensorShape]:
    """Choose who is heard, and make the shape that joins them."""
    first = int(rng.integers(len(sent)))
    pool = int(rng.choice([p for p in (0, 0, 0, 1, 2) if min(sent[first][1:]) >> p]))
    size = (sent[first].height >> pool, sent[first].width >> pool)
    fitting = [(n, p) for n, s in enumerate(sent) for p in range(3) if (s.height >> p, s.width >> p) == size]
    chosen = [(first, pool), *(way for way in fitting if rng.random() < (0.1 if way == (first, pool) else 0.4))]
    how = rng.choice(["sum", "join", "any"])
    sources, channels = [], 0
    for node, p in chosen:
        shift = {"sum": 0, "join": channels, "any": int(rng.integers(0, 3))}[str(how)]
        sources.append((node, Target(number, pool=p, shift=shift)))
        channels = max(channels, shift + sent[node].channels)
    return sources, SensorShape(channels, *size)


def _graph_core(
    rng: np.random.Generator, number: int, shape: SensorShape, features: int, *, clocked: bool
) -> CoreConfig:
    kernel, geometry = random_map(rng, shape)
    if rng.random() < 0.6:  # a map like the one heard, so that merges are common
        kernel = [int(rng.choice([1, 3]))] * 2
        geometry = {"stride": 1, "padding": kernel[0] // 2, "pool": 0}
    fields = geometry | random_neuron(rng, str(rng.choice(["one", "one", "all"])))
    core = one_core(
        random_weight(rng, (shape.channels, *kernel, features)), shape, core=number, layer=f"layer{number}", **fields
    )
    return dataclasses.replace(core, **_random_extras(rng, core, clocked=clocked))  # type: ignore[arg-type]


def _random_extras(rng: np.random.Generator, core: CoreConfig, *, clocked: bool) -> dict[str, object]:
    more: dict[str, object] = {}
    # Under "all", a large bias on a low threshold answers every clock edge with a thousand spikes.
    many = core.spikes_per_update == "all"
    features = core.neuron_shape.channels
    if clocked and rng.random() < 0.6:
        ordinary = many or rng.random() < 0.7
        more["bias"] = rng.integers(-9, 10, features) if ordinary else rng.choice(BIASES, features)
    if rng.random() < 0.35:
        more["tau_us"] = float(rng.choice(TAUS_US))
    elif rng.random() < 0.3:
        more["state_bits"] = 32
    if rng.random() < 0.4:
        around = rng.integers(30, 200, core.neuron_shape)
        # Between a half and all of the range, large biases drive a neuron out of 16 bits although it fires.
        extreme = rng.choice([200 if many else 1, 17_000, 30_000, 32767, DEAD], core.neuron_shape)
        more["thresholds"] = np.where(rng.random(core.neuron_shape) < rng.choice([0.1, 0.7]), around, extreme)
    return more


def random_dvs(rng: np.random.Generator, shape: SensorShape) -> DvsLayer:
    """Return a sensor layer that does some of what one can do."""
    pool = int(rng.choice([p for p in (0, 0, 1, 2) if min(shape[1:]) >> p]))
    height, width = shape.height >> pool, shape.width >> pool
    (top, bottom), (left, right) = (sorted(rng.integers(0, n, 2).tolist()) for n in (height, width))
    hot = rng.integers(0, shape[1:], (int(rng.integers(0, 4)), 2)).tolist()
    return DvsLayer(
        in_shape=shape,
        hot_pixels=tuple((y, x) for y, x in hot),
        noise=NoiseFilter(window_us=int(rng.choice([1, 2, 60, 10_000]))) if rng.random() < 0.4 else None,
        merge=bool(rng.random() < 0.5),
        pool=pool,
        cut=(top, left, bottom, right) if rng.random() < 0.5 else None,
        mirror_x=bool(rng.random() < 0.5),
        mirror_y=bool(rng.random() < 0.5),
        mirror_diagonal=bool(rng.random() < 0.5),
    )


def random_timing(rng: np.random.Generator) -> Timing:
    """Return constants from nothing to longer than the pauses of a stream, and queues from one event to no bound."""
    depth = rng.choice([0, 1, 2, 3, 8, 64])
    return Timing(
        event_ns=int(rng.choice([0, 1, 100, 2500, 40_000])),
        synop_ns=int(rng.choice([0, 1, 10, 300])),
        hop_ns=int(rng.choice([0, 1, 50, 5000, 1_000_000])),
        fifo_depth=int(depth) or None,
        overflow="stall" if rng.random() < 0.5 else "drop",
    )


graphs = seeds.map(lambda seed: random_graph(stream(seed, "graph")))
