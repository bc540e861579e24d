"""The network as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chiploop.digest import ByContent, read_only
from chiploop.errors import SpecError, nearest
from chiploop.spec.ops import Conv, Linear, Op, Shape

INPUT = "input"
"""Name of the source of edges that come from outside."""


_CHOICES = {"kind": ("if", "lif"), "reset": ("subtract", "zero"), "spikes_per_step": ("one", "all")}


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronSpec:
    """A spiking neuron as data.

    kind "if": V <- V + z; "lif": V <- alpha V + (1 - alpha) z with alpha = exp(-dt / tau) (Liu et al. 2024, eq. 1, 2).
    It spikes where V >= v_th and then loses v_th ("subtract") or everything ("zero"); V never falls below `v_min`.
    `spikes_per_step`: "one" or "all" (floor(V / v_th)) for each step of the clock-driven model.
    """

    kind: Literal["if", "lif"] = "if"
    v_th: float = 1.0
    v_min: float | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    spikes_per_step: Literal["one", "all"] = "all"
    tau_us: float | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise SpecError(
                    f"neuron.{name} = {getattr(self, name)!r}: {nearest(str(getattr(self, name)), choices)}"
                )
        for name in ("v_th", "v_min", "tau_us"):  # as floats, so that 1 and 1.0 have one digest, as they are equal
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        if not (np.isfinite(self.v_th) and self.v_th > 0):
            raise SpecError(f"neuron.v_th = {self.v_th} must be positive and finite")
        if self.v_min is not None and not (np.isfinite(self.v_min) and self.v_min <= 0):
            raise SpecError(f"neuron.v_min = {self.v_min} must be finite and at most 0, or absent")
        if (self.kind == "lif") != (self.tau_us is not None):
            raise SpecError(
                f"neuron.tau_us = {self.tau_us} with kind {self.kind!r}: a 'lif' needs it, an 'if' has none"
            )
        if self.tau_us is not None and not self.tau_us > 0:
            raise SpecError(f"neuron.tau_us = {self.tau_us} must be positive")

    def keep(self, dt_us: int) -> float:
        """Factor on the potential over a step: exp(-dt / tau), 1 without leak."""
        return 1.0 if self.tau_us is None else math.exp(-dt_us / self.tau_us)

    def gain(self, dt_us: int) -> float:
        """Factor on the current of a step: 1 - exp(-dt / tau), 1 without leak."""
        return 1.0 if self.tau_us is None else -math.expm1(-dt_us / self.tau_us)


@dataclass(frozen=True, slots=True)
class Edge:
    """Spikes flow from `source` to `target` (layer names, or "input"); the source's channel c arrives at c + shift.

    Edges that lead to one layer merge: on the same channels their counts add up, on others they stand side by side.
    """

    source: str
    target: str
    shift: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise SpecError(f"edge {self.source!r} -> {self.target!r}: shift {self.shift} must be at least 0")


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerSpec(ByContent):
    """One operation, its weight, and the neuron that follows it, if any.

    `bias` float32[F] is clocked: every edge of the network's slow clock adds bias[f] to each neuron of channel f.
    """

    name: str
    op: Op
    weight: NDArray[np.float32] | None
    neuron: NeuronSpec | None
    in_shape: Shape
    bias: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", tuple(int(n) for n in self.in_shape))
        if self.op.has_weight != (self.weight is not None):
            raise SpecError(
                f"layer {self.name!r}: {type(self.op).__name__} {'needs a' if self.op.has_weight else 'has no'} weight"
            )
        if self.weight is not None:
            assert isinstance(self.op, (Conv, Linear))  # the operations that have one
            want = self.op.weight_shape(self.in_shape)
            object.__setattr__(self, "weight", _finite(self.name, "weight", self.weight, want))
        if self.bias is not None:
            object.__setattr__(self, "bias", _finite(self.name, "bias", self.bias, self.out_shape[:1]))
            if self.neuron is None:
                raise SpecError(f"layer {self.name!r}: a bias is added to potentials; give the layer a neuron")
        if self.neuron is not None and not self.op.has_weight:
            raise SpecError(f"layer {self.name!r}: a neuron follows a Conv or a Linear, not a {type(self.op).__name__}")

    @property
    def out_shape(self) -> Shape:
        """Shape of what the layer sends on."""
        return self.op.out_shape(self.in_shape)


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkSpec(ByContent):
    """The network as data: layers, edges, input shape; no torch, no free-form metadata.

    Names are unique; what its sources send fills a layer's input; layers stand in data-flow order. `dt_us` is the
    step of the clock it was trained on, absent for a network that knows no clock. `clock_us` is the period of the slow
    clock that adds biases (edges at 0, clock_us, 2 clock_us, ...).
    """

    layers: tuple[LayerSpec, ...]
    edges: tuple[Edge, ...]
    input_shape: Shape
    dt_us: int | None = None
    clock_us: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(int(n) for n in self.input_shape))
        if not self.layers:
            raise SpecError("a network needs at least one layer")
        if min(self.input_shape, default=0) < 1:
            raise SpecError(f"network.input_shape = {self.input_shape}: every size must be at least 1")
        if self.dt_us is not None and self.dt_us < 1:
            raise SpecError(f"network.dt_us = {self.dt_us} must be at least 1 us, or absent")
        self._check_clock()
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for layer in self.layers:
            if layer.name in shapes:
                raise SpecError(f"layer name {layer.name!r} is used twice")
            _require_filled(layer, self.sources(layer.name), shapes)
            shapes[layer.name] = layer.out_shape
        for edge in self.edges:
            if edge.target not in shapes or edge.target == INPUT:
                raise SpecError(f"edge {edge.source!r} -> {edge.target!r}: no such layer")

    def _check_clock(self) -> None:
        if self.clock_us is not None and self.clock_us < 1:
            raise SpecError(f"network.clock_us = {self.clock_us} must be at least 1 us, or absent")
        biased = [layer.name for layer in self.layers if layer.bias is not None]
        if biased and self.clock_us is None:
            raise SpecError(f"layer {biased[0]!r} has a bias, which a slow clock adds: give the network a clock_us")

    def sources(self, name: str) -> tuple[Edge, ...]:
        """Return the edges that lead to a layer, in the order in which their sources stand."""
        order = {layer.name: i for i, layer in enumerate(self.layers)}
        found = [edge for edge in self.edges if edge.target == name]
        return tuple(sorted(found, key=lambda edge: (order.get(edge.source, -1), edge.shift)))

    @property
    def spiking(self) -> tuple[LayerSpec, ...]:
        """Layers that end in a neuron, in data-flow order."""
        return tuple(layer for layer in self.layers if layer.neuron is not None)

    @property
    def out_shape(self) -> Shape:
        """Shape of the last layer's output."""
        return self.layers[-1].out_shape

    @property
    def is_chain(self) -> bool:
        """Whether every layer hears only the one before it."""
        names = (INPUT, *(layer.name for layer in self.layers))
        return self.edges == tuple(Edge(a, b) for a, b in pairwise(names))

    def layer(self, name: str) -> LayerSpec:
        """Return the layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise SpecError(f"no layer {name!r}; layers: {', '.join(layer.name for layer in self.layers)}")


def chain(
    layers: list[LayerSpec], *, input_shape: Shape, dt_us: int | None = None, clock_us: int | None = None
) -> NetworkSpec:
    """Return the network in which every layer hears the one before it."""
    names = (INPUT, *(layer.name for layer in layers))
    edges = tuple(Edge(a, b) for a, b in pairwise(names))
    return NetworkSpec(layers=tuple(layers), edges=edges, input_shape=input_shape, dt_us=dt_us, clock_us=clock_us)


def _require_filled(layer: LayerSpec, edges: tuple[Edge, ...], shapes: Mapping[str, Shape]) -> None:
    """Raise unless the layer's sources stand before it and together fill the input it expects."""
    if not edges:
        raise SpecError(f"layer {layer.name!r} has no edge that leads to it")
    highest = 0
    for edge in edges:
        if edge.source not in shapes:
            raise SpecError(f"edge {edge.source!r} -> {edge.target!r}: the source must stand before the target")
        channels, *size = shapes[edge.source]
        highest = max(highest, edge.shift + channels)
        if tuple(size) != layer.in_shape[1:] or edge.shift + channels > layer.in_shape[0]:
            at = f" at channel {edge.shift}" if edge.shift else ""
            raise SpecError(
                f"layer {layer.name!r} expects input {layer.in_shape}, but {edge.source!r} gives "
                f"{shapes[edge.source]}{at}"
            )
    if highest != layer.in_shape[0]:
        raise SpecError(
            f"layer {layer.name!r} expects {layer.in_shape[0]} channels, but its sources fill only {highest}"
        )


def _finite(layer: str, field: str, array: NDArray[np.float32], want: Shape) -> NDArray[np.float32]:
    array = np.asarray(array)
    if array.shape != want:
        raise SpecError(f"layer {layer!r}: {field} has shape {array.shape}, expected {want}")
    bad = ~np.isfinite(array)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise SpecError(f"layer {layer!r}: {field}{list(at)} is {array[at]}; weights must be finite numbers")
    return read_only(array, np.float32)
