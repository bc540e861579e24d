"""One core of the timed device as a queue: theory, and recursions in plain Python that share nothing with it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chiploop.chip.device import Trace
from chiploop.chip.program import Program
from chiploop.chip.timed import TimedDevice
from chiploop.chip.timing import CoreLoad, Timing
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from strategies_chip import chain_of, neuron, one_core, pulses

PLAIN = Timing(event_ns=287, synop_ns=33, hop_ns=60)


def opened(program: Program, timing: Timing) -> TimedDevice:
    device = TimedDevice(timing)
    device.load(program)
    return device


def load_of(trace: Trace) -> CoreLoad:
    assert trace.timing is not None
    return trace.timing.load["layer0"]


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_mean_wait_of_poisson_arrivals_is_that_of_m_d_1(rho: float) -> None:
    # W = rho s / (2 (1 - rho)). 40 runs of 20,000 events, s = 10 ms, so that arrivals in whole us are as good as exact.
    service_ns, runs, n = 10_000_000, 40, 20_000
    rng = stream(round(100 * rho), "m/d/1")
    gap_us = service_ns / 1000 / rho
    batch = [pulses(np.cumsum(rng.exponential(gap_us, n)).astype(np.int64)) for _ in range(runs)]  # type: ignore[arg-type]
    device = opened(neuron(1), Timing(event_ns=service_ns, synop_ns=0, hop_ns=0))
    waits = np.array([load_of(trace).wait_ns / n for trace in device.run_many(batch)])
    expected = rho * service_ns / (2 * (1 - rho))
    sigma = waits.std(ddof=1) / np.sqrt(runs)
    assert sigma < 0.015 * expected  # or the bound would mean little
    assert abs(waits.mean() - expected) < 5 * sigma


def busy_core(rng: np.random.Generator) -> Program:
    """Return one core whose events reach one to nine positions of two neurons, by where they fall."""
    weight = rng.integers(-9, 10, (1, 3, 3, 2)).astype(np.int8)
    return chain_of(one_core(weight, (1, 5, 5), stride=2, padding=1, threshold=30))


def bursts(rng: np.random.Generator, shape: SensorShape, n: int) -> Events:
    times = np.cumsum(rng.choice([0, 0, 1, 4], n))
    return Events.from_columns(times, *(rng.integers(0, size, n) for size in shape), shape)


def services_ns(program: Program, events: Events, timing: Timing) -> list[int]:
    """Return each event's service: outputs o with 0 <= i + padding - o * stride < kernel, counted one by one."""
    (core,) = program.cores
    features, height, width = core.neuron_shape

    def reached(i: int, outputs: int, kernel: int) -> int:
        return sum(0 <= i + core.padding - o * core.stride < kernel for o in range(outputs))

    _, kh, kw, _ = core.weight.shape
    places = zip(events.y.tolist(), events.x.tolist(), strict=True)
    fan_outs = (reached(y, height, kh) * reached(x, width, kw) * features for y, x in places)
    return [timing.event_ns + fan_out * timing.synop_ns for fan_out in fan_outs]


@pytest.mark.parametrize("seed", range(5))
def test_waits_follow_lindleys_recursion(seed: int) -> None:
    # W' = max(0, W + S - A), in exact integers.
    rng = stream(seed, "lindley")
    program = busy_core(rng)
    events = bursts(rng, program.input_shape, 3000)
    services = services_ns(program, events, PLAIN)
    trace = opened(program, PLAIN).run(events)
    wait, waits = 0, []
    for service, gap in zip(services, [*np.diff(1000 * events.t_us).tolist(), 0], strict=True):
        waits.append(wait)
        wait = max(0, wait + service - gap)
    assert max(waits) > 0
    load = load_of(trace)
    assert (load.wait_ns, load.busy_ns) == (sum(waits), sum(services))
    assert trace.timing is not None
    assert trace.timing.end_ns == 1000 * int(events.t_us[-1]) + waits[-1] + services[-1]


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_a_bounded_queue_drops_what_a_scan_of_start_times_drops(depth: int) -> None:
    # An event finds a slot if fewer than `depth` accepted ones are still to start at its time; those that start at this
    # very ns do so after it was sent.
    rng = stream(depth, "drops")
    timing = dataclasses.replace(PLAIN, fifo_depth=depth, overflow="drop")
    program = busy_core(rng)
    events = bursts(rng, program.input_shape, 2000)
    starts: list[int] = []
    free, dropped = 0, 0
    for t_ns, service in zip((1000 * events.t_us).tolist(), services_ns(program, events, timing), strict=True):
        if sum(start >= t_ns for start in starts[-depth - 1 :]) >= depth:
            dropped += 1
            continue
        starts.append(max(t_ns, free))
        free = starts[-1] + service
    trace = opened(program, timing).run(events)
    assert 0 < dropped == load_of(trace).dropped == trace.counters["layer0"].dropped
    assert trace.counters["layer0"].events_in == len(starts) == len(events) - dropped
    assert load_of(trace).fifo_peak == trace.counters["layer0"].fifo_peak <= depth
    assert trace.timing is not None
    assert trace.timing.end_ns == free
