"""Operations of a synchronous network: multiply-accumulates of a frame, accumulates of spikes, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chiploop.errors import DataError
from chiploop.measure.energy import Price, modelled_energy
from chiploop.measure.metric import METRICS, Metric, Where
from chiploop.spec.graph import INPUT, NetworkSpec
from chiploop.spec.ops import Conv, Linear, Op, Shape, SumPool

HOROWITZ = "paper: Horowitz 2014, ISSCC Dig. Tech. Papers, 10; rough energies at 45 nm and 0.9 V"
HOROWITZ_PJ = {
    "float32 multiply": 3.7,
    "float32 add": 0.9,
    "int8 multiply": 0.2,
    "int16 add": 0.05,
    "int32 add": 0.1,
}
"""Energy of one operation in pJ, arithmetic alone."""

Arithmetic = Literal["float32", "int8"]
_PARTS: dict[Arithmetic, dict[str, tuple[str, ...]]] = {
    "float32": {"macs": ("float32 multiply", "float32 add"), "acs": ("float32 add",), "updates": ("float32 add",)},
    # int8 weights: products into an int32 accumulator, or weights straight into an int16 state
    "int8": {"macs": ("int8 multiply", "int32 add"), "acs": ("int16 add",), "updates": ("int16 add",)},
}
_SINGULAR = {"macs": "multiply-accumulate", "acs": "accumulate", "updates": "neuron update"}


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Exact operations of n samples, by layer: totals, not means.

    `macs`: weight times activation, added. `acs`: a weight added because of a spike. `updates`: one neuron in one
    window, whether or not anything reached it. Adding two gives those of both sets of samples.
    """

    n: int
    macs: Mapping[str, int] = field(default_factory=dict)
    acs: Mapping[str, int] = field(default_factory=dict)
    updates: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n < 1:
            raise DataError(f"operations of {self.n} samples; there must be at least one")

    def __add__(self, other: Operations) -> Operations:
        kinds = [f.name for f in fields(self) if f.name != "n"]
        both = {kind: _added(getattr(self, kind), getattr(other, kind)) for kind in kinds}
        return Operations(n=self.n + other.n, **both)

    def totals(self) -> dict[str, int]:
        """Return the sum over layers of each kind that occurs."""
        kinds = ("macs", "acs", "updates")
        return {kind: sum(getattr(self, kind).values()) for kind in kinds if getattr(self, kind)}


def count_fan_in(op: Conv | Linear, in_shape: Shape) -> int:
    """Return the products that one frame takes: each output's inputs inside the map, so padding is not counted.

    >>> count_fan_in(Conv(channels=1, kernel=3, padding=1), (1, 2, 2))  # each of 4 outputs sees all 4 pixels
    16
    """
    if isinstance(op, Linear):
        return op.features * in_shape[0]
    rows, columns = (int(_covered(op, side).sum()) for side in in_shape[1:])
    return op.channels * in_shape[0] * rows * columns


def fan_out(op: Conv | Linear, in_shape: Shape) -> NDArray[np.int64]:
    """Return int64[in_shape]: how many neurons a spike at each address reaches.

    >>> fan_out(Conv(channels=2, kernel=3, padding=1), (1, 3, 3))[0].tolist()
    [[8, 12, 8], [12, 18, 12], [8, 12, 8]]
    """
    if isinstance(op, Linear):
        return np.full(in_shape, op.features, np.int64)
    rows, columns = (_covered(op, side) for side in in_shape[1:])
    return np.broadcast_to(op.channels * rows[:, None] * columns, in_shape).astype(np.int64)


def frame_operations(network: NetworkSpec, *, n: int = 1) -> Operations:
    """Return the multiply-accumulates of an analogue network on n frames; the additions of pools are not counted."""
    macs = {
        layer.name: n * count_fan_in(layer.op, layer.in_shape)
        for layer in network.layers
        if isinstance(layer.op, (Conv, Linear))
    }
    return Operations(n=n, macs=macs)


def window_operations(
    network: NetworkSpec, inputs: ArrayLike, spikes: Mapping[str, ArrayLike], *, n: int, n_windows: int
) -> Operations:
    """Return the accumulates and neuron updates of n samples in a network that computes window by window.

    `inputs` [..., *input_shape] are the events by address and `spikes[layer]` [..., *out_shape] each layer's spikes,
    before any pool; leading axes (windows, samples) are summed over, or have been. A neuron that spikes twice in a
    window costs its fan-out twice.
    """
    if n_windows < 1:
        raise DataError(f"n_windows = {n_windows} must be at least 1")
    heard = heard_counts(network, inputs, spikes)
    acs = {name: int((counts * fan_out(op, counts.shape)).sum()) for name, (op, counts) in heard.items()}
    updates = {layer.name: n * n_windows * math.prod(layer.out_shape) for layer in network.spiking}
    return Operations(n=n, acs=acs, updates=updates)


