"""The compiled core equals the oracle, bit for bit, on random programs and streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop import _core
from chiploop.chip.device import Counters, Monitor
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.program import Program, Target
from chiploop.chip.virtual import VirtualDevice
from chiploop.events.codecs.nmnist import read_nmnist
from chiploop.events.types import SensorShape
from chiploop.rng import stream
from strategies_chip import (
    affordable,
    chain_of,
    head,
    one_core,
    random_events,
    random_monitor,
    random_program,
    require_same_batch,
    require_same_trace,
)

N_DEFAULT, N_SLOW = 300, 10_000
N_SYNOPS = 6_000
"""Updates that one random stream may cost: the oracle makes about a million a second."""
ISAS = _core.available_isas()


def check(seed: int) -> Counters:
    """Run one random program on all devices, a stream in two chunks; returns the oracle's counters, summed."""
    rng = stream(seed, "parity")
    program = random_program(rng)
    first = affordable(program, random_events(rng, program.input_shape), N_SYNOPS)
    second = affordable(program, random_events(rng, program.input_shape, start_us=first.stop_us), N_SYNOPS)
    monitors = [random_monitor(rng, program, events) for events in (first, second)]
    oracle = OracleDevice()
    oracle.load(program)
    expected = [oracle.run(events, monitor=m) for events, m in zip((first, second), monitors, strict=True)]
    for isa in ISAS:
        device = VirtualDevice(threads=1, isa=isa)
        device.load(program)
        for events, monitor, want in zip((first, second), monitors, expected, strict=True):
            require_same_trace(device.run(events, monitor=monitor), want)
    total = Counters()
    for trace in expected:
        for counters in trace.counters.values():
            total += counters
    return total


def check_range(seeds: range) -> None:
    """Check every seed; then make sure that the seeds reached all that the contract can do."""
    total = Counters()
    for seed in seeds:
        try:
            total += check(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert min(total.spikes, total.floored, total.saturated_high, total.saturated_low) > 0


def test_core_equals_oracle() -> None:
    check_range(range(N_DEFAULT))


@pytest.mark.slow
def test_core_equals_oracle_on_many() -> None:
    check_range(range(N_DEFAULT, N_DEFAULT + N_SLOW))


@pytest.mark.parametrize("seed", range(20))
def test_batches_equal_the_oracle_whatever_the_threads(seed: int) -> None:
    rng = stream(seed, "batch parity")
    program = random_program(rng)
    batch = [
        affordable(program, random_events(rng, program.input_shape), N_SYNOPS) for _ in range(int(rng.integers(0, 6)))
    ]
    longest = max(batch, key=lambda events: events.stop_us, default=None)
    layers = tuple(core.layer for core in program.cores)
    stop = longest.stop_us if longest else 1
    edges = (0, *sorted({stop // 3, stop // 2, stop + 3} - {0}))
    monitor = Monitor(counts=layers, potentials=layers, window_edges_us=edges)
    oracle = OracleDevice()
    oracle.load(program)
    want = oracle.run_batch(batch, monitor=monitor)
    for isa in ISAS:
        for threads in (1, 2, 3):
            device = VirtualDevice(threads=threads, isa=isa)
            device.load(program)
            require_same_batch(device.run_batch(batch, monitor=monitor), want)
            require_same_batch(device.run_batch(batch, monitor=monitor), want)


LAYERS = (
    (16, 3, 1, 1, 300),
    (16, 3, 1, 1, 250),
    (32, 3, 1, 1, 400),
    (32, 3, 1, 1, 400),
    (64, 3, 1, 0, 500),
    (10, 2, 0, 0, 90),
)
"""Features, kernel, padding, pool shift, threshold of 2x34x34-16c3p1-P2-16c3p1-P2-32c3p1-P2-32c3p1-P2-64c3p1-10."""


def reference_network(rng: np.random.Generator) -> Program:
    """Return six layers with random weights, on which 300 events of a recording raise some thousand spikes."""
    shape, cores = SensorShape(2, 34, 34), []
    for number, (features, kernel, padding, pool, threshold) in enumerate(LAYERS):
        weight = np.clip(rng.normal(4, 40, (shape.channels, kernel, kernel, features)), -127, 127).astype(np.int8)
        fields = {"threshold": threshold, "floor": -threshold, "padding": padding, "pool": pool}
        targets = (Target(number + 1),) if number + 1 < len(LAYERS) else ()
        core = one_core(weight, shape, core=number, layer=f"layer{number}", targets=targets, **fields)
        cores.append(core)
        shape = core.out_shape
    return chain_of(*cores)


def test_real_events_through_the_whole_network(data_root: Path) -> None:
    recording = read_nmnist(sorted((data_root / "N-MNIST" / "Train").glob("*/*.bin"))[0])
    events = head(recording, 300)
    program = reference_network(stream(0, "network"))
    layers = tuple(core.layer for core in program.cores)
    last = int(events.t_us[-1])
    edges = (0, last // 3, last // 2, last + 1)
    monitor = Monitor(counts=layers, potentials=layers, spikes=layers, window_edges_us=edges)
    traces = []
    for device in (OracleDevice(), VirtualDevice()):
        device.load(program)
        traces.append(device.run(events, monitor=monitor))
    require_same_trace(*traces)
    assert all(counters.spikes > 0 for counters in traces[0].counters.values())
