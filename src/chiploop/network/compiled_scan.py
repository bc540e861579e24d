"""The scan of a neuron layer in the compiled core: every array read or written once, on torch's number of threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chiploop.network.surrogate import Exponential, FastSigmoid, Rectangle, Surrogate, Triangle
from chiploop.spec.graph import NeuronSpec

if TYPE_CHECKING:
    from chiploop._core import ScanNeuron

MAP_AXES = 5
"""Axes of maps over time: T, B, C, H, W."""


def can_compile(current: Tensor) -> bool:
    """Whether the core takes this tensor: float32 or counts, on a processor, dense, with time its slowest axis."""
    if current.dtype not in (torch.float32, torch.uint16) or current.device.type != "cpu" or current.numel() == 0:
        return False
    sizes = sorted(zip(current.stride(), current.shape, strict=True))
    dense = 1
    for stride, size in sizes:
        if size > 1 and stride != dense:
            return False
        dense *= size
    return current.shape[0] == 1 or current.stride(0) == current[0].numel()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledScan:
    """What one scan is to do.

    `v_unit`: of observed potentials that are whole numbers. `pool`: side of the squares whose spikes are summed before
    they go on. `potentials`: whether they are wanted. `overwrite`: whether the currents may be used up, which saves an
    array of their size.
    """

    neuron: ScanNeuron
    v_unit: float = 1.0
    pool: int = 1
    potentials: bool = True
    overwrite: bool = False

    def squares(self, current: Tensor) -> tuple[int, int, int, int] | None:
        """Return the core's form of the pool on [T, B, C, H, W] currents."""
        return None if self.pool == 1 else (self.pool, *current.shape[3:5], current.shape[2])

    def empty_sent(self, current: Tensor) -> Tensor:
        """Return room for what goes on, laid out as the currents are."""
        if self.pool == 1:
            return torch.empty_like(current, dtype=torch.float32)
        steps, batch, channels, height, width = current.shape
        shape = (steps * batch, channels, height // self.pool, width // self.pool)
        frames = torch.empty(shape, dtype=torch.float32, memory_format=torch.channels_last)
        sent: Tensor = frames.unflatten(0, (steps, batch))  # type: ignore[no-untyped-call]
        return sent


def compiled_scan(
    spec: NeuronSpec, surrogate: Surrogate, *, keep: float, gain: float, **how: Any
) -> CompiledScan | None:
    """Return a scan of these neurons, or None where the core has none: a surrogate of a user's own, or no core built.

    `how` are the fields of `CompiledScan` but for the neuron.
    """
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
    neuron = ScanNeuron(
        keep=keep,
        gain=gain,
        v_th=spec.v_th,
        v_min=spec.v_min,
        reset_to_zero=spec.reset == "zero",
        all_spikes=spec.spikes_per_step == "all",
        slope=slope,
        shape=shape,
    )
    return CompiledScan(neuron=neuron, **how)


def can_pool(current: Tensor) -> bool:
    """Whether the core sums squares of these currents: maps with their channels last in memory."""
    return current.dim() == MAP_AXES and current.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def scan_compiled(
    call: CompiledScan, current: Tensor, counts: Tensor | None, v: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Run the compiled scan over [T, ...] currents; return what goes on, and potentials where they are wanted.

    Observed counts are float32 or uint16, potentials float32, or int16 in units of `v_unit`.
    """
    given = _observed(current, counts, torch.uint16), _observed(current, v, torch.int16)
    sent, potentials = _CompiledScan.apply(current, *given, call)  # type: ignore[no-untyped-call]
    return sent, potentials


class _CompiledScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, counts: Tensor | None, v: Tensor | None, call: CompiledScan
    ) -> tuple[Tensor, Tensor | None]:
        from chiploop._core import scan_forward

        ctx.set_materialize_grads(False)
        current = current.detach()
        before = current if call.overwrite else torch.empty_like(current)
        after = torch.empty_like(current) if call.potentials else None
        whole = v is not None and v.dtype == torch.int16
        # The core takes counts as whole numbers; others go on as they are.
        as_given = counts is not None and counts.dtype != torch.uint16
        sent = counts.to(current.dtype).clone() if counts is not None and as_given else call.empty_sent(current)
        scan_forward(
            call.neuron,
            current=flat(current),
            v_seen=None if v is None or whole else flat(v),
            before=flat(before),
            spikes=None if as_given else flat(sent),
            after=None if after is None else flat(after),
            v_levels=flat(v) if v is not None and whole else None,
            v_unit=call.v_unit,
            counts_seen=None if counts is None or as_given else flat(counts),
            pool=None if as_given else call.squares(current),
            steps=len(current),
            threads=torch.get_num_threads(),
        )
        ctx.save_for_backward(before)
        ctx.call = call
        return sent, after

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, None, None, None]:
        from chiploop._core import scan_backward

        (before,) = ctx.saved_tensors
        grad_sent, grad_v = gradients
        grad_current = torch.empty_like(before)
        call: CompiledScan = ctx.call
        if grad_sent is not None:
            grad_sent = _laid_out_as(before if call.pool == 1 else call.empty_sent(before), grad_sent)
        scan_backward(
            call.neuron,
            before=flat(before),
            grad_spikes=None if grad_sent is None else flat(grad_sent),
            grad_v=None if grad_v is None else flat(_laid_out_as(before, grad_v)),
            grad_current=flat(grad_current),
            v_levels=None,
            v_unit=1.0,
            counts_seen=None,
            pool=call.squares(before),
            steps=len(before),
            threads=torch.get_num_threads(),
        )
        return grad_current, None, None, None


def chip_scan_compiled(call: CompiledScan, current: Tensor, counts: Tensor, levels: Tensor) -> Tensor:
    """Return a chip's counts as they go on, with the gradient of the neurons at the chip's own potentials.

    current [T, ...] is never read, it only takes the gradient; counts uint16 and levels int16, in units of `v_unit`,
    are of its shape and laid out alike.
    """
    sent: Tensor = _ChipScan.apply(current, counts, levels, call)  # type: ignore[no-untyped-call]
    return sent


class _ChipScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, counts: Tensor, levels: Tensor, call: CompiledScan) -> Tensor:
        from chiploop._core import send_counts

        del current
        ctx.set_materialize_grads(False)
        sent = call.empty_sent(counts)
        send_counts(
            counts=flat(counts),
            sent=flat(sent),
            pool=call.squares(counts),
            steps=len(counts),
            threads=torch.get_num_threads(),
        )
        ctx.save_for_backward(counts, levels)
        ctx.call = call
        return sent

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        from chiploop._core import scan_backward

        (grad_sent,) = gradients
        if grad_sent is None:
            return None, None, None, None
        counts, levels = ctx.saved_tensors
        call: CompiledScan = ctx.call
        grad_current = torch.empty_like(counts, dtype=torch.float32)
        grad_sent = _laid_out_as(call.empty_sent(grad_current), grad_sent)
        scan_backward(
            call.neuron,
            before=None,
            grad_spikes=flat(grad_sent),
            grad_v=None,
            grad_current=flat(grad_current),
            v_levels=flat(levels),
            v_unit=call.v_unit,
            counts_seen=flat(counts),
            pool=call.squares(counts),
            steps=len(counts),
            threads=torch.get_num_threads(),
        )
        return grad_current, None, None, None


def _observed(current: Tensor, seen: Tensor | None, whole: torch.dtype) -> Tensor | None:
    """Return observed values laid out as the currents are, whole numbers if that is how they came, else floats."""
    if seen is None:
        return None
    dtype = whole if seen.dtype == whole else current.dtype
    if seen.dtype == dtype and seen.stride() == current.stride():
        return seen.detach()
    return torch.empty_like(current, dtype=dtype).copy_(seen.detach())


def _laid_out_as(model: Tensor, x: Tensor) -> Tensor:
    """Return x with the memory layout of `model`, copied only where it differs."""
    x = x.detach()
    if x.dtype == model.dtype and x.stride() == model.stride():
        return x
    return torch.empty_like(model).copy_(x)


def flat(x: Tensor) -> Tensor:
    """Return the memory of a dense tensor as one axis."""
    return x.as_strided((x.numel(),), (1,))
