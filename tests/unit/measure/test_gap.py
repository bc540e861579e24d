from __future__ import annotations

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.measure.accuracy import Decisions, decide
from chiploop.measure.gap import gap_table
from chiploop.measure.stats import mcnemar_p, paired_difference

LABELS = np.zeros(10, np.int64)


def _right(*picked: int) -> Decisions:
    counts = np.tile([0, 1], (10, 1))
    counts[list(picked)] = [1, 0]
    return decide(counts)


def test_a_table_worked_by_hand() -> None:
    table = gap_table(
        {"chip": _right(0, 1, 2, 9), "software": _right(*range(8)), "int-sync": _right(*range(6), 8)},
        LABELS,
        method="bptt",
        seed=1,
    )
    assert [(m.where, m.value) for m in table.accuracies] == [("software", 0.8), ("int-sync", 0.7), ("chip", 0.4)]
    assert [(s.versus, s.where, s.n_lost, s.n_gained) for s in table.steps] == [
        ("software", "int-sync", 2, 1),
        ("int-sync", "chip", 4, 1),
        ("software", "chip", 5, 1),
    ]
    whole = table.step("chip", "software")
    assert (whole.difference, whole.low, whole.high) == paired_difference(1, 5, 10)
    assert whole.p_value == mcnemar_p(1, 5)


def test_the_steps_add_up_to_the_whole_way() -> None:
    table = gap_table({"software": _right(1, 2, 3, 4), "int-sync": _right(2, 3, 7), "chip": _right(2, 8)}, LABELS)
    parts = table.step("int-sync", "software").difference + table.step("chip", "int-sync").difference
    assert parts == pytest.approx(table.step("chip", "software").difference)


def test_the_accelerator_stands_beside_the_chain() -> None:
    table = gap_table({"software": _right(1, 2), "accelerator": _right(1), "chip": _right(2, 3)}, LABELS)
    assert [(s.where, s.versus) for s in table.steps] == [("chip", "software"), ("accelerator", "software")]


def test_metrics_name_both_places() -> None:
    gap, gained, lost = gap_table({"software": _right(1, 2), "chip": _right(2)}, LABELS, method="cnn", seed=0).metrics()
    assert (gap.name, gap.value, gap.interval, gap.n) == ("gap", -0.1, "paired", 10)
    assert (gap.where, gap.versus) == ("chip", "software")
    assert (gained.name, gained.value, lost.name, lost.value) == ("n_gained", 0, "n_lost", 1)


def test_samples_must_be_the_same() -> None:
    with pytest.raises(DataError, match="label for every sample"):
        gap_table({"software": _right(1), "chip": decide(np.eye(3, dtype=int))}, LABELS)
    with pytest.raises(DataError, match="did you mean 'chip'"):
        gap_table({"chips": _right(1)}, LABELS)  # type: ignore[dict-item]
    with pytest.raises(DataError, match="was the stage evaluated"):
        gap_table({"software": _right(1)}, LABELS).step("chip", "software")
