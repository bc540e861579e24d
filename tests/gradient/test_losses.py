"""Losses and penalties against finite differences, closed forms, and the laws that each must keep."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from chiploop.learn.loss import LOSSES
from chiploop.learn.penalty import activity_penalty, weight_range_penalty
from chiploop.rng import stream

STEPS, BATCH, CLASSES = 3, 4, 5


def counts(seed: int = 0) -> torch.Tensor:
    drawn = stream(seed, "counts").uniform(0.2, 4.0, (STEPS, BATCH, CLASSES))
    return torch.from_numpy(drawn).requires_grad_()


LABELS = torch.tensor([0, 4, 2, 2])


def test_there_are_losses() -> None:
    assert {"total", "windows", "cumulative"} <= set(LOSSES.names())


@pytest.mark.parametrize("name", LOSSES.names())
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    assert gradcheck(lambda y: LOSSES.get(name)(y, LABELS, 1.7), (counts(),))


@pytest.mark.parametrize("name", LOSSES.names())
def test_the_order_of_samples_does_not_matter(name: str) -> None:
    y, order = counts().detach(), torch.tensor([2, 0, 3, 1])
    one, other = LOSSES.get(name)(y, LABELS, 1.7), LOSSES.get(name)(y[:, order], LABELS[order], 1.7)
    assert one.item() == pytest.approx(other.item(), rel=1e-14)


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_silent_output_costs_the_entropy_of_a_guess(name: str) -> None:
    silent = torch.zeros(STEPS, BATCH, CLASSES, dtype=torch.float64)
    assert LOSSES.get(name)(silent, LABELS, 2.0).item() == pytest.approx(math.log(CLASSES), rel=1e-14)


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_spike_of_the_right_class_lowers_the_loss_and_of_a_wrong_one_raises_it(name: str) -> None:
    y = counts().detach()
    for neuron in range(CLASSES):
        more = y.clone()
        more[0, 0, neuron] += 1.0
        change = LOSSES.get(name)(more, LABELS, 1.7) - LOSSES.get(name)(y, LABELS, 1.7)
        assert (change < 0) == (neuron == LABELS[0])


def test_losses_of_counts_worked_by_hand() -> None:
    # One sample of class 0, two windows, two classes, temperature t: counts (1, 0) then (0, 2), totals (1, 2).
    y, t = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]], dtype=torch.float64), 0.5
    label = torch.tensor([0])

    def cross_entropy(right: float, wrong: float) -> float:
        return math.log1p(math.exp(wrong - right))

    total = cross_entropy(1 / t, 2 / t)
    windows = (cross_entropy(1 * 2 / t, 0) + cross_entropy(0, 2 * 2 / t)) / 2
    cumulative = (cross_entropy(1 / t, 0) + cross_entropy(1 / t, 2 / t)) / 2
    assert LOSSES.get("total")(y, label, t).item() == pytest.approx(total, rel=1e-14)
    assert LOSSES.get("windows")(y, label, t).item() == pytest.approx(windows, rel=1e-14)
    assert LOSSES.get("cumulative")(y, label, t).item() == pytest.approx(cumulative, rel=1e-14)


def test_activity_penalty() -> None:
    # Two windows, one sample, two neurons: 3 and 1 spikes a sample, mean 2; limit 1.6: (2 / 1.6 - 1)^2 = 1/16.
    y = torch.tensor([[[1.0, 1.0]], [[2.0, 0.0]]], dtype=torch.float64)
    assert activity_penalty({"a": y, "b": 100 * y}, {"a": 1.6}).item() == pytest.approx(1 / 16, rel=1e-14)
    assert activity_penalty({"a": y}, {"a": 2.0}).item() == 0.0
    busy = counts()
    assert gradcheck(lambda a: activity_penalty({"a": a, "b": 2 * a}, {"a": 0.9, "b": 2.5}), (busy,))


def test_weight_range_penalty() -> None:
    # (3, -1, 1, 1): max^2 = 9, mean square 3: crest factor squared 3. Equal magnitudes: 1, the least there is.
    one = torch.tensor([3.0, -1.0, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    flat = torch.tensor([0.5, -0.5], dtype=torch.float64)
    assert weight_range_penalty({"a": one}).item() == pytest.approx(3.0, rel=1e-14)
    assert weight_range_penalty({"a": one.detach(), "b": flat}).item() == pytest.approx(2.0, rel=1e-14)
    assert gradcheck(lambda w: weight_range_penalty({"a": w, "b": w**2}), (one,))
    assert math.isfinite(weight_range_penalty({"a": torch.zeros(3)}).item())
