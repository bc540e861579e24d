"""From the layers of another library to a network: shapes worked out, average pooling folded into weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import SpecError
from chiploop.spec.graph import INPUT, Edge, LayerSpec, NetworkSpec, NeuronSpec
from chiploop.spec.ops import Flatten, Op, Shape, SumPool

Divisor = NDArray[np.int64]
"""By channel: the number that the sums on their way must still be divided by to be the averages that were meant."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RawLayer:
    """A layer before its input shape is known; `averages` says that a SumPool stands for an average."""

    name: str
    op: Op
    weight: NDArray[Any] | None = None
    bias: NDArray[Any] | None = None
    neuron: NeuronSpec | None = None
    averages: bool = False


def assemble(
    layers: Sequence[RawLayer],
    edges: Sequence[Edge],
    *,
    input_shape: Shape,
    dt_us: int | None = None,
    clock_us: int | None = None,
) -> tuple[NetworkSpec, tuple[str, ...]]:
    """Return the network of layers in data-flow order, and a line for each thing that was changed on the way.

    Average pooling by k becomes sum pooling, and the next weights are divided by k^2. Weights become float32; what
    that rounds is said. Raises SpecError where averages and sums meet in one channel, or where none but a neuron or
    the output follows an average.
    """
    shapes: dict[str, Shape] = {INPUT: input_shape}
    divisors: dict[str, Divisor] = {INPUT: np.ones(input_shape[0], np.int64)}
    built: list[LayerSpec] = []
    notes: list[str] = []
    for raw in layers:
        heard = [edge for edge in edges if edge.target == raw.name]
        in_shape = _in_shape(raw.name, heard, shapes)
        divisor = _incoming(raw.name, heard, divisors, in_shape[0])
        weight = None if raw.weight is None else _weight(raw, divisor, notes)
        bias = None if raw.bias is None else _float32(raw.name, "bias", raw.bias, notes)
        try:
            layer = LayerSpec(name=raw.name, op=raw.op, weight=weight, neuron=raw.neuron, in_shape=in_shape, bias=bias)
            shapes[raw.name] = layer.out_shape
        except SpecError as error:
            named = str(error).startswith("layer ")
            raise SpecError(str(error) if named else f"layer {raw.name!r}: {error}") from error
        built.append(layer)
        divisors[raw.name] = _outgoing(raw, divisor, in_shape, shapes[raw.name], notes)
    if np.any(divisors[built[-1].name] != 1):
        raise SpecError(f"layer {built[-1].name!r}: no weights follow the average pooling that could be divided")
    network = NetworkSpec(
        layers=tuple(built), edges=tuple(edges), input_shape=input_shape, dt_us=dt_us, clock_us=clock_us
    )
    return network, tuple(notes)


def _in_shape(name: str, heard: Sequence[Edge], shapes: Mapping[str, Shape]) -> Shape:
    """Return the shape that the sources fill together; NetworkSpec judges later whether they fit."""
    known = [edge for edge in heard if edge.source in shapes]
    if not known:
        raise SpecError(f"layer {name!r} has no edge that leads to it from the input or from a layer before it")
    channels = max(edge.shift + shapes[edge.source][0] for edge in known)
    return (channels, *shapes[known[0].source][1:])


def _incoming(name: str, heard: Sequence[Edge], divisors: Mapping[str, Divisor], channels: int) -> Divisor:
    divisor, taken = np.ones(channels, np.int64), np.zeros(channels, bool)
    for edge in heard:
        if edge.source not in divisors:
            continue
        here = slice(edge.shift, edge.shift + len(divisors[edge.source]))
        if np.any(taken[here] & (divisor[here] != divisors[edge.source])):
            raise SpecError(
                f"layer {name!r}: {edge.source!r} joins it by average pooling of another size than the other sources; "
                "its weights cannot be divided for all of them: make the pools equal, or sum instead of averaging"
            )
        divisor[here], taken[here] = divisors[edge.source], True
    return divisor


def _outgoing(raw: RawLayer, divisor: Divisor, in_shape: Shape, out_shape: Shape, notes: list[str]) -> Divisor:
    if raw.weight is not None:
        return np.ones(out_shape[0], np.int64)
    if isinstance(raw.op, SumPool) and raw.averages:
        notes.append(f"{raw.name}: average pooling by {raw.op.size} became sum pooling")
        divisor = divisor * raw.op.size**2
    if isinstance(raw.op, Flatten):
        divisor = np.repeat(divisor, prod(in_shape[1:]))
    return divisor


def _weight(raw: RawLayer, divisor: Divisor, notes: list[str]) -> NDArray[np.float32]:
    assert raw.weight is not None
    weight = _float32(raw.name, "weight", raw.weight, notes)
    if np.all(divisor == 1) or weight.ndim < 2 or weight.shape[1] != len(divisor):  # LayerSpec reports a wrong shape
        return weight
    factors = sorted({int(d) for d in divisor if d != 1})
    notes.append(f"{raw.name}: weights behind average pooling were divided by {', '.join(map(str, factors))}")
    divided: NDArray[np.float32] = weight / divisor.astype(np.float32).reshape(1, -1, *(1,) * (weight.ndim - 2))
    return divided


def _float32(name: str, field: str, array: NDArray[Any], notes: list[str]) -> NDArray[np.float32]:
    given = np.asarray(array)
    with np.errstate(over="ignore"):
        rounded = given.astype(np.float32)
    lost = rounded != given
    lost &= ~np.isnan(given)
    if np.any(lost):
        worst = float(np.max(np.abs(rounded[lost].astype(np.float64) - given[lost])))
        notes.append(
            f"{name}: {int(np.count_nonzero(lost))} values of its {field} were rounded to float32, by {worst:.2g}"
        )
    return rounded
