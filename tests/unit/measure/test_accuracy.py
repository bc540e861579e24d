from __future__ import annotations

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.measure.accuracy import UNDECIDED, accuracy, accuracy_metrics, decide, is_right
from chiploop.measure.stats import wilson_interval

COUNTS = np.array([[5, 1, 0], [2, 2, 1], [0, 0, 0], [0, 3, 3], [0, 0, 7]])
LABELS = np.array([0, 0, 0, 2, 2])


def test_ties_and_silence_decide_nothing() -> None:
    decisions = decide(COUNTS)
    assert decisions.choice.tolist() == [0, UNDECIDED, UNDECIDED, UNDECIDED, 2]
    assert (decisions.n_ties, decisions.n_silent, decisions.ties) == (2, 1, "wrong")


def test_a_silent_network_is_never_right() -> None:
    # argmax would choose class 0 and call every zero right
    decisions = decide(np.zeros((4, 10), np.int64))
    metric = accuracy(decisions, np.zeros(4, np.int64))
    assert metric.value == 0.0
    assert decisions.n_silent == 4
    assert decisions.n_ties == 0


def test_a_single_class_cannot_win_in_silence() -> None:
    assert decide([[0], [3]]).choice.tolist() == [UNDECIDED, 0]


def test_the_potential_breaks_ties_among_the_tied_only() -> None:
    potentials = np.array([[0, 9, 9], [1, 2, 99], [-5, -3, -4], [99, 4, 4], [0, 0, 0]])
    decisions = decide(COUNTS, potentials)
    assert decisions.choice.tolist() == [0, 1, 1, UNDECIDED, 2]
    assert (decisions.n_ties, decisions.n_silent, decisions.ties) == (2, 1, "potential")
    assert accuracy(decisions, LABELS).ties == "potential"


def test_float_logits_tie_only_when_exactly_equal() -> None:
    close = np.nextafter(0.3, 1)
    assert decide([[0.3, close], [0.3, 0.3], [-1.0, -2.0]]).choice.tolist() == [1, UNDECIDED, 0]


def test_accuracy_is_the_share_with_its_wilson_interval() -> None:
    metric = accuracy(decide(COUNTS), LABELS, method="bptt", where="chip", seed=3)
    expected = wilson_interval(2, 5)
    assert (metric.value, metric.low, metric.high) == expected
    assert (metric.n, metric.seed, metric.method, metric.where) == (5, 3, "bptt", "chip")
    assert (metric.unit, metric.how, metric.interval, metric.ties) == ("share", "counted", "wilson", "wrong")


def test_the_three_metrics_of_an_evaluation() -> None:
    metrics = accuracy_metrics(decide(COUNTS), LABELS, where="software")
    assert [(m.name, m.value, m.n) for m in metrics] == [("accuracy", 0.4, 5), ("n_ties", 2.0, 5), ("n_silent", 1.0, 5)]


@pytest.mark.parametrize("labels", [[0, 1], [[0, 1, 2, 2, 2]], [], [0.0, 1.0, 2.0, 2.0, 2.0], [-1, 0, 0, 2, 2]])
def test_labels_that_do_not_fit(labels: list[object]) -> None:
    # -1 above all: it would make every undecided output right
    with pytest.raises(DataError, match="label"):
        is_right(decide(COUNTS), labels)


def test_diverged_outputs_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="diverged"):
        decide([[np.nan, 1.0]])
    with pytest.raises(DataError, match=r"\[samples, classes\]"):
        decide([1, 2, 3])
    with pytest.raises(DataError, match="they must agree"):
        decide(COUNTS, COUNTS[:, :2])


def test_decisions_are_content() -> None:
    assert decide(COUNTS) == decide(COUNTS.copy())
    assert decide(COUNTS) != decide(COUNTS, COUNTS)
    with pytest.raises(ValueError, match="read-only"):
        decide(COUNTS).choice[0] = 1
