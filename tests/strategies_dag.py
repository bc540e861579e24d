"""Random networks with merges, skips, joined channels, leaks and clocked biases."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from chiploop.rng import stream
from chiploop.spec.graph import INPUT, Edge, LayerSpec, NetworkSpec, NeuronSpec
from chiploop.spec.ops import Conv, Flatten, Linear, Op, Shape, SumPool

thresholds = st.floats(0.25, 4.0)


@st.composite
def dag_neurons(draw: st.DrawFn) -> NeuronSpec:
    kind = draw(st.sampled_from(["if", "if", "lif"]))
    return NeuronSpec(
        kind=kind,
        v_th=draw(thresholds),
        v_min=draw(st.none() | st.floats(-2.0, 0.0)),
        reset=draw(st.sampled_from(["subtract", "zero"])),
        spikes_per_step=draw(st.sampled_from(["one", "all"])),
        tau_us=draw(st.floats(500.0, 50_000.0)) if kind == "lif" else None,
    )


@st.composite
def dag_specs(draw: st.DrawFn, *, spiking: bool = False) -> NetworkSpec:
    """Networks of one to six layers in which a layer hears one to three of the earlier ones that share its map's size.

    Every layer is heard by a later one or is the last. With `spiking`, the last one has weights and a neuron.
    """
    rng = stream(draw(st.integers(0, 2**32 - 1)), "weights")
    input_shape: Shape = tuple(draw(st.integers(1, 4)) for _ in range(3))
    shapes: dict[str, Shape] = {INPUT: input_shape}
    flat: set[str] = set()  # what comes out of a Flatten of more than one pixel: its channels must not be shifted
    layers: list[LayerSpec] = []
    edges: list[Edge] = []
    letters = "ab1 /_é#" if spiking else "ab1 /_é#."  # torch wants no dots
    wanted = draw(st.lists(st.text(letters, min_size=1, max_size=6), min_size=1, max_size=6, unique=True))
    for i, name in enumerate(wanted):
        heard = _sources(draw, shapes)
        shifts, channels = _shifts(draw, heard, shapes, flat)
        in_shape = (channels, *shapes[heard[0]][1:])
        op = draw(_ops(in_shape, weighted=spiking and i == len(wanted) - 1))
        joined = isinstance(op, Flatten) and np.prod(in_shape[1:]) > 1
        if joined or (not op.has_weight and flat & set(heard)):
            flat.add(name)
        layers.append(_layer(draw, rng, name, op, in_shape, always=spiking))
        edges += [Edge(source, name, shift) for source, shift in zip(heard, shifts, strict=True)]
        shapes[name] = layers[-1].out_shape
    edges = draw(st.permutations(edges))
    biased = any(layer.bias is not None for layer in layers)
    clock = draw(st.integers(1, 10**6)) if biased else draw(st.none() | st.integers(1, 10**6))
    return NetworkSpec(
        layers=tuple(layers),
        edges=tuple(edges),
        input_shape=input_shape,
        dt_us=draw(st.integers(100, 10**5)) if spiking else draw(st.none() | st.integers(1, 10**9)),
        clock_us=clock,
    )


def _sources(draw: st.DrawFn, shapes: dict[str, Shape]) -> list[str]:
    """Return sources of one size of map; the newest layer is always among them, so that none leads nowhere."""
    newest = list(shapes)[-1]
    same = [name for name in shapes if name != newest and shapes[name][1:] == shapes[newest][1:]]
    return [newest, *(draw(st.lists(st.sampled_from(same), max_size=2, unique=True)) if same else [])]


def _shifts(draw: st.DrawFn, heard: list[str], shapes: dict[str, Shape], flat: set[str]) -> tuple[list[int], int]:
    """Return where each source's channels begin, and how many there are: sums, joins, overlaps, gaps."""
    shifts, top = [], 0
    for source in heard:
        join = source not in flat and draw(st.booleans())
        shift = top + draw(st.sampled_from([0, 0, 1])) if join and top else 0
        shifts.append(shift)
        top = max(top, shift + shapes[source][0])
    return shifts, top


@st.composite
def _ops(draw: st.DrawFn, shape: Shape, *, weighted: bool) -> Op:
    if len(shape) == 1:
        return Linear(features=draw(st.integers(1, 5))) if weighted or draw(st.booleans()) else Flatten()
    kinds = ["conv"] if weighted else ["conv", "conv", "pool", "flatten"]
    kind = draw(st.sampled_from(kinds))
    if kind == "flatten":
        return Flatten()
    if kind == "pool":
        return SumPool(size=draw(st.integers(1, min(shape[1:]))))
    padding = draw(st.integers(0, 1))
    kernel = draw(st.integers(1, min(shape[1:]) + 2 * padding))
    return Conv(channels=draw(st.integers(1, 3)), kernel=kernel, stride=draw(st.integers(1, 2)), padding=padding)


def _layer(draw: st.DrawFn, rng: np.random.Generator, name: str, op: Op, in_shape: Shape, *, always: bool) -> LayerSpec:
    if not isinstance(op, (Conv, Linear)):
        return LayerSpec(name=name, op=op, weight=None, neuron=None, in_shape=in_shape)
    neuron = draw(dag_neurons() if always else st.none() | dag_neurons())
    weight = rng.normal(0.2, 0.5, op.weight_shape(in_shape)).astype(np.float32)
    biases = st.sampled_from([None, None, 0.0, 0.3])
    size = None if neuron is None else draw(biases)
    bias = None if size is None else (size * rng.normal(size=op.out_shape(in_shape)[0])).astype(np.float32)
    return LayerSpec(name=name, op=op, weight=weight, neuron=neuron, in_shape=in_shape, bias=bias)
