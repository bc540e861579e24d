"""Weights on an integer grid in the forward pass, gradients straight through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: float, q_max: int) -> Tensor:
        q = torch.round(weight / torch.tensor(scale, dtype=weight.dtype, device=weight.device))
        ctx.save_for_backward(q.abs() <= q_max)
        return q.clamp_(-q_max, q_max).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None


def fake_quantize(weight: Tensor, scale: float, q_max: int) -> Tensor:
    """Return clip(round(w / scale), -q_max, q_max) * scale; the gradient passes where nothing was clipped.

    Rounds half to even, as the quantiser does: both see the same integers. Straight-through: Bengio et al. 2013.

    >>> fake_quantize(torch.tensor([0.26, -9.0]), 0.1, 7).tolist()
    [0.30000001192092896, -0.699999988079071]
    """
    out: Tensor = _FakeQuantize.apply(weight, scale, q_max)  # type: ignore[no-untyped-call]
    return out
