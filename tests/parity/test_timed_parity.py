"""The compiled timed model equals the timed oracle to the nanosecond, on random chains and graphs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chiploop.chip.device import DEVICES, Device, Monitor, Trace
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.oracle_timed import TimedOracle
from chiploop.chip.program import Program
from chiploop.chip.timing import CoreLoad, Timing
from chiploop.events.types import Events
from chiploop.rng import stream
from strategies_chip import (
    affordable,
    random_events,
    random_monitor,
    random_program,
    require_same_batch,
    require_same_trace,
)
from strategies_graph import random_graph, random_timing

N_DEFAULT, N_SLOW = 300, 10_000
N_UPDATES = 2_500
INPUT = "the input"


def compiled(timing: Timing) -> Device:
    return DEVICES.get("timed")(timing)


def program_and_events(rng: np.random.Generator) -> tuple[Program, Events]:
    program = random_program(rng) if rng.random() < 0.2 else random_graph(rng)
    events = random_events(rng, program.input_shape)
    return program, affordable(program, events, N_UPDATES, device=OracleDevice())


def shifted(events: Events, by_us: int) -> Events:
    bounds = {"start_us": events.start_us + by_us, "stop_us": events.stop_us + by_us}
    return dataclasses.replace(events, t_us=events.t_us + by_us, **bounds)


def require_same_timing(one: Trace, other: Trace) -> None:
    assert one.timing is not None
    assert other.timing is not None
    for name in ("latency_ns", "output_ns"):
        tables = getattr(one.timing, name), getattr(other.timing, name)
        assert tables[0].keys() == tables[1].keys(), name
        for layer in tables[0]:
            assert np.array_equal(tables[0][layer], tables[1][layer]), f"{name} of {layer}"
    assert _loads(one) == _loads(other)
    assert one.timing.end_ns == other.timing.end_ns


def _loads(trace: Trace) -> dict[str, CoreLoad]:
    assert trace.timing is not None
    return {INPUT: trace.timing.input_load, **trace.timing.load}


def check(seed: int) -> list[CoreLoad]:
    """Run one program on both, twice in a row; returns the oracle's loads."""
    rng = stream(seed, "timed parity")
    program, events = program_and_events(rng)
    timing = random_timing(rng)
    oracle, device = TimedOracle(timing), compiled(timing)
    oracle.load(program)
    device.load(program)
    loads: list[CoreLoad] = []
    for _ in range(2):
        monitor = random_monitor(rng, program, events)
        want = oracle.run(events, monitor=monitor)
        trace = device.run(events, monitor=monitor)
        require_same_trace(trace, want)
        require_same_timing(trace, want)
        assert trace.metrics == want.metrics
        loads += _loads(want).values()
        # Again, mostly once the chip has come to rest, by whole periods of the clock.
        assert want.timing is not None
        if rng.random() < 0.2:
            continue
        period_us = program.clock_us or 1
        rest_us = max(events.stop_us, want.timing.end_ns // 1000 + 1) - events.start_us
        events = shifted(events, -(-rest_us // period_us) * period_us)
    return loads


def check_range(seeds: range) -> None:
    """Check every seed; then make sure that the seeds stalled, dropped and waited."""
    loads: list[CoreLoad] = []
    for seed in seeds:
        try:
            loads += check(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    for name in ("busy_ns", "wait_ns", "stalls", "stalled_ns", "dropped", "fifo_peak", "peak_synops"):
        assert sum(getattr(load, name) for load in loads) > 0, name


def test_core_equals_timed_oracle() -> None:
    check_range(range(N_DEFAULT))


@pytest.mark.slow
def test_core_equals_timed_oracle_on_many() -> None:
    check_range(range(N_DEFAULT, N_DEFAULT + N_SLOW))


@pytest.mark.parametrize("seed", range(20))
def test_timed_batches_equal_the_oracle(seed: int) -> None:
    rng = stream(seed, "timed batch parity")
    program, events = program_and_events(rng)
    other = affordable(program, random_events(rng, program.input_shape), N_UPDATES, device=OracleDevice())
    timing = random_timing(rng)
    layers = tuple(core.layer for core in program.cores)
    stop = max(events.stop_us, other.stop_us)
    monitor = Monitor(counts=layers, potentials=layers, window_edges_us=(0, stop // 2 + 1, stop + 2))
    oracle, device = TimedOracle(timing), compiled(timing)
    oracle.load(program)
    device.load(program)
    batch = [events, other, events]
    require_same_batch(device.run_batch(batch, monitor=monitor), oracle.run_batch(batch, monitor=monitor))
