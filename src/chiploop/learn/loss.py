"""Losses on spike counts."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from chiploop.registry import Registry

Loss = Callable[[Tensor, Tensor, float], Tensor]
"""(counts [T, B, classes], labels [B], temperature) to a scalar."""

LOSSES: Registry[Loss] = Registry("loss")


@LOSSES.register("total")
def total_cross_entropy(counts: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of the counts over the whole sample.

        L = CE(softmax(sum_t y[t] / temperature), label)

    Raw counts saturate the softmax, hence the temperature (in spikes). Liu et al. 2024, Algorithm 1.
    """
    return F.cross_entropy(counts.sum(0) / temperature, labels)


@LOSSES.register("windows")
def window_cross_entropy(counts: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of each window's counts, averaged over windows.

        L = 1/T sum_t CE(softmax(y[t] T / temperature), label)

    Liu et al. 2024, eq. 7 with the target of every window the sample's label; the factor T puts a window's counts on
    the scale of the whole sample's.
    """
    steps, batch, classes = counts.shape
    logits = counts.reshape(steps * batch, classes) * (steps / temperature)
    return F.cross_entropy(logits, labels.repeat(steps))


@LOSSES.register("cumulative")
def cumulative_cross_entropy(counts: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of the counts up to each window, averaged over windows: rewards early decisions.

    L = 1/T sum_t CE(softmax(sum_(tau <= t) y[tau] / temperature), label)
    """
    steps, batch, classes = counts.shape
    logits = counts.cumsum(0).reshape(steps * batch, classes) / temperature
    return F.cross_entropy(logits, labels.repeat(steps))
