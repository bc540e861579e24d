"""Records of what runs cost: three methods, energies at every place, timed runs; made from a seeded generator."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.chip.profile import read_profile
from chiploop.chip.timing import CoreLoad, TimingTrace
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
from chiploop.measure.operations import Arithmetic, Operations, operation_metrics
from chiploop.measure.record import RunRecord
from chiploop.rng import stream
from record_store import LAYERS, make_record

METHODS = ("cnn", "bptt", "cil-bptt")
N, SPAN_US = 40, 300_000
PROFILE = read_profile("speck2f")


def make_cost_record(seed: int, *, timed: bool = True, methods: tuple[str, ...] = METHODS) -> RunRecord:
    """Return a record with accuracies, and with energies, decision times and loads of every method."""
    record = make_record(seed, methods=methods, n_events=10)
    metrics, figures = list(record.metrics), list(record.figures)
    for method in methods:
        more = _make(method, seed, timed=timed)
        metrics += more[0]
        figures += more[1]
    return record.model_copy(update={"metrics": tuple(metrics), "figures": tuple(figures)})


def _make(method: str, seed: int, *, timed: bool) -> tuple[list[Metric], list[Figure]]:
    rng = stream(seed, "costs", method)
    trace, spans = _trace(rng), np.full(N, SPAN_US)
    metrics = [*energy_metrics(trace, PROFILE, spans_us=spans, method=method, seed=seed)]
    for where, arithmetic in _arithmetic(method).items():
        operations = _operations(rng, method)
        metrics += operation_metrics(operations, arithmetic=arithmetic, method=method, where=where, seed=seed)
    labels = rng.integers(10, size=N)
    times, classes = _output(rng, labels)
    metrics += decision_metrics(time_to_first_decision(times, classes), method=method, seed=seed)
    figures = [anytime_accuracy(times, classes, labels, np.arange(0, SPAN_US + 1, 5_000)).figure(method=method)]
    timings = [_timing(rng, trace) for _ in range(N)] if timed else []
    rates = core_rates(trace, spans, PROFILE, timings=timings)
    metrics += rate_metrics(rates, n=N, method=method, seed=seed)
    figures.append(core_load_figure(rates, method=method))
    if timings:
        metrics += latency_metrics(timings, PROFILE, method=method, seed=seed)
        histogram = latency_figure(timings, method=method)
        assert histogram is not None
        figures.append(histogram)
    return metrics, figures


def _arithmetic(method: str) -> Mapping[Where, Arithmetic]:
    whole: dict[Where, Arithmetic] = {"software": "float32", "int-sync": "int8"}
    return {**whole, "accelerator": "int8"} if method == "cnn" else whole


def _operations(rng: np.random.Generator, method: str) -> Operations:
    counts = {layer: int(rng.integers(10_000, 900_000)) * N for layer in LAYERS}
    if method == "cnn":
        return Operations(n=N, macs=counts)
    return Operations(
        n=N, acs={layer: count // 4 for layer, count in counts.items()}, updates=dict.fromkeys(LAYERS, N * 20_000)
    )


def _trace(rng: np.random.Generator) -> BatchTrace:
    tables = {}
    for depth, layer in enumerate(LAYERS):
        table = np.zeros((N, len(COUNTER_NAMES)), np.int64)
        table[:, COUNTER_NAMES.index("events_in")] = rng.integers(500, 4_000, size=N)
        table[:, COUNTER_NAMES.index("synops")] = rng.integers(50_000, 900_000, size=N) >> depth
        table[:, COUNTER_NAMES.index("spikes")] = rng.integers(100, 2_000, size=N)
        tables[layer] = table
    blank = np.zeros((N, 10))
    return BatchTrace(output_counts=blank.astype(np.int64), output_potentials=blank.astype(np.int16), counters=tables)


def _output(rng: np.random.Generator, labels: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    times = [np.sort(rng.integers(20_000, SPAN_US, size=rng.integers(1, 60))) for _ in labels]
    classes = [
        np.where(rng.random(t.size) < 0.6, label, rng.integers(10, size=t.size))
        for t, label in zip(times, labels, strict=True)
    ]
    return times, classes


def _timing(rng: np.random.Generator, trace: BatchTrace) -> TimingTrace:
    latency = rng.gamma(3.0, 9_000.0, size=30).astype(np.int64)
    load = {
        layer: CoreLoad(
            busy_ns=int(rng.integers(10**6, 10**8)),
            wait_ns=int(rng.integers(10**5, 10**8)),
            stalls=int(rng.integers(5)) * (layer == LAYERS[0]),
            stalled_ns=int(rng.integers(10**4)) * (layer == LAYERS[0]),
            fifo_peak=int(rng.integers(1, 16)),
            peak_synops=int(rng.integers(2_000, 33_000)) >> depth,
        )
        for depth, layer in enumerate(trace.counters)
    }
    first = dataclasses.replace(load[LAYERS[0]], dropped=0)
    return TimingTrace(
        latency_ns={LAYERS[-1]: latency},
        output_ns={LAYERS[-1]: np.sort(latency) + SPAN_US},
        load={**load, LAYERS[0]: first},
        input_load=CoreLoad(),
        end_ns=SPAN_US * 1_000,
    )
