"""Decisions over time against a loop that reads the spikes one by one; latencies by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chiploop.chip.profile import read_profile
from chiploop.chip.timing import CoreLoad, TimingTrace
from chiploop.errors import DataError
from chiploop.measure.accuracy import decide, is_right
from chiploop.measure.latency import (
    NEVER,
    anytime_accuracy,
    decision_metrics,
    latency_figure,
    latency_metrics,
    percentiles,
    time_to_first_decision,
)
from chiploop.measure.stats import wilson_interval

SPECK = read_profile("speck2f")
spike_rows = st.lists(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), max_size=12).map(sorted), min_size=1, max_size=5
)


def running_decision(row: list[tuple[int, int]], until: int) -> int | None:
    """The class with the most spikes up to a time, None for a tie or silence."""
    tally: dict[int, int] = {}
    for t, c in row:
        if t <= until:
            tally[c] = tally.get(c, 0) + 1
    best = [c for c, n in tally.items() if n == max(tally.values())]
    return best[0] if len(best) == 1 else None


def columns(rows: list[list[tuple[int, int]]]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    return [np.array([t for t, _ in row], int) for row in rows], [np.array([c for _, c in row], int) for row in rows]


@given(rows=spike_rows, label=st.integers(0, 3))
def test_accuracy_at_any_time_is_that_of_the_loop(rows: list[list[tuple[int, int]]], label: int) -> None:
    at = [0, 1, 7, 15, 30, 99]
    curve = anytime_accuracy(*columns(rows), [label] * len(rows), at)
    for moment, value, low, high in zip(at, curve.accuracy, curve.low, curve.high, strict=True):
        right = sum(running_decision(row, moment) == label for row in rows)
        assert (value, low, high) == pytest.approx(wilson_interval(right, len(rows)))


@given(rows=spike_rows)
def test_a_decision_settles_where_the_loop_says(rows: list[list[tuple[int, int]]]) -> None:
    times = time_to_first_decision(*columns(rows))
    for row, first, settled in zip(rows, times.first_us, times.settled_us, strict=True):
        assert first == (row[0][0] if row else NEVER)
        moments = sorted({t for t, _ in row})
        final = running_decision(row, 99)
        if final is None:
            assert settled == NEVER
            continue
        assert all(running_decision(row, t) == final for t in moments if t >= settled)
        before = [t for t in moments if t < settled]
        assert not before or running_decision(row, before[-1]) != final


@given(rows=spike_rows)
def test_at_the_end_it_is_the_accuracy_of_the_counts(rows: list[list[tuple[int, int]]]) -> None:
    labels = [0] * len(rows)
    counts = [[sum(c == k for _, c in row) for k in range(3)] for row in rows]
    end = anytime_accuracy(*columns(rows), labels, [30])
    assert end.accuracy[0] == is_right(decide(counts), labels).mean()


def test_a_curve_by_hand() -> None:
    times = [[10, 20, 30], [5], [], [8, 8]]
    classes = [[1, 0, 0], [2], [], [0, 1]]
    curve = anytime_accuracy(times, classes, [0, 2, 1, 0], [4, 5, 20, 30])
    # sample 0 is wrong at 10, tied at 20, right at 30; 1 right from 5; 2 silent; 3 tied for ever
    assert curve.accuracy.tolist() == [0.0, 0.25, 0.25, 0.5]
    assert curve.n == 4
    found = time_to_first_decision(times, classes)
    assert found.first_us.tolist() == [10, 5, NEVER, 8]
    assert found.settled_us.tolist() == [30, 5, NEVER, NEVER]


def test_medians_leave_out_what_never_came_and_say_so() -> None:
    times = time_to_first_decision([[10, 20, 30], [5], [], [8, 8]], [[1, 0, 0], [2], [], [0, 1]])
    first, decision = decision_metrics(times, method="bptt", seed=0)
    assert (first.name, first.value, first.n, first.note) == ("first_spike", 8, 3, "of 4 samples")
    assert (decision.name, decision.value, decision.n, decision.unit) == ("decision_time", 5, 2, "us")
    assert decision.how == "counted"
    assert decision_metrics(time_to_first_decision([[]], [[]])) == ()


def test_percentiles_are_values_that_occur() -> None:
    assert percentiles(range(1, 101)) == {50: 50, 90: 90, 99: 99}
    assert percentiles([7, NEVER], (50,)) == {50: 7}
    assert percentiles([NEVER]) == {}


@pytest.mark.parametrize(
    ("times", "classes", "at", "message"),
    [
        ([[1]], [[0], [0]], [1], "1 rows of times for 2 rows of classes"),
        ([[2, 1]], [[0, 0]], [1], "sample 0: times must not fall"),
        ([[-1]], [[0]], [1], "or be negative"),
        ([[1]], [[0, 1]], [1], "one class each"),
        ([[1]], [[-1]], [1], "indices from 0"),
        ([[1]], [[0]], [2, 2], "rising times"),
        ([[1]], [[0]], [], "rising times"),
    ],
)
def test_wrong_input(times: list[list[int]], classes: list[list[int]], at: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        anytime_accuracy(times, classes, [0], at)


def timed(latencies: list[int], *, stalls: int = 0) -> TimingTrace:
    values = np.array(latencies, np.int64)
    return TimingTrace(
        latency_ns={"fc": values},
        output_ns={"fc": values + 1_000},
        load={"fc": CoreLoad(stalls=stalls)},
        input_load=CoreLoad(stalls=1),
        end_ns=9_999,
    )


def test_latencies_by_hand() -> None:
    runs = [timed(list(range(1_000, 51_000, 1_000)), stalls=4), timed(list(range(51_000, 101_000, 1_000)))]
    found = {m.name: m for m in latency_metrics(runs, SPECK, method="bptt")}
    assert found["stalls_per_sample"].value == 3.0  # 4 of the core, 1 of the input in each of two
    assert (found["latency_median"].value, found["latency_p99"].value) == (50.0, 99.0)
    for metric in found.values():
        assert metric.how == "modelled"
        assert metric.n == 2
        assert metric.source is not None
        assert "event_ns 287, hop_ns 60 (assumed, after Richter et al. 2023" in metric.source
    assert found["latency_median"].note == "over 100 output spikes"
    with pytest.raises(DataError, match="no timed runs"):
        latency_metrics([], SPECK)
    with pytest.raises(DataError, match="'ideal' states no timing"):
        latency_metrics(runs, read_profile("ideal"))


def test_silent_runs_have_stalls_but_no_latency() -> None:
    assert [m.name for m in latency_metrics([timed([])], SPECK)] == ["stalls_per_sample"]
    assert latency_figure([timed([])], method="bptt") is None


def test_the_histogram_holds_every_spike() -> None:
    figure = latency_figure([timed([0, 500, 1_000]), timed([2_000])], method="bptt", bins=4)
    assert figure is not None
    assert figure.data["edges_ns"] == [0, 500, 1_000, 1_500, 2_000]
    assert figure.data["counts"] == [1, 1, 1, 1]
    assert figure.data["percentiles_ns"] == {"50": 500, "90": 2_000, "99": 2_000}


def test_results_are_frozen_and_equal_by_content() -> None:
    one, same = (anytime_accuracy([[1]], [[0]], [0], [1]) for _ in range(2))
    assert one == same
    assert one != dataclasses.replace(one, n=2)
    times = time_to_first_decision([[1]], [[0]])
    with pytest.raises(ValueError, match="read-only"):
        times.first_us[0] = 2
