"""Each difference between two networks has its line, and equal ones have none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from chiploop.rng import stream
from chiploop.spec.compare import compare
from chiploop.spec.graph import INPUT, Edge, NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation
from strategies_dag import dag_specs

NET = parse_notation("4c3p1-P2-3", (2, 4, 4), NeuronSpec(), stream(0, "weights"))


def changed(position: int, clock_us: int | None = None, **fields: Any) -> NetworkSpec:
    layers = list(NET.layers)
    layers[position] = dataclasses.replace(layers[position], **fields)
    return dataclasses.replace(NET, layers=tuple(layers), clock_us=clock_us)


def heavier() -> np.ndarray:
    assert NET.layers[0].weight is not None
    weight = NET.layers[0].weight.copy()
    weight[0, 0, 0, :2] += 2.0
    return weight


@given(dag_specs())
def test_equal_networks_have_no_line_and_others_do(spec: NetworkSpec) -> None:
    assert compare(spec, dataclasses.replace(spec)) == ()
    other = dataclasses.replace(spec, dt_us=(spec.dt_us or 0) + 1)
    assert compare(spec, other) == (f"dt_us: {spec.dt_us} and {other.dt_us}",)


@pytest.mark.parametrize(
    ("other", "lines"),
    [
        (changed(0, weight=heavier()), ("conv1: weight differs in 2 of 72 values, by up to 2",)),
        (changed(0, neuron=None), ("conv1: a neuron in the first only",)),
        (changed(0, neuron=NeuronSpec(v_th=2.0)), ("conv1: neuron.v_th 1.0 and 2.0",)),
        (
            dataclasses.replace(NET, edges=(*NET.edges, Edge(INPUT, "conv1"))[::-1]),
            ("the order of the edges",),
        ),
        (
            changed(3, bias=np.zeros(3, np.float32), clock_us=5),
            ("clock_us: None and 5", "fc1: bias in the second only"),
        ),
        (
            parse_notation("4c3p1-P2", (2, 4, 4), NeuronSpec(), stream(0, "weights")),
            (
                "layers: 4 and 2",
                "edge 'flatten' -> 'fc1' (shift 0): in the first only",
                "edge 'pool1' -> 'flatten' (shift 0): in the first only",
            ),
        ),
    ],
)
def test_each_difference_has_its_line(other: NetworkSpec, lines: tuple[str, ...]) -> None:
    assert compare(NET, other) == lines


def test_layers_of_other_names_are_taken_in_their_order() -> None:
    layers = [dataclasses.replace(layer, name=f"x{i}") for i, layer in enumerate(NET.layers)]
    new = {INPUT: INPUT} | {old.name: layer.name for old, layer in zip(NET.layers, layers, strict=True)}
    edges = tuple(Edge(new[edge.source], new[edge.target]) for edge in NET.edges)
    renamed = dataclasses.replace(NET, layers=tuple(layers), edges=edges)
    assert compare(NET, renamed) == tuple(
        f"{old.name}: name {old.name} and {layer.name}" for old, layer in zip(NET.layers, layers, strict=True)
    )
