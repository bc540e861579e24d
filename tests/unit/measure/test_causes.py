"""Causes from stages, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.errors import DataError
from chiploop.measure.causes import CAUSES, StageOutcome, explain_stages
from chiploop.measure.stats import mcnemar_p, paired_difference

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def outcome(cause: str | None, right: str, layers: dict[str, list[float]] | None = None, **more: bool) -> StageOutcome:
    """Return a stage from a row of + and -, its layers' counts one neuron a sample."""
    counts = {name: np.array(values, float).reshape(-1, 1) for name, values in (layers or {"a": [1.0] * 8}).items()}
    return StageOutcome(cause=cause, right=np.array([c == "+" for c in right]), layers=counts, **more)


def test_a_way_of_three_stages_by_hand() -> None:
    found = explain_stages(
        [
            outcome(None, "+++++++-", {"a": [0, 1, 2, 3, 4, 5, 6, 7], "b": [0, 1, 0, 1, 0, 1, 0, 1]}),
            outcome("weights", "++--++++", {"a": [0, 2, 4, 6, 8, 10, 12, 14], "b": [0, 1, 0, 1, 0, 1, 0, 1]}),
            outcome("event-order", "++----++", {"a": [0, 2, 4, 6, 8, 10, 12, 14], "b": [1, 0, 1, 0, 1, 0, 1, 0]}),
        ],
        LABELS,
        method="by hand",
    )
    weights, order = found.steps
    assert found.start.value == 7 / 8
    assert (weights.n_lost, weights.n_gained, weights.difference) == (2, 1, -1 / 8)
    assert (weights.low, weights.high) == paired_difference(1, 2, 8)[1:]
    assert weights.p_value == mcnemar_p(1, 2)
    assert weights.classes == {0: -2, 1: 1}
    assert weights.correlation == {"a": pytest.approx(1.0), "b": pytest.approx(1.0)}
    assert weights.ratio == {"a": pytest.approx(2.0), "b": pytest.approx(1.0)}
    assert weights.layer is None
    assert (order.n_lost, order.n_gained, order.difference) == (2, 0, -2 / 8)
    assert order.classes == {1: -2}
    assert order.correlation == {"a": pytest.approx(1.0), "b": pytest.approx(-1.0)}
    assert order.layer == "b"
    assert found.gap == pytest.approx(4 / 8 - 7 / 8)
    assert found.share(weights) == pytest.approx(1 / 3)
    assert found.worst is order


def test_a_layer_that_never_varies_has_no_correlation_and_is_where_it_happens() -> None:
    stages = [
        outcome(None, "++++++++", {"a": [0, 1, 2, 3, 4, 5, 6, 7]}),
        outcome("saturation", "--------", {"a": [0.0] * 8}),
    ]
    (step,) = explain_stages(stages, LABELS, method="silent").steps
    assert step.correlation == {"a": None}
    assert step.ratio == {"a": 0.0}
    assert step.layer == "a"


def test_a_layer_that_is_silent_before_and_after_is_not_where_it_happens() -> None:
    silent = {"a": [0, 1, 2, 3, 4, 5, 6, 7], "b": [0.0] * 8}
    stages = [outcome(None, "++++++++", silent), outcome("one-spike", "+++++++-", silent)]
    (step,) = explain_stages(stages, LABELS, method="silent").steps
    assert step.correlation == {"a": pytest.approx(1.0), "b": 1.0}
    assert step.layer is None


def test_conditions_beyond_the_chip_are_not_in_the_measured_gap() -> None:
    stages = [
        outcome(None, "++++++++"),
        outcome("saturation", "++++++--", measured=True),
        outcome("mismatch", "++++----"),
    ]
    found = explain_stages(stages, LABELS, method="faulty")
    assert [step.cause for step in found.measured_steps] == ["saturation"]
    assert found.gap == -2 / 8
    assert found.share(found.steps[1]) == pytest.approx(0.5)


def test_no_difference_has_no_shares() -> None:
    found = explain_stages([outcome(None, "+" * 8), outcome("weights", "+" * 8)], LABELS, method="equal")
    assert found.share(found.steps[0]) is None
    assert found.worst is None
    assert not found.steps[0].is_clear


@given(st.lists(st.lists(st.booleans(), min_size=8, max_size=8), min_size=2, max_size=1 + len(CAUSES)))
def test_parts_and_classes_add_up(rows: list[list[bool]]) -> None:
    layers = {"a": np.ones((8, 1))}
    causes = [None, *CAUSES]
    stages = [
        StageOutcome(cause=cause, right=np.array(row), layers=layers) for cause, row in zip(causes, rows, strict=False)
    ]
    found = explain_stages(stages, LABELS, method="random")
    net = np.mean(rows[-1]) - np.mean(rows[0])
    assert sum(step.difference for step in found.steps) == pytest.approx(net, abs=1e-12)
    for step in found.steps:
        assert sum(step.classes.values()) == step.n_gained - step.n_lost
        assert step.low <= step.difference <= step.high
    shares = [found.share(step) for step in found.steps]
    if None not in shares:
        assert sum(share for share in shares if share is not None) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "begin with the model"),
        ([outcome("weights", "+" * 8)], "begin with the model"),
        ([outcome(None, "+" * 8), outcome(None, "+" * 8)], "begin with the model"),
        ([outcome(None, "+" * 7)], "7.* decisions for 8 labels"),
    ],
)
def test_impossible_ways_are_refused(stages: list[StageOutcome], message: str) -> None:
    with pytest.raises(DataError, match=message):
        explain_stages(stages, LABELS, method="wrong")


def test_an_unknown_cause_is_refused() -> None:
    with pytest.raises(DataError, match="no cause 'luck'"):
        outcome("luck", "+" * 8)
