"""Layers without shapes become a network; averages go into the weights that follow, channel by channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from chiploop.errors import SpecError
from chiploop.network.network import Network
from chiploop.network.run import run_frame
from chiploop.rng import stream
from chiploop.spec.assemble import RawLayer, assemble
from chiploop.spec.graph import INPUT, Edge, NeuronSpec
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool

RNG = stream(0, "weights")


def linear(name: str, weight: np.ndarray) -> RawLayer:
    return RawLayer(name=name, op=Linear(features=len(weight)), weight=weight, neuron=NeuronSpec())


def test_an_average_joined_to_a_sum_divides_its_own_channels_only() -> None:
    """By hand: channel 0 is averaged over 2 x 2, then flattened to 4 pixels; channel 1 is summed over 2 x 2."""
    layers = [
        RawLayer(name="mean", op=SumPool(size=2), averages=True),
        RawLayer(name="sum", op=SumPool(size=2)),
        RawLayer(name="flat", op=Flatten()),
        linear("fc", np.arange(1.0, 9.0, dtype=np.float32).reshape(1, 8)),
    ]
    edges = [Edge(INPUT, "mean"), Edge(INPUT, "sum"), Edge("mean", "flat"), Edge("sum", "flat", 1), Edge("flat", "fc")]
    network, notes = assemble(layers, edges, input_shape=(1, 4, 4))
    assert network.layer("fc").weight is not None
    assert network.layer("fc").weight.tolist() == [[0.25, 0.5, 0.75, 1.0, 5.0, 6.0, 7.0, 8.0]]
    assert notes == (
        "mean: average pooling by 2 became sum pooling",
        "fc: weights behind average pooling were divided by 4",
    )


def test_averages_one_after_the_other_multiply() -> None:
    """Against torch's own average pooling: 2 x 2, then 3 x 3, then a convolution."""
    weight = RNG.normal(size=(3, 2, 1, 1)).astype(np.float32)
    layers = [
        RawLayer(name="a", op=SumPool(size=2), averages=True),
        RawLayer(name="b", op=SumPool(size=3), averages=True),
        RawLayer(name="c", op=Conv(channels=3, kernel=1), weight=weight, neuron=NeuronSpec()),
    ]
    network, notes = assemble(layers, [Edge(INPUT, "a"), Edge("a", "b"), Edge("b", "c")], input_shape=(2, 12, 12))
    assert notes[-1] == "c: weights behind average pooling were divided by 36"
    x = torch.from_numpy(RNG.poisson(2.0, (4, 2, 12, 12))).float()
    with torch.no_grad():
        ours = run_frame(Network(network), x).outputs[0]
        theirs = F.conv2d(F.avg_pool2d(F.avg_pool2d(x, 2), 3), torch.from_numpy(weight))
    torch.testing.assert_close(ours, theirs.flatten(1))


@pytest.mark.parametrize(
    ("layers", "edges", "message"),
    [
        (
            [RawLayer(name="p", op=SumPool(size=2), averages=True), linear("fc", np.ones((1, 1), np.float32))],
            [Edge(INPUT, "p"), Edge(INPUT, "fc")],
            "layer 'fc': Linear needs an input of 1 axes",
        ),
        ([RawLayer(name="f", op=Flatten())], [Edge("g", "f")], "layer 'f' has no edge that leads to it from the input"),
        (
            [RawLayer(name="c", op=Conv(channels=1, kernel=9), weight=np.ones((1, 1, 9, 9), np.float32))],
            [Edge(INPUT, "c")],
            "layer 'c': .* leaves nothing of a 4x4 map",
        ),
        (
            [RawLayer(name="p", op=SumPool(size=2), averages=True)],
            [Edge(INPUT, "p")],
            "layer 'p': no weights follow the average pooling",
        ),
    ],
)
def test_what_does_not_fit_is_named(layers: list[RawLayer], edges: list[Edge], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        assemble(layers, edges, input_shape=(1, 4, 4))
