"""What every metric promises: a known unit, an origin, and how values over disjoint samples combine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.chip.profile import read_profile
from chiploop.chip.timing import CoreLoad, TimingTrace
from chiploop.errors import DataError
from chiploop.measure.accuracy import accuracy_metrics, decide
from chiploop.measure.energy import energy_metrics
from chiploop.measure.gap import gap_table
from chiploop.measure.latency import latency_metrics
from chiploop.measure.metric import METRICS, Metric
from chiploop.measure.operations import frame_operations, operation_metrics, window_operations
from chiploop.measure.synops import count_activity
from chiploop.rng import stream
from chiploop.spec import NeuronSpec
from chiploop.spec.notation import parse_notation

UNITS = {
    *("share", "samples", "spikes", "synops", "updates", "events", "stalls", "s", "us"),
    *("MACs", "ACs", "uJ", "synops/s", "failures", "batches"),
}
N = 60


def _samples() -> Mapping[str, np.ndarray]:
    rng = stream(0, "contract", "metric")
    return {
        "labels": rng.integers(4, size=N),
        "software": rng.integers(3, size=(N, 4)),
        "chip": rng.integers(3, size=(N, 4)),
        "counters": rng.integers(1, 50, size=(N, len(COUNTER_NAMES))),
        "spans_us": rng.integers(1, 500, size=N),
        "stalls": rng.integers(9, size=N),
        "inputs": rng.integers(5, size=(N, 1, 4, 4)),
        "spikes": rng.integers(5, size=(N, 2, 4, 4)),
    }


def _decisions(s: Mapping[str, np.ndarray]) -> list[Metric]:
    return [*accuracy_metrics(decide(s["chip"]), s["labels"], where="chip")]


def _gap(s: Mapping[str, np.ndarray]) -> list[Metric]:
    return [*gap_table({"software": decide(s["software"]), "chip": decide(s["chip"])}, s["labels"]).metrics()]


def _trace(s: Mapping[str, np.ndarray]) -> BatchTrace:
    outputs = np.zeros((len(s["labels"]), 4))
    return BatchTrace(
        output_counts=outputs.astype(np.int64),
        output_potentials=outputs.astype(np.int16),
        counters={"fc": s["counters"]},
    )


def _activity(s: Mapping[str, np.ndarray]) -> list[Metric]:
    return [m for m in count_activity(_trace(s)) if m.layer is None]


def _energy(s: Mapping[str, np.ndarray]) -> list[Metric]:
    return [*energy_metrics(_trace(s), read_profile("speck2f"), spans_us=s["spans_us"])]


def _operations(s: Mapping[str, np.ndarray]) -> list[Metric]:
    network = parse_notation("2c3p1-3", (1, 4, 4), NeuronSpec(), stream(0, "contract", "weights"))
    n, spikes = len(s["labels"]), {network.spiking[0].name: s["spikes"]}
    windows = window_operations(network, s["inputs"], spikes, n=n, n_windows=3)
    frames = frame_operations(network, n=n)
    return [*operation_metrics(windows, arithmetic="int8"), *operation_metrics(frames, arithmetic="float32")]


def _timed(s: Mapping[str, np.ndarray]) -> list[Metric]:
    nothing: dict[str, Any] = {"latency_ns": {}, "output_ns": {}, "load": {}, "end_ns": 0}
    runs = [TimingTrace(**nothing, input_load=CoreLoad(stalls=int(stalls))) for stalls in s["stalls"]]
    return [*latency_metrics(runs, read_profile("speck2f"))]


Compute = Callable[[Mapping[str, np.ndarray]], list[Metric]]
COMPUTED: tuple[Compute, ...] = (_decisions, _gap, _activity, _energy, _operations, _timed)


def test_there_are_metrics() -> None:
    assert len(METRICS.names()) >= 10


@pytest.mark.parametrize("name", METRICS.names())
def test_unit_and_title(name: str) -> None:
    kind = METRICS.get(name)
    assert kind.unit in UNITS
    assert kind.title[0].isupper()
    fields: dict[str, Any] = {"name": name, "value": 0.5, "how": kind.hows[0], "source": "here"}
    assert Metric(unit=kind.unit, **fields).unit == kind.unit
    with pytest.raises(DataError, match="unit is 'furlong'"):
        Metric(unit="furlong", **fields)


def test_every_metric_that_pools_is_computed_here() -> None:
    computed = {metric.name for compute in COMPUTED for metric in compute(_samples())}
    pooling = {name for name in METRICS.names() if METRICS.get(name).pools != "none"}
    assert computed == pooling


@pytest.mark.parametrize("compute", COMPUTED)
@pytest.mark.parametrize("cut", [1, 23, N - 1])
def test_two_parts_make_the_whole(compute: Compute, cut: int) -> None:
    whole = _samples()
    parts = [compute({key: a[piece] for key, a in whole.items()}) for piece in (slice(cut), slice(cut, None))]
    for first, second, both in zip(*parts, compute(whole), strict=True):
        assert (first.n, second.n, both.n) == (cut, N - cut, N)
        if METRICS.get(both.name).pools == "sum":
            assert first.value + second.value == both.value
        else:
            assert (cut * first.value + (N - cut) * second.value) / N == pytest.approx(both.value)


@pytest.mark.parametrize("compute", COMPUTED)
def test_the_order_of_samples_means_nothing(compute: Compute) -> None:
    whole = _samples()
    shuffled = stream(1, "contract", "metric").permutation(N)
    assert compute({key: a[shuffled] for key, a in whole.items()}) == compute(whole)


@pytest.mark.parametrize("compute", COMPUTED)
def test_everything_says_how_it_came_about_and_round_trips(compute: Compute) -> None:
    for metric in compute(_samples()):
        modelled = "energy" in metric.name or metric.name == "stalls_per_sample"
        assert metric.how == ("modelled" if modelled else "counted")
        assert bool(metric.source) == modelled
        assert Metric.from_dict(metric.to_dict()) == metric
