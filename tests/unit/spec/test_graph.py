"""Networks as data: shape laws against torch, the notation, and every invariant broken once."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from chiploop.errors import SpecError
from chiploop.rng import stream
from chiploop.spec.graph import Edge, LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.notation import parse_notation
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool
from strategies_spec import network_specs

sizes = st.integers(1, 12)


@given(st.integers(1, 3), sizes, sizes, st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_convolutions_have_the_shape_that_torch_gives(
    c: int, h: int, w: int, kernel: int, stride: int, padding: int
) -> None:
    op = Conv(channels=2, kernel=kernel, stride=stride, padding=padding)
    if min(h, w) + 2 * padding < kernel:
        with pytest.raises(SpecError, match="leaves nothing of a"):
            op.out_shape((c, h, w))
        return
    weight = torch.zeros(op.weight_shape((c, h, w)))
    out = torch.nn.functional.conv2d(torch.zeros(1, c, h, w), weight, stride=stride, padding=padding)
    assert op.out_shape((c, h, w)) == tuple(out.shape[1:])


@given(st.integers(1, 3), sizes, sizes, st.integers(1, 5))
def test_pools_and_flatten_have_the_shape_that_torch_gives(c: int, h: int, w: int, size: int) -> None:
    assert Flatten().out_shape((c, h, w)) == tuple(torch.zeros(1, c, h, w).flatten(1).shape[1:])
    assume(size <= min(h, w))
    out = torch.nn.functional.avg_pool2d(torch.zeros(1, c, h, w), size)
    assert SumPool(size=size).out_shape((c, h, w)) == tuple(out.shape[1:])


@given(network_specs())
def test_chains_agree_with_themselves(spec: NetworkSpec) -> None:
    assert spec.is_chain
    assert spec.layers[0].in_shape == spec.input_shape
    assert spec.layers[-1].out_shape == spec.out_shape
    assert [spec.layer(layer.name) for layer in spec.layers] == list(spec.layers)
    assert all(layer.weight is None or not layer.weight.flags.writeable for layer in spec.layers)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"v_th": 0.0}, "neuron.v_th = 0.0 must be positive"),
        ({"v_th": math.nan}, "neuron.v_th = nan must be positive"),
        ({"v_min": 0.5}, "neuron.v_min = 0.5 must be finite and at most 0"),
        ({"v_min": -math.inf}, "neuron.v_min = -inf must be finite"),
        ({"kind": "lif"}, "neuron.tau_us = None with kind 'lif'"),
        ({"tau_us": 5.0}, "neuron.tau_us = 5.0 with kind 'if'"),
        ({"kind": "lif", "tau_us": -1.0}, "neuron.tau_us = -1.0 must be positive"),
        ({"kind": "lif", "tau_us": math.nan}, "neuron.tau_us = nan must be positive"),
        ({"kind": "lfi"}, "neuron.kind = 'lfi': did you mean 'lif'"),
        ({"reset": "substract"}, "neuron.reset = 'substract': did you mean 'subtract'"),
        ({"spikes_per_step": "two"}, "neuron.spikes_per_step = 'two': Choices: all, one"),
    ],
)
def test_neurons_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        NeuronSpec(**fields)


def test_equal_neurons_are_one_whatever_their_numbers_types() -> None:
    assert NeuronSpec(v_th=2, v_min=-1) == NeuronSpec(v_th=2.0, v_min=np.float64(-1.0))
    assert type(NeuronSpec(v_th=2).v_th) is float


def conv_layer(**changes: Any) -> LayerSpec:
    fields = {"name": "c", "op": Conv(channels=2, kernel=2), "weight": np.ones((2, 1, 2, 2), np.float32)}
    return LayerSpec(**{**fields, "neuron": NeuronSpec(), "in_shape": (1, 3, 3), **changes})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": None}, "layer 'c': Conv needs a weight"),
        ({"op": Flatten()}, "layer 'c': Flatten has no weight"),
        ({"weight": np.ones((2, 1, 3, 3))}, r"layer 'c': weight has shape \(2, 1, 3, 3\), expected \(2, 1, 2, 2\)"),
        ({"weight": np.full((2, 1, 2, 2), np.inf)}, r"layer 'c': weight\[0, 0, 0, 0\] is inf"),
        ({"bias": np.ones(3)}, r"layer 'c': bias has shape \(3,\), expected \(2,\)"),
        ({"op": SumPool(size=2), "weight": None}, "a neuron follows a Conv or a Linear, not a SumPool"),
        ({"in_shape": (4,)}, "Conv needs an input of 3 axes"),
    ],
)
def test_layers_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        conv_layer(**fields)


def network(**changes: Any) -> NetworkSpec:
    spec = chain(
        [conv_layer(), LayerSpec(name="f", op=Flatten(), weight=None, neuron=None, in_shape=(2, 2, 2))],
        input_shape=(1, 3, 3),
    )
    return dataclasses.replace(spec, **changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": ()}, "at least one layer"),
        ({"layers": (conv_layer(), conv_layer())}, "layer name 'c' is used twice"),
        ({"layers": (conv_layer(name="input"),)}, "layer name 'input' is used twice"),
        ({"edges": (Edge("input", "c"),)}, "layer 'f' has no edge that leads to it"),
        ({"edges": (Edge("f", "c"), Edge("c", "f"))}, "edge 'f' -> 'c': the source must stand before the target"),
        ({"edges": (Edge("input", "c"), Edge("c", "f"), Edge("c", "x"))}, "edge 'c' -> 'x': no such layer"),
        (
            {"edges": (Edge("input", "c"), Edge("input", "f"))},
            r"'f' expects input \(2, 2, 2\), but 'input' gives \(1, 3, 3\)",
        ),
        ({"input_shape": (1, 4, 3)}, r"'c' expects input \(1, 3, 3\), but 'input' gives \(1, 4, 3\)"),
        ({"input_shape": (0, 3, 3)}, r"network.input_shape = \(0, 3, 3\): every size must be at least 1"),
        ({"dt_us": 0}, "network.dt_us = 0 must be at least 1 us"),
    ],
)
def test_networks_that_cannot_be_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        network(**fields)


@pytest.mark.parametrize(
    "op",
    [
        lambda: Conv(channels=0, kernel=1),
        lambda: Conv(channels=1, kernel=1, padding=-1),
        lambda: SumPool(size=0),
        lambda: Linear(features=0),
    ],
)
def test_operations_that_cannot_be_are_refused(op: Any) -> None:
    with pytest.raises(SpecError, match="at least 1"):
        op()


def test_the_papers_notation() -> None:
    spec = parse_notation("16c5s2-P2-8c3s1p1-256-10", (2, 34, 34), NeuronSpec(), stream(0, "weights"), dt_us=5)
    assert [(layer.name, layer.out_shape) for layer in spec.layers] == [
        ("conv1", (16, 15, 15)),
        ("pool1", (16, 7, 7)),
        ("conv2", (8, 7, 7)),
        ("flatten", (392,)),
        ("fc1", (256,)),
        ("fc2", (10,)),
    ]
    assert (spec.is_chain, spec.dt_us, len(spec.spiking)) == (True, 5, 4)
    weight = spec.layer("fc1").weight
    assert weight is not None
    # Variance 2 / (3 fan-in) of 100,352 uniform draws: its relative standard deviation is sqrt(0.8 / n) = 0.28 %.
    assert float(weight.var()) == pytest.approx(2 / (3 * 392), rel=5 * 0.0028)


@pytest.mark.parametrize("text", ["", "16c", "c3", "16c3-", "P", "16x3", "ten", "16c3q1", "-10"])
def test_notation_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*words are 16c3s2p1"):
        parse_notation(text, (2, 9, 9), NeuronSpec(), stream(0, "weights"))


def test_a_map_too_small_is_refused() -> None:
    with pytest.raises(SpecError, match="leaves nothing of a 1x1 map"):
        parse_notation("4c3-P2-4c2-P2", (2, 6, 6), NeuronSpec(), stream(0, "weights"))
