"""A neuron layer over time: the plain loop, and one fused operation with a hand-written gradient.

`scan_plain` is the definition: `Neuron.step` in a loop, injection between steps, autograd for the rest. `scan` is what
training runs: the same numbers, with no graph inside and only what the gradient needs kept; on a processor in float32
it goes through the compiled core. Tests hold each against the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from chiploop.errors import TrainingError
from chiploop.network.compiled_scan import (
    CompiledScan,
    can_compile,
    can_pool,
    chip_scan_compiled,
    compiled_scan,
    scan_compiled,
)
from chiploop.network.inject import inject
from chiploop.network.neuron import make_neuron
from chiploop.network.spike import SpikesPerStep, count_spikes, surrogate_slope
from chiploop.network.surrogate import Surrogate
from chiploop.spec.graph import NeuronSpec


def scan_plain(
    spec: NeuronSpec,
    surrogate: Surrogate,
    current: Tensor,
    *,
    dt_us: int,
    counts: Tensor | None = None,
    v: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a neuron layer over [T, B, ...] currents, step by step; return its spikes and potentials.

    `counts` and `v`, where given, are observed elsewhere: every step's spikes and potential take the observed value,
    their gradients go to the modelled ones, and the next step goes on from the observed potential (Liu et al. 2024,
    eq. 3-9).
    """
    neuron = make_neuron(spec, surrogate)
    state = neuron.init(current[0])
    all_spikes, all_v = [], []
    for t in range(len(current)):
        s, state = neuron.step(state, current[t], dt_us=dt_us)
        if v is not None:
            state = state._replace(v=inject(state.v, v[t]))
        all_spikes.append(s if counts is None else inject(s, counts[t]))
        all_v.append(state.v)
    return torch.stack(all_spikes), torch.stack(all_v)


@dataclass(frozen=True, slots=True)
class _Constants:
    """One layer's neuron, as the fused scan needs it."""

    keep: float  # factor on the old potential
    gain: float  # factor on the current
    v_th: float
    v_min: float | None
    reset: Literal["subtract", "zero"]
    per_step: SpikesPerStep
    surrogate: Surrogate


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, counts: Tensor | None, v_seen: Tensor | None, c: _Constants
    ) -> tuple[Tensor, Tensor]:
        before = torch.empty_like(current)  # potential before floor and reset: all that the gradient needs
        spikes = torch.empty_like(current)
        after = torch.empty_like(current)
        v: Tensor | None = None
        for t in range(len(current)):
            torch.mul(current[t], c.gain, out=before[t])
            if v is not None:
                before[t].add_(v, alpha=c.keep)
            floored = before[t] if c.v_min is None else before[t].clamp(min=c.v_min)
            spikes[t] = count_spikes(floored, c.v_th, c.per_step)
            if c.reset == "subtract":
                torch.add(floored, spikes[t], alpha=-c.v_th, out=after[t])
            else:
                torch.mul(floored, spikes[t] == 0, out=after[t])
            if v_seen is not None:
                after[t] = v_seen[t]
            v = after[t]
        ctx.save_for_backward(before, spikes if c.reset == "zero" else None)
        ctx.constants = c
        return (spikes if counts is None else counts.to(spikes.dtype).clone()), after

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        before, spikes = ctx.saved_tensors
        return _gradient(before, spikes, gradients[0], gradients[1], ctx.constants), None, None, None


def _gradient(
    before: Tensor, spikes: Tensor | None, grad_spikes: Tensor, grad_v: Tensor | None, c: _Constants
) -> Tensor:
    """Return the gradient of the currents; `spikes` are needed for a reset to zero alone."""
    grad_current = torch.empty_like(before)
    carry = torch.zeros_like(before[0])
    for t in reversed(range(len(before))):
        if grad_v is not None:
            carry = carry + grad_v[t]
        floored = before[t] if c.v_min is None else before[t].clamp(min=c.v_min)
        slope = surrogate_slope(floored, c.v_th, c.per_step, c.surrogate)
        if c.reset == "subtract":
            # s leaves through v as well: d v / d before = 1 - v_th slope
            through_spike = torch.add(grad_spikes[t], carry, alpha=-c.v_th)
            direct = carry
        else:
            assert spikes is not None  # saved for such neurons
            through_spike = torch.addcmul(grad_spikes[t], carry * (spikes[t] <= 1), floored, value=-1.0)
            direct = carry * (spikes[t] == 0)
        grad_before = torch.addcmul(direct, through_spike, slope)
        if c.v_min is not None:
            grad_before.mul_(before[t] >= c.v_min)
        torch.mul(grad_before, c.gain, out=grad_current[t])
        carry = grad_before.mul_(c.keep) if c.keep != 1.0 else grad_before
    return grad_current


