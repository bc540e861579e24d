"""What a deployed row costs: operations, modelled energy, how soon it knows, and the load of each core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from chiploop.chip.device import BatchTrace
from chiploop.chip.profile import ChipProfile, read_profile
from chiploop.chip.program import Program
from chiploop.chip.timed import TimedDevice
from chiploop.chip.timing import Timing, TimingTrace
from chiploop.chip.virtual import VirtualDevice
from chiploop.learn.batch import Samples
from chiploop.measure.energy import energy_metrics
from chiploop.measure.figure import Figure
from chiploop.measure.latency import (
    anytime_accuracy,
    decision_metrics,
    latency_figure,
    latency_metrics,
    time_to_first_decision,
)
from chiploop.measure.load import core_load_figure, core_rates, rate_metrics
from chiploop.measure.metric import Metric, Where
from chiploop.measure.operations import Arithmetic, Operations, frame_operations, operation_metrics, window_operations
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.quantize.apply import dequantize
from chiploop.recipes.evaluate import Deployed
from chiploop.recipes.recipe import Recipe
from chiploop.spec.graph import NetworkSpec

TIMED_SAMPLES = 100
"""Test recordings that are run with time, and whose operations are counted in software."""
CURVE_POINTS = 48
BATCH = 25


def costs(recipe: Recipe, deployed: Deployed, test: Samples, *, seed: int) -> tuple[list[Metric], list[Figure]]:
    """Return a deployed row's costs as metrics and figures; what is modelled says by which constants.

    Energy comes from the exact counters of all test recordings. Of TIMED_SAMPLES of them, all classes alike, the
    accuracy at any time is counted in instant time; latencies and loads come from the timed device, where the
    profile states its timing.
    """
    name, profile = deployed.trained.name, read_profile(recipe.chip.profile)
    first = test.some(TIMED_SAMPLES)
    chip = deployed.answers["chip"]
    spans = [test.dataset.duration_us] * len(test)
    whole = BatchTrace(
        output_counts=chip.counts.astype("int64"), output_potentials=chip.counts.astype("int16"), counters=chip.counters
    )
    metrics = list(energy_metrics(whole, profile, spans_us=spans, method=name, seed=seed))
    networks: tuple[tuple[Where, Arithmetic, NetworkSpec], ...] = (
        ("software", "float32", deployed.trained.spec),
        ("int-sync", "int8", dequantize(deployed.quant)),
    )
    for where, arithmetic, spec in networks:
        operations = _operations(spec, deployed.trained.model, first)
        metrics += operation_metrics(operations, arithmetic=arithmetic, where=where, method=name, seed=seed)
    more, figures = _decisions(deployed.program, first, name=name, seed=seed)
    timings = _timed(deployed.program, profile, first, threads=recipe.chip.threads or None)
    loads, drawn = _loads(
        timings, _rows_of(whole, test, first) if timings else whole, profile, spans, name=name, seed=seed
    )
    return metrics + more + loads, figures + drawn


def _operations(spec: NetworkSpec, model: Literal["frame", "windows"], samples: Samples) -> Operations:
    """Count what the synchronous model computes: products on frames, or sums for the spikes of each window."""
    if model == "frame":
        return frame_operations(spec)
    total: Operations | None = None
    network = Network(spec)
    for batch in samples.ordered(BATCH):
        with torch.no_grad():
            counts = run_windows(network, batch.x, edges_us=batch.edges_us).counts
        spikes = {layer: value.sum((0, 1)).numpy() for layer, value in counts.items()}
        n = len(batch.labels)
        one = window_operations(spec, batch.x.sum((0, 1)).numpy(), spikes, n=n, n_windows=samples.n_windows)
        total = one if total is None else total + one
    assert total is not None  # a part is never empty
    return total


def _decisions(program: Program, samples: Samples, *, name: str, seed: int) -> tuple[list[Metric], list[Figure]]:
    """Return how much of a recording the answer takes: processing itself takes no time here."""
    times, classes = [], []
    with VirtualDevice(threads=1) as device:
        device.load(program)
        for i in range(len(samples)):
            device.reset()
            output = device.run(samples.events(i)).outputs[program.output_layer]
            times.append(output.t_us)
            classes.append(output.channel)
    at_us = np.unique(np.linspace(0, samples.dataset.duration_us, CURVE_POINTS).astype(np.int64))
    figure = anytime_accuracy(times, classes, samples.labels, at_us).figure(method=name)
    return list(decision_metrics(time_to_first_decision(times, classes), method=name, seed=seed)), [figure]


def _timed(program: Program, profile: ChipProfile, samples: Samples, *, threads: int | None) -> list[TimingTrace]:
    """Return each recording's timed run; none where the profile states no timing."""
    if profile.timing is None:
        return []
    with TimedDevice(timing=Timing.of(profile), threads=threads) as timed:
        timed.load(program)
        traces = timed.run_many([samples.events(i) for i in range(len(samples))])
    return [trace.timing for trace in traces if trace.timing is not None]


def _loads(
    timings: Sequence[TimingTrace],
    counted: BatchTrace,
    profile: ChipProfile,
    spans_us: Sequence[int],
    *,
    name: str,
    seed: int,
) -> tuple[list[Metric], list[Figure]]:
    """Return latencies, and the load of each core: of the recordings that were timed, or of all."""
    metrics: list[Metric] = []
    figures: list[Figure] = []
    n = len(timings) or len(spans_us)
    if timings:
        metrics += latency_metrics(timings, profile, method=name, seed=seed)
        drawn = latency_figure(timings, method=name)
        figures += [] if drawn is None else [drawn]
    rates = core_rates(counted, spans_us[:n], profile, timings=timings)
    metrics += rate_metrics(rates, n=n, method=name, seed=seed)
    return metrics, [*figures, core_load_figure(rates, method=name)]


def _rows_of(trace: BatchTrace, test: Samples, some: Samples) -> BatchTrace:
    """Return a trace of the whole test part cut down to some of its samples, in their order."""
    rows = test.places_of(some)
    return BatchTrace(
        output_counts=trace.output_counts[rows],
        output_potentials=trace.output_potentials[rows],
        counters={layer: table[rows] for layer, table in trace.counters.items()},
    )
