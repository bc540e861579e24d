"""Where two networks differ."""

from __future__ import annotations

from dataclasses import fields
from itertools import zip_longest
from typing import Any

import numpy as np

from chiploop.spec.graph import LayerSpec, NetworkSpec


def compare(one: NetworkSpec, other: NetworkSpec) -> tuple[str, ...]:
    """Return a line for each thing in which two networks differ, none for equal ones; layers are taken in their order.

    >>> import dataclasses
    >>> from chiploop.rng import stream
    >>> from chiploop.spec import NeuronSpec
    >>> from chiploop.spec.notation import parse_notation
    >>> net = parse_notation("4c3p1-P2-10", (2, 34, 34), NeuronSpec(), stream(0, "weights"))
    >>> compare(net, dataclasses.replace(net, dt_us=1_000))
    ('dt_us: None and 1000',)
    """
    lines = [
        f"{name}: {getattr(one, name)} and {getattr(other, name)}"
        for name in ("input_shape", "dt_us", "clock_us")
        if getattr(one, name) != getattr(other, name)
    ]
    if len(one.layers) != len(other.layers):
        lines.append(f"layers: {len(one.layers)} and {len(other.layers)}")
    for a, b in zip_longest(one.layers, other.layers):
        if a is not None and b is not None:
            lines += _layers(a, b)
    renamed = dict(zip((layer.name for layer in other.layers), (layer.name for layer in one.layers), strict=False))
    there = {(renamed.get(e.source, e.source), renamed.get(e.target, e.target), e.shift) for e in other.edges}
    here = {(e.source, e.target, e.shift) for e in one.edges}
    lines += [f"edge {a!r} -> {b!r} (shift {shift}): in the first only" for a, b, shift in sorted(here - there)]
    lines += [f"edge {a!r} -> {b!r} (shift {shift}): in the second only" for a, b, shift in sorted(there - here)]
    return tuple(lines) if lines or one == other else ("the order of the edges",)


def _layers(a: LayerSpec, b: LayerSpec) -> list[str]:
    lines = [
        f"{a.name}: {name} {getattr(a, name)} and {getattr(b, name)}"
        for name in ("name", "op", "in_shape")
        if getattr(a, name) != getattr(b, name)
    ]
    for name in ("weight", "bias"):
        lines += _arrays(f"{a.name}: {name}", getattr(a, name), getattr(b, name))
    if a.neuron is None or b.neuron is None:
        if a.neuron is not b.neuron:
            lines.append(f"{a.name}: a neuron in the {'first' if b.neuron is None else 'second'} only")
        return lines
    for f in fields(a.neuron):
        x, y = getattr(a.neuron, f.name), getattr(b.neuron, f.name)
        if x != y:
            lines.append(f"{a.name}: neuron.{f.name} {x!r} and {y!r}")
    return lines


def _arrays(where: str, x: Any, y: Any) -> list[str]:
    if x is None or y is None:
        return [] if x is y else [f"{where} in the {'first' if y is None else 'second'} only"]
    if x.shape != y.shape:
        return [f"{where} has shape {x.shape} and {y.shape}"]
    unequal = x.view(np.int32) != y.view(np.int32)  # by bits, as digests are
    if not unequal.any():
        return []
    return [f"{where} differs in {int(unequal.sum())} of {x.size} values, by up to {float(np.abs(x - y).max()):.3g}"]