def scan(
    spec: NeuronSpec,
    surrogate: Surrogate,
    current: Tensor,
    *,
    dt_us: int,
    counts: Tensor | None = None,
    v: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a neuron layer over [T, B, ...] currents in one fused operation; the same numbers as `scan_plain`.

    Only the potentials before floor and reset are kept for the backward pass (and the spikes, for a reset to zero).
    Below the floor the gradient is 0, on it 1, as torch's clamp has it: a neuron at rest on a floor of 0 still learns.
    Raises TrainingError where observed values have another shape than the layer.
    """
    _require_shapes(current, counts, v)
    constants = _constants(spec, surrogate, dt_us)
    call = _compiled(spec, constants, current)
    if call is not None:
        sent, after = scan_compiled(call, current, counts, v)
        assert after is not None  # potentials are asked for by default
        return sent, after
    spikes, potentials = _Scan.apply(current, counts, v, constants)  # type: ignore[no-untyped-call]
    return spikes, potentials


def scan_sent(
    spec: NeuronSpec,
    surrogate: Surrogate,
    current: Tensor,
    *,
    dt_us: int,
    counts: Tensor | None = None,
    v: Tensor | None = None,
    v_unit: float = 1.0,
    pool: int = 1,
) -> Tensor:
    """Run a neuron layer over [T, B, ...] currents, and return only what it sends on; what training runs.

        sent = spikes of `scan`, over squares of `pool` by `pool` neurons summed up

    Observed values may be whole numbers as a chip gives them: counts uint16, potentials int16 in units of `v_unit`.
    The currents are used up: their memory holds, afterwards, what the gradient needs. No array of the layer's size is
    made besides, where the core is built and the maps have their channels last.
    """
    _require_shapes(current, counts, v)
    constants = _constants(spec, surrogate, dt_us)
    call = _compiled(spec, constants, current, v_unit=v_unit, potentials=False, overwrite=True)
    if call is not None and (pool == 1 or can_pool(current)) and (counts is None or counts.dtype == torch.uint16):
        return scan_compiled(replace(call, pool=pool), current, counts, v)[0]
    if counts is not None:
        counts = counts.to(current.dtype)
    if v is not None and not v.is_floating_point():
        v = v.to(current.dtype) * v_unit
    if call is not None:
        sent = scan_compiled(call, current, counts, v)[0]
    else:
        sent, _ = _Scan.apply(current, counts, v, constants)  # type: ignore[no-untyped-call]
    return sent if pool == 1 else sum_squares(sent.flatten(0, 1), pool).unflatten(0, current.shape[:2])  # type: ignore[no-untyped-call]


HELD = 0.5 + 1e-3
HELD_FLOAT = 1e-6
"""Levels above its floor at which a neuron of the chip still counts as held there; of real potentials, its share."""


def chip_sent(
    spec: NeuronSpec,
    surrogate: Surrogate,
    current: Tensor,
    *,
    dt_us: int,
    counts: Tensor,
    v: Tensor,
    v_unit: float = 1.0,
    pool: int = 1,
) -> Tensor:
    """Return a chip's counts as they go on; their gradient is that of neurons at the chip's own potentials.

        sent = counts, over squares of `pool` by `pool` neurons summed up
        potential before the reset, at which the surrogates stand: V[t] + v_th counts[t]

    V[t] is the potential that the chip ended step t with; what it spent on spikes, v_th each, it had before. The
    currents [T, ...] are not read: they take the gradient, and need never have been computed. A neuron that ended a
    step on a floor below 0 was held there, and learns nothing from it. Neurons that are reset by subtraction only:
    others do not tell what they had. counts and v as in `scan_sent`.
    """
    if spec.reset != "subtract":
        raise TrainingError("a reset to zero hides what a neuron had before it: let the model run forward")
    if spec.tau_us is not None:
        raise TrainingError("a leaky neuron has lost some of what it had before its spikes: let the model run forward")
    _require_shapes(current, counts, v)
    if spec.v_min is not None and spec.v_min < 0.0:
        # A chip's floor is its nearest whole level: half a level more covers it, and no other.
        above = -HELD_FLOAT * spec.v_min if v.is_floating_point() else HELD * v_unit
        spec = replace(spec, v_min=spec.v_min + above)
    constants = _constants(spec, surrogate, dt_us)
    whole = counts.dtype == torch.uint16 and v.dtype == torch.int16 and counts.stride() == v.stride()
    on_core = whole and current.dtype == torch.float32 and current.device == counts.device
    call = _compiled(spec, constants, counts, v_unit=v_unit) if on_core else None
    if call is not None and (pool == 1 or can_pool(counts)):
        return chip_scan_compiled(replace(call, pool=pool), current, counts, v)
    counts, v = counts.to(current), v.to(current) * (1.0 if v.is_floating_point() else v_unit)
    sent: Tensor = _ChipSent.apply(current, counts, v, constants)  # type: ignore[no-untyped-call]
    return sent if pool == 1 else sum_squares(sent.flatten(0, 1), pool).unflatten(0, current.shape[:2])  # type: ignore[no-untyped-call]


class _ChipSent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, counts: Tensor, v: Tensor, c: _Constants) -> Tensor:
        del current
        ctx.save_for_backward(torch.add(v, counts, alpha=c.v_th))
        ctx.constants = c
        return counts.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (before,) = ctx.saved_tensors
        return _gradient(before, None, gradients[0], None, ctx.constants), None, None, None


def sum_squares(x: Tensor, size: int) -> Tensor:
    """Return the sums over squares of [N, C, H, W]; linear, so that silent windows pass gradients too."""
    return F.avg_pool2d(x, size, divisor_override=1)


def _constants(spec: NeuronSpec, surrogate: Surrogate, dt_us: int) -> _Constants:
    keep, gain = 1.0, 1.0
    if spec.tau_us is not None:
        keep = math.exp(-dt_us / spec.tau_us)
        gain = 1.0 - keep
    return _Constants(keep, gain, spec.v_th, spec.v_min, spec.reset, spec.spikes_per_step, surrogate)


def _compiled(spec: NeuronSpec, c: _Constants, current: Tensor, **how: Any) -> CompiledScan | None:
    return compiled_scan(spec, c.surrogate, keep=c.keep, gain=c.gain, **how) if can_compile(current) else None


def _require_shapes(current: Tensor, counts: Tensor | None, v: Tensor | None) -> None:
    for name, seen in (("counts", counts), ("potentials", v)):
        if seen is not None and seen.shape != current.shape:
            raise TrainingError(f"observed {name} {tuple(seen.shape)} do not fit the layer's {tuple(current.shape)}")
