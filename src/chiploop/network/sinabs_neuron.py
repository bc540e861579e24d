"""The neurons of sinabs, as neurons here."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from chiploop.errors import SpecError
from chiploop.spec.graph import NeuronSpec

NEURONS = ("IAF", "IAFSqueeze", "LIF", "LIFSqueeze")


def refuse(path: str, module: Any, why: str) -> SpecError:
    """Return the error that names a module and says why it cannot be carried over."""
    return SpecError(f"module {path!r} ({type(module).__name__}): {why}")


def neuron_of(path: str, module: Any, dt_us: int | None, notes: list[str]) -> NeuronSpec:
    """Return an IAF or LIF as a neuron here; its spikes are the same, step by step.

    sinabs clamps at min_v_mem after the reset, a neuron here before it fires; since v_min <= 0 < v_th, both are one.
    A LIF with norm_input=False adds currents whole, which are here multiplied by 1 - exp(-dt / tau): its threshold
    and floor are multiplied by that instead. Raises SpecError with the module's path and class.
    """
    if getattr(module, "tau_syn", None) is not None or getattr(module, "alpha_syn", None) is not None:
        raise refuse(path, module, "tau_syn: synapses here keep no current from step to step")
    v_th = _number(path, module, "spike_threshold")
    v_min = _number(path, module, "min_v_mem")
    if v_th is None or not v_th > 0:
        raise refuse(path, module, f"spike_threshold {v_th} must be positive")
    if v_min is not None and v_min > 0:
        raise refuse(path, module, f"min_v_mem {v_min:g} must be at most 0")
    per_step = _spikes_per_step(path, module)
    reset = _reset(path, module, v_th)
    state = getattr(module, "v_mem", None)
    if state is not None and bool((state != 0).any()):
        notes.append(f"{path}: its present potentials are not carried over; a network here begins at 0")
    if type(module).__name__.startswith("IAF"):
        return NeuronSpec(kind="if", v_th=v_th, v_min=v_min, reset=reset, spikes_per_step=per_step)
    tau_us = _tau_us(path, module, dt_us)
    leaky = NeuronSpec(kind="lif", v_th=v_th, v_min=v_min, reset=reset, spikes_per_step=per_step, tau_us=tau_us)
    if module.norm_input:
        return leaky
    assert dt_us is not None  # tau_us needed it
    gain = leaky.gain(dt_us)
    notes.append(
        f"{path}: norm_input is off, so threshold and floor were multiplied by 1 - exp(-dt / tau) = {gain:.6g}"
    )
    return NeuronSpec(
        kind="lif",
        v_th=v_th * gain,
        v_min=None if v_min is None else v_min * gain,
        reset=reset,
        spikes_per_step=per_step,
        tau_us=tau_us,
    )


def _number(path: str, module: Any, name: str) -> float | None:
    """Return a parameter that is one number for all neurons, or None where there is none."""
    value = getattr(module, name)
    if value is None:
        return None
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, np.float64)
    if array.size == 0 or not np.isfinite(array).all():
        raise refuse(path, module, f"{name} must hold finite numbers")
    low, high = float(array.min()), float(array.max())
    if low != high:
        raise refuse(path, module, f"{name} runs from {low:g} to {high:g}; the neurons of a layer here share one")
    return low


def _spikes_per_step(path: str, module: Any) -> Literal["one", "all"]:
    fire = module.spike_fn
    name = getattr(fire, "__name__", type(fire).__name__)
    most = getattr(fire, "max_num_spikes_per_bin", None)
    if name == "MultiSpike" or (name == "MaxSpike" and most is None):
        return "all"
    if name == "SingleSpike" or (name == "MaxSpike" and most == 1):
        return "one"
    shown = f"{name}({most})" if name == "MaxSpike" else name
    raise refuse(
        path, module, f"spike_fn {shown}; neurons here fire once a step (SingleSpike) or all they can (MultiSpike)"
    )


def _reset(path: str, module: Any, v_th: float) -> Literal["subtract", "zero"]:
    reset = module.reset_fn
    name = type(reset).__name__
    if name == "MembraneSubtract" and (reset.subtract_value is None or float(reset.subtract_value) == v_th):
        return "subtract"
    if name == "MembraneReset" and float(reset.reset_value) == 0.0:
        return "zero"
    value = getattr(reset, "subtract_value", getattr(reset, "reset_value", None))
    shown = name if value is None else f"{name}({value})"
    raise refuse(path, module, f"reset_fn {shown}: neurons here lose their threshold, or all they have")


def _tau_us(path: str, module: Any, dt_us: int | None) -> float:
    if dt_us is None:
        raise refuse(path, module, "tau_mem counts time steps: give their length as dt_us")
    if getattr(module, "train_alphas", False):
        alpha = _number(path, module, "alpha_mem")
        steps = math.nan if alpha is None or not 0 < alpha < 1 else -1.0 / math.log(alpha)
    else:
        steps = _number(path, module, "tau_mem") or math.nan
    if not (math.isfinite(steps) and steps > 0):
        raise refuse(path, module, f"tau_mem of {steps} steps must be positive and finite")
    return steps * dt_us
