"""Penalties that keep the network where the chip can follow."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def activity_penalty(counts: Mapping[str, Tensor], limits: Mapping[str, float]) -> Tensor:
    """Return how far layers fire beyond their limits.

        sum_l max(0, mean_counts_l / limit_l - 1)^2

    counts [T, B, ...] by layer; limits in spikes per neuron and sample. Zero inside the limits.
    """
    total = torch.zeros(())
    for name, limit in limits.items():
        per_sample = counts[name].sum(0).mean()
        total = total + (per_sample / limit - 1.0).clamp(min=0.0) ** 2
    return total


def weight_range_penalty(weights: Mapping[str, Tensor]) -> Tensor:
    """Return the mean over layers of (max |w|)^2 / mean(w^2), the squared crest factor that rounding pays for."""
    crests = [w.abs().max() ** 2 / (w**2).mean().clamp(min=torch.finfo(w.dtype).tiny) for w in weights.values()]
    return torch.stack(crests).mean()
