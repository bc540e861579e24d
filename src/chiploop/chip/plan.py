"""A network folded into cores: what each core would have to hold, before any chip is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chiploop.events.types import SensorShape
from chiploop.quantize.scheme import QuantSpec
from chiploop.spec.graph import INPUT, LayerSpec, NetworkSpec, NeuronSpec
from chiploop.spec.ops import Conv, Linear, Op, Shape, SumPool

MAP_AXES = 3


@dataclass(frozen=True, slots=True)
class PlanTarget:
    """A layer that hears a core: through windows of `pool` x `pool`, the core's channel c as channel c + shift."""

    layer: str
    pool: int = 1
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What arrives from one core (or the input): its map, and at which channel it begins (None: inside a channel)."""

    source: str
    height: int
    width: int
    shift: int | None


@dataclass(frozen=True, kw_only=True)
class CorePlan:
    """One weighted layer with the pools that follow it, as a convolution.

    A Linear layer is a convolution whose kernel covers the whole map it hears. `pools` are the products of the pools'
    sizes on every way out of the core, also the way out of the network. `heard` are the maps of its sources as they
    arrive; a core can merge them where all but their channels agree.
    """

    layer: str
    fully_connected: bool
    in_shape: SensorShape
    kernel: tuple[int, int]
    stride: int
    padding: int
    neuron_shape: SensorShape
    neuron: NeuronSpec | None
    has_bias: bool
    targets: tuple[PlanTarget, ...]
    pools: tuple[int, ...]
    heard: tuple[Heard, ...]

    @property
    def pool(self) -> int:
        """The pooling that all ways share: the smallest of `pools`."""
        return min(self.pools, default=1)

    @property
    def bias_words(self) -> int:
        """Bias memory taken: one word a channel, where there is a bias."""
        return self.neuron_shape.channels if self.has_bias else 0

    @property
    def kernel_words(self) -> int:
        """Kernel memory taken: c 2^(ceil log2(kx ky) + ceil log2 f) words (address fields are whole bits)."""
        kx, ky = self.kernel
        return self.in_shape.channels << (ceil_log2(kx * ky) + ceil_log2(self.neuron_shape.channels))

    @property
    def neuron_words(self) -> int:
        """Neuron memory taken: f 2^(ceil log2 fy + ceil log2 fx) words."""
        features, height, width = self.neuron_shape
        return features << (ceil_log2(height) + ceil_log2(width))

    @property
    def out_features(self) -> int:
        """Number of addresses the core sends events from, after pooling."""
        features, height, width = self.neuron_shape
        return features * max(1, height // self.pool) * max(1, width // self.pool)


@dataclass(frozen=True, kw_only=True)
class Design:
    """A network, the plans it folds into, and, when it is quantised, its integers' sizes.

    `inputs`: the plans that hear the input. `ends`: what reaches the network's end, from which plan (or the input).
    `early_pools`: the pools that hear the input itself, which no core can carry. `thresholds` and
    `biases`: the largest magnitude of each layer.
    """

    network: NetworkSpec
    plans: tuple[CorePlan, ...]
    inputs: tuple[PlanTarget, ...] = ()
    ends: tuple[Heard, ...] = ()
    early_pools: tuple[str, ...] = ()
    weight_bits: int | None = None
    thresholds: Mapping[str, int] | None = None
    biases: Mapping[str, int] | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The plans (or the input) whose events reach the network's end."""
        return tuple(dict.fromkeys(one.source for one in self.ends))


def design(network: NetworkSpec | QuantSpec) -> Design:
    """Return the design of a network, or of a network in integers."""
    if isinstance(network, NetworkSpec):
        return _fold(network)
    return dataclasses.replace(
        _fold(network.base),
        weight_bits=network.scheme.bits,
        thresholds={layer.name: layer.threshold for layer in network.layers},
        biases={layer.name: int(np.abs(layer.bias).max()) for layer in network.layers if layer.bias is not None},
    )


def fold(network: NetworkSpec) -> tuple[CorePlan, ...]:
    """Return one plan for each Conv or Linear; pools and Flatten go to the layers they follow.

    Folding never fails: what no core can do (a pool before any weights, maps that do not merge) is for the design
    rules to report.
    """
    return _fold(network).plans


