"""A network folded into cores: what each core would have to hold, before any chip is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chiploop.events.types import SensorShape
from chiploop.quantize.scheme import QuantSpec
from chiploop.spec.graph import INPUT, LayerSpec, NetworkSpec, NeuronSpec
from chiploop.spec.ops import Conv, Linear, Shape, SumPool

MAP_AXES = 3


@dataclass(frozen=True, kw_only=True)
class CorePlan:
    """One weighted layer with the pools that follow it, as a convolution.

    A Linear layer is a convolution whose kernel covers the whole map it hears. `pool` is the product of the pools'
    sizes; `targets` names the plans that hear this one.
    """

    layer: str
    fully_connected: bool
    in_shape: SensorShape
    kernel: tuple[int, int]
    stride: int
    padding: int
    neuron_shape: SensorShape
    pool: int
    neuron: NeuronSpec | None
    has_bias: bool
    targets: tuple[str, ...]

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
    """A network, the plans it folds into, and, when it is quantised, its integers' sizes."""

    network: NetworkSpec
    plans: tuple[CorePlan, ...]
    weight_bits: int | None = None
    thresholds: Mapping[str, int] | None = None


def design(network: NetworkSpec | QuantSpec) -> Design:
    """Return the design of a network, or of a network in integers."""
    if isinstance(network, NetworkSpec):
        return Design(network=network, plans=fold(network))
    return Design(
        network=network.base,
        plans=fold(network.base),
        weight_bits=network.scheme.bits,
        thresholds={layer.name: layer.threshold for layer in network.layers},
    )


def fold(network: NetworkSpec) -> tuple[CorePlan, ...]:
    """Return one plan for each Conv or Linear; pools and Flatten go to the layer they follow.

    Folding never fails: what no core can do (a pool before any weights, a branch) is for the design rules to report.
    """
    maps: dict[str, Shape] = {INPUT: network.input_shape}  # the map each layer gives, with Flatten left out
    heard: dict[str, Shape] = {}
    owner: dict[str, str] = {INPUT: INPUT}
    pools: dict[str, int] = {}
    links: dict[str, list[str]] = {}
    for layer in network.layers:
        sources = [edge.source for edge in network.edges if edge.target == layer.name]
        source = sources[0]
        heard[layer.name] = maps[source]
        if layer.op.has_weight:
            owner[layer.name] = layer.name
            for name in sources:
                links.setdefault(owner[name], []).append(layer.name)
        else:
            owner[layer.name] = owner[source]
        if isinstance(layer.op, SumPool):
            pools[owner[layer.name]] = pools.get(owner[layer.name], 1) * layer.op.size
        flattens = not layer.op.has_weight and not isinstance(layer.op, SumPool)
        maps[layer.name] = maps[source] if flattens else layer.out_shape
    return tuple(
        _plan(layer, heard[layer.name], pools.get(layer.name, 1), tuple(links.get(layer.name, ())))
        for layer in network.layers
        if layer.op.has_weight
    )


def ceil_log2(n: int) -> int:
    """Return the bits that address n things.

    >>> [ceil_log2(n) for n in (1, 2, 9, 16, 17)]
    [0, 1, 4, 4, 5]
    """
    return (n - 1).bit_length()


def _plan(layer: LayerSpec, heard: Shape, pool: int, targets: tuple[str, ...]) -> CorePlan:
    in_shape = as_map(heard)
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
        pool=pool,
        neuron=layer.neuron,
        has_bias=layer.bias is not None,
        targets=targets,
    )


def as_map(shape: Shape) -> SensorShape:
    """Return (C, H, W); a vector is one pixel of many channels."""
    padded = (*shape, 1, 1)[:MAP_AXES]
    return SensorShape(*padded)
