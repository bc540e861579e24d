"""The one place where a potential becomes spikes, with a surrogate gradient."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from chiploop.network.surrogate import Surrogate

SpikesPerStep = Literal["one", "all"]


def count_spikes(v: Tensor, v_th: float, per_step: SpikesPerStep) -> Tensor:
    """Return the spikes of one step: [v >= v_th], or floor(v / v_th) where the neuron may fire several times."""
    if per_step == "one":
        return (v >= v_th).to(v.dtype)
    return torch.floor(v / v_th).clamp_(min=0.0)


def surrogate_slope(v: Tensor, v_th: float, per_step: SpikesPerStep, surrogate: Surrogate) -> Tensor:
    """Return d spikes / d v, by the surrogate, in 1 / volt.

    A neuron that may fire several times has a threshold at every multiple of v_th: from the first one on the slope
    keeps its peak value (a straight line through the steps of the floor), below it the surrogate's tail.
    """
    x = v / v_th - 1.0
    if per_step == "all":
        x = x.clamp_(max=0.0)
    return surrogate.slope(x) / v_th


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, v_th: float, per_step: SpikesPerStep, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(v)
        ctx.constants = (v_th, per_step, surrogate)
        return count_spikes(v, v_th, per_step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (v,) = ctx.saved_tensors
        return gradients[0] * surrogate_slope(v, *ctx.constants), None, None, None


def spike(v: Tensor, v_th: float, per_step: SpikesPerStep, surrogate: Surrogate) -> Tensor:
    """Return the spikes of potential v, differentiable by the surrogate.

        forward:  [v >= v_th]  or  floor(v / v_th), never negative
        backward: surrogate slope at (v - v_th) / v_th, divided by v_th

    >>> from chiploop.network.surrogate import Triangle
    >>> v = torch.tensor([0.5, 1.0, 2.5], requires_grad=True)
    >>> spike(v, 1.0, "all", Triangle()).tolist()
    [0.0, 1.0, 2.0]
    """
    spikes: Tensor = _Spike.apply(v, v_th, per_step, surrogate)  # type: ignore[no-untyped-call]
    return spikes