@dataclass(frozen=True, slots=True)
class _Way:
    """How events of a core (or the input) reach a place of the network, and the map they make there, unflattened."""

    owner: str
    height: int
    width: int
    pool: int = 1
    shift: int | None = 0  # in channels; None: inside a channel

    @property
    def heard(self) -> Heard:
        return Heard(self.owner, self.height, self.width, self.shift)


def _fold(network: NetworkSpec) -> Design:
    shapes: dict[str, Shape] = {INPUT: network.input_shape}
    ways: dict[str, tuple[_Way, ...]] = {INPUT: (_Way(INPUT, *as_map(network.input_shape)[1:]),)}  # out of each layer
    into: dict[str, tuple[_Way, ...]] = {}
    for layer in network.layers:
        into[layer.name] = arriving = tuple(
            _shifted(way, edge.shift, flat=len(shapes[edge.source]) == 1)
            for edge in network.sources(layer.name)
            for way in ways[edge.source]
        )
        shapes[layer.name] = layer.out_shape
        if layer.op.has_weight:
            ways[layer.name] = (_Way(layer.name, *as_map(layer.out_shape)[1:]),)
        else:
            ways[layer.name] = tuple(_pooled(way, layer.op) for way in arriving)
    weighted = [layer for layer in network.layers if layer.op.has_weight]
    links: dict[str, list[PlanTarget]] = {INPUT: [], **{layer.name: [] for layer in weighted}}
    for layer in weighted:
        for way in into[layer.name]:
            links[way.owner].append(PlanTarget(layer.name, way.pool, way.shift or 0))
    ends = ways[network.layers[-1].name]
    pools = {
        name: (*(target.pool for target in targets), *(end.pool for end in ends if end.owner == name))
        for name, targets in links.items()
    }
    return Design(
        network=network,
        plans=tuple(_plan(one, into[one.name], tuple(links[one.name]), pools[one.name]) for one in weighted),
        inputs=tuple(links[INPUT]),
        ends=tuple(way.heard for way in ends),
        early_pools=tuple(
            layer.name
            for layer in network.layers
            if isinstance(layer.op, SumPool) and layer.op.size > 1
            if any(way.owner == INPUT for way in into[layer.name])
        ),
    )


def _shifted(way: _Way, shift: int, *, flat: bool) -> _Way:
    """Raise the channels of a way; a shift of a flattened map counts features, a core's counts channels."""
    whole, rest = divmod(shift, way.height * way.width if flat else 1)
    return dataclasses.replace(way, shift=None if rest or way.shift is None else way.shift + whole)


def _pooled(way: _Way, op: Op) -> _Way:
    if not isinstance(op, SumPool):
        return way
    n = op.size
    return dataclasses.replace(way, height=way.height // n, width=way.width // n, pool=way.pool * n)


def _heard_map(in_shape: Shape, first: _Way) -> SensorShape:
    """Return the map a layer hears: its own, or for a vector the one that was flattened on the way."""
    if len(in_shape) == MAP_AXES:
        return as_map(in_shape)
    return SensorShape(max(1, in_shape[0] // (first.height * first.width)), first.height, first.width)


def ceil_log2(n: int) -> int:
    """Return the bits that address n things.

    >>> [ceil_log2(n) for n in (1, 2, 9, 16, 17)]
    [0, 1, 4, 4, 5]
    """
    return (n - 1).bit_length()


def _plan(
    layer: LayerSpec, heard: tuple[_Way, ...], targets: tuple[PlanTarget, ...], pools: tuple[int, ...]
) -> CorePlan:
    in_shape = _heard_map(layer.in_shape, heard[0])
    if isinstance(layer.op, Linear):
        kernel, stride, padding = (in_shape.height, in_shape.width), 1, 0
    else:
        assert isinstance(layer.op, Conv)  # the only other op with weights
        kernel, stride, padding = (layer.op.kernel, layer.op.kernel), layer.op.stride, layer.op.padding
    return CorePlan(
        layer=layer.name,
        fully_connected=isinstance(layer.op, Linear),
        in_shape=in_shape,
        kernel=kernel,
        stride=stride,
        padding=padding,
        neuron_shape=as_map(layer.out_shape),
        neuron=layer.neuron,
        has_bias=layer.bias is not None,
        targets=targets,
        pools=pools,
        heard=tuple(way.heard for way in heard),
    )


def as_map(shape: Shape) -> SensorShape:
    """Return (C, H, W); a vector is one pixel of many channels."""
    padded = (*shape, 1, 1)[:MAP_AXES]
    return SensorShape(*padded)
