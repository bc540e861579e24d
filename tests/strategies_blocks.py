"""Random networks with residual blocks and concatenations, in whole numbers, for comparing the clock with the chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from chiploop.quantize.apply import quantize
from chiploop.quantize.scheme import QuantSpec
from chiploop.rng import stream
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation

SHAPE = (2, 6, 5)
DEPTH = 2
"""Blocks hold at most one block."""


def random_notation(rng: np.random.Generator) -> str:
    """Return a few items on SHAPE, perhaps a pool in their middle, and a fully connected layer."""
    pooled = rng.random() < 0.6
    begin = ["2c3p1"] if pooled else []  # the input must not reach a pool: no core would carry it
    first, channels = _items(rng, 2 if pooled else SHAPE[0], DEPTH)
    second, _ = _items(rng, channels, DEPTH - 1)
    return "-".join([*begin, *first, *(["P2"] if pooled else []), *second, str(rng.integers(1, 4))])


def _items(rng: np.random.Generator, channels: int, depth: int) -> tuple[list[str], int]:
    """Return words and blocks that keep the size of the map, and the channels they end with."""
    items = []
    for _ in range(int(rng.integers(1, 3))):
        kind = rng.choice(["conv", "sum", "join"]) if depth else "conv"
        if kind == "conv":
            channels = int(rng.integers(1, 4))
            kernel = int(rng.choice([1, 3]))
            items.append(f"{channels}c{kernel}p{kernel // 2}")
            continue
        inner, end = _items(rng, channels, depth - 1)
        if kind == "sum":
            items.append(f"({'-'.join(inner)}-{channels}c3p1)")
        else:
            items.append(f"[{'-'.join(inner)}]")
            channels += end
    return items, channels


def whole_numbers(
    text: str,
    rng: np.random.Generator,
    *,
    layer: Callable[[LayerSpec, np.random.Generator], LayerSpec],
    clock_us: int | None = None,
) -> NetworkSpec:
    """Return the network of a notation with every spiking layer as `layer` makes it, in whole numbers."""
    spec = parse_notation(text, SHAPE, NeuronSpec(), stream(0, "weights"), dt_us=1)
    layers = tuple(one if one.neuron is None else layer(one, rng) for one in spec.layers)
    return dataclasses.replace(spec, layers=layers, clock_us=clock_us)


def in_integers(spec: NetworkSpec) -> QuantSpec:
    """Quantise with the scale 1, at which nothing is rounded."""
    return quantize(spec, scales={layer.name: 1.0 for layer in spec.spiking})
