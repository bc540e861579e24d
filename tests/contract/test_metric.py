"""What every metric promises: a known unit, an origin, and how values over disjoint samples combine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.errors import DataError
from chiploop.measure.accuracy import accuracy_metrics, decide
from chiploop.measure.gap import gap_table
from chiploop.measure.metric import METRICS, Metric
from chiploop.measure.synops import count_activity
from chiploop.rng import stream

UNITS = {"share", "samples", "spikes", "synops", "updates", "events", "s"}
N = 60


def _samples() -> Mapping[str, np.ndarray]:
    rng = stream(0, "contract", "metric")
    return {
        "labels": rng.integers(4, size=N),
        "software": rng.integers(3, size=(N, 4)),
        "chip": rng.integers(3, size=(N, 4)),
        "counters": rng.integers(1, 50, size=(N, len(COUNTER_NAMES))),
    }


def _decisions(s: Mapping[str, np.ndarray]) -> list[Metric]:
    return [*accuracy_metrics(decide(s["chip"]), s["labels"], where="chip")]


def _gap(s: Mapping[str, np.ndarray]) -> list[Metric]:
    return [*gap_table({"software": decide(s["software"]), "chip": decide(s["chip"])}, s["labels"]).metrics()]


def _activity(s: Mapping[str, np.ndarray]) -> list[Metric]:
    outputs = np.zeros((len(s["labels"]), 4))
    trace = BatchTrace(
        output_counts=outputs.astype(np.int64),
        output_potentials=outputs.astype(np.int16),
        counters={"fc": s["counters"]},
    )
    return [m for m in count_activity(trace) if m.layer is None]


Compute = Callable[[Mapping[str, np.ndarray]], list[Metric]]
COMPUTED: tuple[Compute, ...] = (_decisions, _gap, _activity)


def test_there_are_metrics() -> None:
    assert len(METRICS.names()) >= 10


@pytest.mark.parametrize("name", METRICS.names())
def test_unit_and_title(name: str) -> None:
    kind = METRICS.get(name)
    assert kind.unit in UNITS
    assert kind.title[0].isupper()
    fields: dict[str, Any] = {"name": name, "value": 0.5, "how": "counted"}
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
def test_everything_counted_says_so_and_round_trips(compute: Compute) -> None:
    for metric in compute(_samples()):
        assert metric.how == "counted"
        assert Metric.from_dict(metric.to_dict()) == metric
