"""Networks written the way the field's papers write them, such as "16c3p1-P2-32c3p1-P2-10"."""

from __future__ import annotations

import math
import re

import numpy as np

from chiploop.errors import SpecError
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Conv, Flatten, Linear, Op, Shape, SumPool

_CONV = re.compile(r"(?P<channels>\d+)[cC](?P<kernel>\d+)(?:s(?P<stride>\d+))?(?:p(?P<padding>\d+))?")
_POOL = re.compile(r"P(?P<size>\d+)")
_LINEAR = re.compile(r"(?P<features>\d+)")


def parse_notation(
    text: str, input_shape: Shape, neuron: NeuronSpec, rng: np.random.Generator, *, dt_us: int | None = None
) -> NetworkSpec:
    """Build a chain from its notation, with weights drawn anew.

    Words are joined by "-": `16c3s2p1` is a convolution to 16 channels, kernel 3, stride 2 (default 1), padding 1
    (default 0); `P2` is sum pooling by 2; a bare number is a fully connected layer. Every convolution and fully
    connected layer ends in `neuron`. Weights are uniform with variance 2 / (3 fan-in) (He et al. 2015, for ReLU, up to
    the gain that balancing sets later).

    >>> net = parse_notation("4c3p1-P2-10", (2, 34, 34), NeuronSpec(), np.random.default_rng(0))
    >>> [layer.name for layer in net.layers]
    ['conv1', 'pool1', 'flatten', 'fc1']
    """
    layers: list[LayerSpec] = []
    counts = {"conv": 0, "pool": 0, "fc": 0}
    shape = input_shape
    for op in _ops(text, len(input_shape)):
        kind = {Conv: "conv", SumPool: "pool", Linear: "fc", Flatten: "flatten"}[type(op)]
        if kind in counts:
            counts[kind] += 1
        name = kind if kind == "flatten" else f"{kind}{counts[kind]}"
        weight = None
        if isinstance(op, (Conv, Linear)):
            size = op.weight_shape(shape)
            bound = math.sqrt(6 / math.prod(size[1:]) / 3)
            weight = rng.uniform(-bound, bound, size).astype(np.float32)
        layers.append(
            LayerSpec(name=name, op=op, weight=weight, neuron=None if weight is None else neuron, in_shape=shape)
        )
        shape = layers[-1].out_shape
    return chain(layers, input_shape=input_shape, dt_us=dt_us)


def _ops(text: str, rank: int) -> list[Op]:
    ops: list[Op] = []
    for word in text.split("-"):
        if match := _CONV.fullmatch(word):
            given = {key: int(value) for key, value in match.groupdict().items() if value is not None}
            ops.append(Conv(**given))
        elif match := _POOL.fullmatch(word):
            ops.append(SumPool(size=int(match["size"])))
        elif match := _LINEAR.fullmatch(word):
            if rank == 3 and not any(isinstance(op, Flatten) for op in ops):
                ops.append(Flatten())
            ops.append(Linear(features=int(match["features"])))
        else:
            raise SpecError(
                f"network {text!r}: cannot read {word!r}; words are 16c3s2p1 (convolution), P2 (sum pooling), "
                "10 (fully connected)"
            )
    return ops
