"""The compiled core equals the oracle, bit for bit, on random graphs: merges, clocks, leaks, sensor layers."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop import _core
from chiploop.chip.device import Counters, Monitor
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.program import DEAD, Program
from chiploop.chip.virtual import VirtualDevice
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from strategies_chip import (
    affordable,
    chain_of,
    head,
    one_core,
    random_events,
    random_monitor,
    require_same_batch,
    require_same_trace,
)
from strategies_graph import random_graph

N_DEFAULT, N_SLOW = 300, 10_000
N_UPDATES = 3_000
"""What one random stream may cost, edges of the clock and all: the oracle makes some hundred thousand a second."""
ISAS = _core.available_isas()


def affordable_events(rng: np.random.Generator, program: Program, *, start_us: int = 0) -> Events:
    events = random_events(rng, program.input_shape, start_us=start_us)
    return affordable(program, events, N_UPDATES, device=OracleDevice())


def check(seed: int) -> tuple[Counters, dict[str, float]]:
    """Run one random graph on both, a stream in two chunks; returns the oracle's counters, summed, and its metrics."""
    rng = stream(seed, "graph parity")
    program = random_graph(rng)
    first = affordable_events(rng, program)
    # Now and then time goes back from run to run: nothing forbids it.
    start_us = first.stop_us if rng.random() < 0.85 else int(rng.integers(0, first.stop_us + 1))
    second = affordable_events(rng, program, start_us=start_us)
    monitors = [random_monitor(rng, program, events) for events in (first, second)]
    oracle = OracleDevice()
    oracle.load(program)
    expected = [oracle.run(events, monitor=m) for events, m in zip((first, second), monitors, strict=True)]
    for isa in ISAS:
        device = VirtualDevice(threads=1, isa=isa)
        device.load(program)
        for events, monitor, want in zip((first, second), monitors, expected, strict=True):
            trace = device.run(events, monitor=monitor)
            require_same_trace(trace, want)
            assert trace.metrics == want.metrics
            assert trace.timing is None
    total = Counters()
    for trace in expected:
        for counters in trace.counters.values():
            total += counters
    return total, {name: sum(trace.metrics[name] for trace in expected) for name in expected[0].metrics}


def check_range(seeds: range) -> None:
    """Check every seed; then make sure that the seeds reached all that the contract can do."""
    total, dropped = Counters(), 0.0
    for seed in seeds:
        try:
            counters, metrics = check(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        total += counters
        dropped += metrics.get("dvs_dropped", 0.0)
    assert min(total.spikes, total.floored, total.saturated_high, total.saturated_low, total.clocked, dropped) > 0


def test_core_equals_oracle_on_graphs() -> None:
    check_range(range(N_DEFAULT))


@pytest.mark.slow
def test_core_equals_oracle_on_many_graphs() -> None:
    check_range(range(N_DEFAULT, N_DEFAULT + N_SLOW))


@pytest.mark.parametrize("tau_us", [300.0, 20_000.0])
def test_leaky_states_agree_to_the_last_bit(tau_us: float) -> None:
    # A report shows 16 of a state's 32 bits. An error of one in the last bit, once an update, moves one report in some
    # thousands: a hundred thousand of them are looked at.
    rng = stream(0, "leak", round(tau_us))
    shape, n, threshold = (1, 16, 16), 600, 32767
    weight = rng.integers(-128, 128, (1, 3, 3, 4)).astype(np.int8)
    program = chain_of(one_core(weight, shape, padding=1, threshold=threshold, tau_us=tau_us))
    times = np.cumsum(rng.integers(0, 20, n))
    columns = [rng.integers(0, size, n) for size in shape]
    events = Events.from_columns(times, *columns, SensorShape(*shape))
    edges = (0, *sorted(set(rng.integers(1, events.stop_us, 100).tolist())), events.stop_us)
    monitor = Monitor(potentials=("layer0",), window_edges_us=edges)
    oracle = OracleDevice()
    oracle.load(program)
    want = oracle.run(events, monitor=monitor)
    assert want.potentials["layer0"].size > 90_000
    for isa in ISAS:
        device = VirtualDevice(threads=1, isa=isa)
        device.load(program)
        require_same_trace(device.run(events, monitor=monitor), want)


@pytest.mark.parametrize("seed", range(10))
def test_wide_states_agree_past_the_narrow_range(seed: int) -> None:
    # Biases drive states out of 16 bits, and events may bring them back: 300 on one address weigh up to 38400.
    rng = stream(seed, "wide")
    weight = rng.choice(np.array([-128, 0, 127], np.int8), (2, 1, 1, 6))
    fields = {
        "thresholds": rng.choice([1, 20_000, 32767, DEAD], (6, 1, 3)),
        "bias": rng.choice([-32768, -20_000, 20_000, 32767], 6),
        "floor": int(rng.choice([-32768, -32767, 0])),
        "reset": str(rng.choice(["subtract", "zero"])),
        "state_bits": 32,
    }
    program = chain_of(one_core(weight, (2, 1, 3), **fields), clock_us=400)
    times, channel = np.arange(1200), np.repeat(rng.integers(0, 2, 4), 300)
    zeros = np.zeros(1200, np.int64)
    events = Events.from_columns(times, channel, zeros, zeros, SensorShape(2, 1, 3))
    edges = tuple(range(0, 1201, 100))
    monitor = Monitor(counts=("layer0",), potentials=("layer0",), spikes=("layer0",), window_edges_us=edges)
    oracle = OracleDevice()
    oracle.load(program)
    want = oracle.run(events, monitor=monitor)
    for isa in ISAS:
        device = VirtualDevice(threads=1, isa=isa)
        device.load(program)
        require_same_trace(device.run(events, monitor=monitor), want)


@pytest.mark.parametrize("seed", range(30))
def test_batches_of_graphs_equal_the_oracle_whatever_the_threads(seed: int) -> None:
    rng = stream(seed, "graph batch parity")
    program = random_graph(rng)
    batch = [affordable_events(rng, program) for _ in range(int(rng.integers(0, 5)))]
    batch += [head(events, len(events) // 2) for events in batch[:1]]  # the same bounds, and so the same clock
    stop = max((events.stop_us for events in batch), default=1)
    layers = tuple(core.layer for core in program.cores)
    edges = (0, *sorted({stop // 3, stop // 2, stop + 3} - {0}))
    monitor = Monitor(counts=layers, potentials=layers, window_edges_us=edges)
    oracle = OracleDevice()
    oracle.load(program)
    want = oracle.run_batch(batch, monitor=monitor)
    for isa in ISAS:
        for threads in (1, 3):
            device = VirtualDevice(threads=threads, isa=isa)
            device.load(program)
            require_same_batch(device.run_batch(batch, monitor=monitor), want)
            require_same_batch(device.run_batch(batch, monitor=monitor), want)
