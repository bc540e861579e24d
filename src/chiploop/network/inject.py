"""Use the observed value forward, send the gradient to the modelled value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chiploop.errors import TrainingError


class _Inject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, modelled: Tensor, observed: Tensor) -> Tensor:
        del ctx
        if modelled.shape != observed.shape:
            raise TrainingError(f"observed {tuple(observed.shape)} does not fit modelled {tuple(modelled.shape)}")
        return observed.to(modelled.dtype).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None


def inject(modelled: Tensor, observed: Tensor) -> Tensor:
    """Return `observed` with the gradient of `modelled`.

        inject(m, o) = m + stop_gradient(o - m)

    The value is the observed one exactly (the sum above would round). Liu et al. 2024, Algorithm 1 and eq. 7-9;
    Kheradpisheh et al. 2022, eq. 16.

    >>> m = torch.tensor([2.0], requires_grad=True)
    >>> y = inject(3 * m, torch.tensor([10.0]))
    >>> y.backward(); y.tolist(), m.grad.tolist()
    ([10.0], [3.0])

    Raises TrainingError where the shapes differ (nothing is broadcast).
    """
    out: Tensor = _Inject.apply(modelled, observed)  # type: ignore[no-untyped-call]
    return out
