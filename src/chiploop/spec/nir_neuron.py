"""NIR's neurons, as neurons here."""

from __future__ import annotations

from typing import Any

import numpy as np

from chiploop.errors import SpecError
from chiploop.spec.graph import NeuronSpec
from chiploop.spec.nir_format import METADATA, Assume, read_notes
from chiploop.spec.nir_graph import kind
from chiploop.spec.nir_operation import numbers
from chiploop.spec.ops import Shape

_FIELDS = {"IF": ("r", "v_threshold", "v_reset"), "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset")}


def neuron_of(name: str, node: Any, assume: Assume, assumed: list[str], changed: list[str]) -> NeuronSpec:
    """Return an IF or LIF as a neuron here.

    With a resistance r, r v' is NIR's potential: the threshold is divided by r, and every spike stays what it was.
    Raises SpecError, with the node's name, where a parameter differs from neuron to neuron, or v_reset or v_leak is
    not zero.
    """
    value = {field: _uniform(name, field, getattr(node, field)) for field in _FIELDS[kind(node)]}
    for field in ("v_reset", "v_leak"):
        if value.get(field, 0.0) != 0.0:
            raise SpecError(f"node {name!r}: {field} = {value[field]:g}; potentials here rest at, and are reset to, 0")
    for field in ("r", "v_threshold"):
        if value[field] <= 0.0:
            raise SpecError(f"node {name!r}: {field} = {value[field]:g} must be positive")
    notes = read_notes(node)
    v_th = value["v_threshold"]
    if value["r"] != 1.0:
        v_th /= value["r"]
        changed.append(f"{name}: v_threshold {value['v_threshold']:g} was divided by r = {value['r']:g}")
    for field in ("reset", "spikes_per_step"):
        if field not in notes:
            assumed.append(f"{name}: {field} {getattr(assume, field)!r}; the file does not say")
    try:
        return NeuronSpec(
            kind="if" if kind(node) == "IF" else "lif",
            v_th=v_th,
            v_min=_noted_float(name, notes, "v_min"),
            reset=notes.get("reset", assume.reset),
            spikes_per_step=notes.get("spikes_per_step", assume.spikes_per_step),
            tau_us=_tau_us(name, value, notes, assume, assumed) if kind(node) == "LIF" else None,
        )
    except SpecError as error:
        raise SpecError(f"node {name!r}: {error}") from error


def require_neuron_shape(name: str, node: Any, shape: Shape) -> None:
    """Raise SpecError unless a neuron's arrays are single numbers or have the shape of its layer's output."""
    for field in _FIELDS[kind(node)]:
        given = np.shape(getattr(node, field))
        bare = given[len(given) - len(shape) :] if set(given[: len(given) - len(shape)]) <= {1} else given
        if np.prod(given) != 1 and bare != shape:
            raise SpecError(f"node {name!r}: {field} has shape {given}; its layer gives {shape}")


def _uniform(name: str, field: str, array: Any) -> float:
    values = numbers(name, field, array)
    low, high = float(values.min()), float(values.max())
    if low != high:
        raise SpecError(
            f"node {name!r}: {field} runs from {low:g} to {high:g} (mean {float(values.mean()):g}, "
            f"{len(np.unique(values))} values); the neurons of a layer here share one: replace them by one number"
        )
    return low


def _tau_us(name: str, value: dict[str, float], notes: dict[str, Any], assume: Assume, assumed: list[str]) -> float:
    noted = _noted_float(name, notes, "tau_us")
    if noted is not None:
        return noted
    tau_us = value["tau"] * assume.tau_unit_us
    assumed.append(f"{name}: tau = {value['tau']:g} counts {assume.tau_unit_us:g} us: {tau_us:g} us")
    return tau_us


def _noted_float(name: str, notes: dict[str, Any], key: str) -> float | None:
    value = notes.get(key)
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise SpecError(f"node {name!r}: metadata {METADATA}.{key} is {value!r}, not a number")
    return None if value is None else float(value)
