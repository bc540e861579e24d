"""Operations whose values nobody needs: the chip computed them already. Only their gradients are worked out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chiploop.errors import SpecError
from chiploop.spec.graph import LayerSpec
from chiploop.spec.ops import Conv, Linear


def unrun_op(layer: LayerSpec, x: Tensor, weight: Tensor) -> Tensor:
    """Return a stand-in for a layer's operation on [N, ...] inputs: its shape, zeros for values, its true gradients.

        dL/dW and dL/dx of conv2d or linear, from dL/dy; y itself is never computed

    The stand-in takes no memory. Raises SpecError for an operation without weights.
    """
    stand_in: Tensor = _Unrun.apply(x, weight, layer)  # type: ignore[no-untyped-call]
    return stand_in


class _Unrun(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: LayerSpec) -> Tensor:
        if not isinstance(layer.op, (Conv, Linear)):
            raise SpecError(f"layer {layer.name!r} has no weights whose gradient could be worked out")
        ctx.save_for_backward(x, weight)
        ctx.op = layer.op
        return weight.new_zeros(1).expand(len(x), *layer.out_shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (grad,) = gradients
        wants_x, wants_weight, _ = ctx.needs_input_grad
        if isinstance(ctx.op, Linear):
            return grad @ weight if wants_x else None, grad.T @ x if wants_weight else None, None
        found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
            grad,
            x,
            weight,
            None,
            [ctx.op.stride] * 2,
            [ctx.op.padding] * 2,
            [1, 1],
            False,
            [0, 0],
            1,
            [wants_x, wants_weight, False],
        )
        return found[0], found[1], None
