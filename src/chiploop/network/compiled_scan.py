"""The scan of a neuron layer in the compiled core: every array read or written once, on torch's number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chiploop.network.surrogate import Exponential, FastSigmoid, Rectangle, Surrogate, Triangle
from chiploop.spec.graph import NeuronSpec

if TYPE_CHECKING:
    from chiploop._core import ScanNeuron


def compiled_neuron(spec: NeuronSpec, surrogate: Surrogate, *, keep: float, gain: float) -> ScanNeuron | None:
    """Return the core's form of a neuron, or None where it has none: a surrogate of a user's own, or no core built."""
    match surrogate:
        case Exponential(sharpness=shape):
            slope = "exponential"
        case FastSigmoid(sharpness=shape):
            slope = "fast-sigmoid"
        case Triangle(width=shape):
            slope = "triangle"
        case Rectangle(width=shape):
            slope = "rectangle"
        case _:
            return None
    try:
        from chiploop._core import ScanNeuron
    except ImportError:
        return None
    return ScanNeuron(
        keep=keep,
        gain=gain,
        v_th=spec.v_th,
        v_min=spec.v_min,
        reset_to_zero=spec.reset == "zero",
        all_spikes=spec.spikes_per_step == "all",
        slope=slope,
        shape=shape,
    )


def can_compile(current: Tensor) -> bool:
    """Whether the core takes this tensor: float32 on a processor, dense, with time its slowest axis."""
    if current.dtype != torch.float32 or current.device.type != "cpu" or current.numel() == 0:
        return False
    sizes = sorted(zip(current.stride(), current.shape, strict=True))
    dense = 1
    for stride, size in sizes:
        if size > 1 and stride != dense:
            return False
        dense *= size
    return current.shape[0] == 1 or current.stride(0) == current[0].numel()


def scan_compiled(
    neuron: ScanNeuron, current: Tensor, counts: Tensor | None, v: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run the compiled scan over [T, ...] currents; arguments and results as in `scan`."""
    spikes, potentials = _CompiledScan.apply(current, counts, v, neuron)  # type: ignore[no-untyped-call]
    return spikes, potentials


class _CompiledScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, counts: Tensor | None, v: Tensor | None, neuron: ScanNeuron
    ) -> tuple[Tensor, Tensor]:
        from chiploop._core import scan_forward

        ctx.set_materialize_grads(False)
        current = current.detach()
        before, after = torch.empty_like(current), torch.empty_like(current)
        spikes = torch.empty_like(current) if counts is None else None
        scan_forward(
            neuron,
            current=_flat(current),
            v_seen=None if v is None else _flat(_laid_out_as(current, v)),
            before=_flat(before),
            spikes=None if spikes is None else _flat(spikes),
            after=_flat(after),
            steps=len(current),
            threads=torch.get_num_threads(),
        )
        ctx.save_for_backward(before)
        ctx.neuron = neuron
        if spikes is not None:
            return spikes, after
        assert counts is not None
        return counts.to(current.dtype).clone(), after

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, None, None, None]:
        from chiploop._core import scan_backward

        (before,) = ctx.saved_tensors
        grad_spikes, grad_v = gradients
        grad_current = torch.empty_like(before)
        scan_backward(
            ctx.neuron,
            before=_flat(before),
            grad_spikes=_flat(torch.zeros_like(before) if grad_spikes is None else _laid_out_as(before, grad_spikes)),
            grad_v=None if grad_v is None else _flat(_laid_out_as(before, grad_v)),
            grad_current=_flat(grad_current),
            steps=len(before),
            threads=torch.get_num_threads(),
        )
        return grad_current, None, None, None


def _laid_out_as(model: Tensor, x: Tensor) -> Tensor:
    """Return x with the memory layout of `model`, copied only where it differs."""
    x = x.detach()
    if x.dtype == model.dtype and x.stride() == model.stride():
        return x
    return torch.empty_like(model).copy_(x)


def _flat(x: Tensor) -> Tensor:
    """Return the memory of a dense tensor as one axis."""
    return x.as_strided((x.numel(),), (1,))
