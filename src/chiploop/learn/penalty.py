"""Penalties that keep the network where the chip can follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

BatchMean = Callable[[list[Tensor], int], list[Tensor]]
"""From means over the n samples that are here to those over the whole batch, of which other processes hold a part."""


def own_mean(means: list[Tensor], n: int) -> list[Tensor]:
    """Return the means of a batch that is all here."""
    del n
    return means


def activity_penalty(
    counts: Mapping[str, Tensor], limits: Mapping[str, float], *, batch_mean: BatchMean = own_mean
) -> Tensor:
    """Return how far layers fire beyond their limits.

        sum_l max(0, mean_counts_l / limit_l - 1)^2

    counts [T, B, ...] by layer; limits in spikes per neuron and sample. Zero inside the limits.
    """
    total = torch.zeros(())
    if not limits:
        return total
    n = next(iter(counts.values())).shape[1]
    means = batch_mean([counts[name].sum(0).mean() for name in limits], n)
    for per_sample, limit in zip(means, limits.values(), strict=True):
        total = total + (per_sample / limit - 1.0).clamp(min=0.0) ** 2
    return total


def weight_range_penalty(weights: Mapping[str, Tensor]) -> Tensor:
    """Return the mean over layers of (max |w|)^2 / mean(w^2), the squared crest factor that rounding pays for."""
    crests = [w.abs().max() ** 2 / (w**2).mean().clamp(min=torch.finfo(w.dtype).tiny) for w in weights.values()]
    return torch.stack(crests).mean()