def heard_counts(
    network: NetworkSpec, inputs: ArrayLike, spikes: Mapping[str, ArrayLike]
) -> dict[str, tuple[Conv | Linear, NDArray[np.int64]]]:
    """Return, for each weighted layer, its operation and int64[in_shape]: the spikes that arrive at each address.

    Pools and Flatten pass spikes on, and edges into one layer join them, as on the chip.
    """
    sent: dict[str, NDArray[np.int64]] = {INPUT: _summed(INPUT, inputs, network.input_shape)}
    heard: dict[str, tuple[Conv | Linear, NDArray[np.int64]]] = {}
    for layer in network.layers:
        arriving = np.zeros(layer.in_shape, np.int64)
        for edge in network.sources(layer.name):
            source = sent[edge.source]
            arriving[edge.shift : edge.shift + len(source)] += source
        if isinstance(layer.op, (Conv, Linear)):
            heard[layer.name] = (layer.op, arriving)
            if layer.name in spikes:
                sent[layer.name] = _summed(layer.name, spikes[layer.name], layer.out_shape)
            elif any(edge.source == layer.name for edge in network.edges):
                raise DataError(f"no spikes of layer {layer.name!r}, which other layers hear")
        else:
            sent[layer.name] = _passed_on(layer.op, arriving)
    return heard


def operation_metrics(
    operations: Operations,
    *,
    arithmetic: Arithmetic,
    method: str | None = None,
    where: Where | None = None,
    seed: int | None = None,
) -> tuple[Metric, ...]:
    """Return the operations a sample, counted, and their energy, modelled from published costs of the arithmetic.

    "float32": 4.6 pJ a multiply-accumulate, 0.9 pJ an accumulate. "int8": 0.3 pJ (int8 product, int32 sum) and
    0.05 pJ (int16 sum). A neuron update is priced as one sum. No memory, clock or leakage is in these numbers.
    """
    totals = operations.totals()
    counted = tuple(
        Metric(
            name=f"{kind}_per_sample",
            value=total / operations.n,
            unit=METRICS.get(f"{kind}_per_sample").unit,
            how="counted",
            n=operations.n,
            method=method,
            where=where,
            seed=seed,
        )
        for kind, total in totals.items()
    )
    prices = {kind: _price(kind, arithmetic) for kind in totals}
    energy = modelled_energy(
        "operation_energy_per_sample",
        totals,
        prices,
        n=operations.n,
        method=method,
        where=where,
        seed=seed,
        note="arithmetic alone: no memory, no clock, no leakage",
    )
    return (*counted, energy)


def _price(kind: str, arithmetic: Arithmetic) -> Price:
    parts = _PARTS[arithmetic][kind]
    cost = round(sum(HOROWITZ_PJ[part] for part in parts), 6)
    return Price(what=f"{_SINGULAR[kind]} ({' + '.join(parts)})", low_pj=cost, high_pj=cost, source=HOROWITZ)


def _covered(op: Conv, side: int) -> NDArray[np.int64]:
    """int64[side]: how many output positions along one axis have the kernel over each input position."""
    out = (side + 2 * op.padding - op.kernel) // op.stride + 1
    positions = op.stride * np.arange(out)[:, None] + np.arange(op.kernel) - op.padding
    inside = positions[(positions >= 0) & (positions < side)]
    return np.bincount(inside, minlength=side).astype(np.int64)


def _passed_on(op: Op, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    if isinstance(op, SumPool):
        channels, height, width = op.out_shape(counts.shape)
        kept = counts[:, : height * op.size, : width * op.size]
        return np.asarray(kept.reshape(channels, height, op.size, width, op.size).sum((2, 4)), np.int64)
    return counts.reshape(-1)


def _summed(name: str, values: ArrayLike, shape: Shape) -> NDArray[np.int64]:
    counts = np.asarray(values)
    as_map = (*shape, 1, 1)  # a device gives a vector as one pixel of many channels
    if len(shape) == 1 and counts.shape[-len(as_map) :] == as_map:
        counts = counts.reshape(counts.shape[: -len(as_map)] + shape)
    if counts.shape[counts.ndim - len(shape) :] != shape:
        raise DataError(f"spikes of {name!r} have shape {counts.shape}; the last axes must be {shape}")
    if counts.dtype.kind == "f" and not (counts == np.floor(counts)).all():
        raise DataError(f"spikes of {name!r} are no whole numbers; an analogue network has no spikes to count")
    if counts.size and counts.min() < 0:
        raise DataError(f"spikes of {name!r} are negative")
    whole = counts.astype(np.int64)  # before the sum: float32 counts to 2^24 only
    return np.asarray(whole.reshape(-1, *shape).sum(0), np.int64)


def _added(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}
