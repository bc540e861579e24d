"""Networks as plain data, no torch."""

from chiploop.spec.graph import INPUT, Edge, LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Conv, Flatten, Linear, Op, Shape, SumPool

__all__ = [
    "INPUT",
    "Conv",
    "Edge",
    "Flatten",
    "LayerSpec",
    "Linear",
    "NetworkSpec",
    "NeuronSpec",
    "Op",
    "Shape",
    "SumPool",
    "chain",
]
