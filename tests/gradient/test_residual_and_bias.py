"""Gradients through a residual sum and of clocked biases: worked by hand, in closed form, and by finite differences.

The hand-worked network is that of test_two_neurons.py with a way around its hidden neuron: input x, hidden neuron
(weight w), two outputs (weights u) that hear x + hidden. The chip is seen to answer (2, 0), the label is class 1, and
the temperature is such that dL/dy = G (1, -1).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from test_two_neurons import SEEN, TEMPERATURE, G, Recorded, batch_of, column, two_layers

from chiploop.learn.method import METHODS, MethodOptions
from chiploop.network.network import Network
from chiploop.network.run import run_frame, run_windows
from chiploop.network.surrogate import Rectangle, Triangle
from chiploop.rng import stream
from chiploop.spec.graph import INPUT, Edge, LayerSpec, NetworkSpec, NeuronSpec
from chiploop.spec.ops import Linear
from strategies_network import BLOCKS, gradients, shapes_batch, small_spec

CLOCK_US = 4
"""Ticks at 0, 4, 8 and at 12, 16: three in the first window of 10 us, two in the second."""


def residual(w: float, u: tuple[float, float], hidden: NeuronSpec, output: NeuronSpec) -> NetworkSpec:
    chain = two_layers(w, u, hidden, output)
    layers = tuple(
        layer if layer.neuron is None else dataclasses.replace(layer, bias=np.zeros(layer.out_shape[0], np.float32))
        for layer in chain.layers
    )
    edges = (*chain.edges, Edge("flat", "out"))
    return dataclasses.replace(chain, layers=layers, edges=edges, clock_us=CLOCK_US)


def test_cil_with_ann_around_a_hidden_neuron() -> None:
    # x = 3, a_h = w x / theta_h = 1.5, and the outputs hear x + a_h = 4.5; theta_o = 0.5; 5 ticks in all.
    #   dL/du = dL/da_o 4.5 / 0.5 = 9 G (1, -1);   dL/da_h = (0.4 + 0.2) G / 0.5 = 1.2 G;   dL/dw = 3 . 1.2 G
    #   biases: dL/db_o = 5 / 0.5 G (1, -1),  dL/db_h = 5 . 1.2 G
    network = Network(residual(0.5, (0.4, -0.2), NeuronSpec(v_th=1.0), NeuronSpec(v_th=0.5)))
    seen = Recorded(dataclasses.replace(SEEN, counts={"out": column((2.0, 0.0))}, v={}))
    method = METHODS.get("cil-ann")(MethodOptions(plan="output", loss="total", temperature=TEMPERATURE), seen)
    method.step(network, batch_of((2, 1), label=1)).loss.backward()
    grad = gradients(network)
    assert grad["out"].flatten().tolist() == pytest.approx([9 * G, -9 * G], rel=1e-6)
    assert grad["hidden"].item() == pytest.approx(3.6 * G, rel=1e-6)
    assert grad["out.bias"].tolist() == pytest.approx([10 * G, -10 * G], rel=1e-6)
    assert grad["hidden.bias"].item() == pytest.approx(6 * G, rel=1e-6)


def test_cil_with_bptt_around_a_hidden_neuron() -> None:
    # As in test_two_neurons.py: hidden theta = 2, w = 1.4, x = (2, 1), seen counts (1, 1): slopes (1, 0.5).
    # The outputs hear x + seen = (3, 2); theta = 1, u = (0.3, 0.1); seen V_1 = (0.2, 0.4).
    #   before_1 = 3 u = (0.9, 0.3)               slopes (0.9, 0.3)
    #   before_2 = V_1 + 2 u = (0.8, 0.6)         slopes (0.8, 0.6)
    # d_t = d_(t+1) + slope_t / theta (dL/ds_t - theta d_(t+1)):
    #   output 0: d_2 = 0.8 G,   d_1 = 0.8 + 0.9 (1 - 0.8) = 0.98 G
    #   output 1: d_2 = -0.6 G,  d_1 = -0.6 + 0.3 (-1 + 0.6) = -0.72 G
    #   dL/du = 3 d_1 + 2 d_2 = (4.54, -3.36) G
    # Hidden: dL/ds_2 = 0.3 . 0.8 - 0.1 . 0.6 = 0.18 G,  dL/ds_1 = 0.3 . 0.98 - 0.1 . 0.72 = 0.222 G
    #   d_2 = 0.5 / 2 . 0.18 = 0.045 G,  d_1 = 0.045 + 1/2 (0.222 - 2 . 0.045) = 0.111 G
    #   dL/dw = 2 d_1 + 1 d_2 = 0.267 G
    # A bias comes with the ticks, 3 and then 2: dL/db = 3 d_1 + 2 d_2, for the hidden neuron 0.423 G. The outputs' is
    # that of u, since they hear as many spikes.
    network = Network(
        residual(1.4, (0.3, 0.1), NeuronSpec(v_th=2.0), NeuronSpec(v_th=1.0)),
        surrogate=Triangle(),
    )
    options = MethodOptions(plan="all+v", loss="total", temperature=TEMPERATURE)
    METHODS.get("cil-bptt")(options, Recorded(SEEN)).step(network, batch_of((2, 1), label=1)).loss.backward()
    grad = gradients(network)
    assert grad["out"].flatten().tolist() == pytest.approx([4.54 * G, -3.36 * G], rel=1e-6)
    assert grad["hidden"].item() == pytest.approx(0.267 * G, rel=1e-6)
    assert grad["hidden.bias"].item() == pytest.approx(0.423 * G, rel=1e-6)
    assert grad["out.bias"].tolist() == pytest.approx([4.54 * G, -3.36 * G], rel=1e-6)


@pytest.mark.parametrize("tau_us", [None, 25.0])
def test_a_potential_below_threshold_is_linear_in_the_bias(tau_us: float | None) -> None:
    """dV[T] / db = sum_t n[t] keep^(T - t), n = 3, 2, 3, 2: exactly what the closed form says, leak or not."""
    neuron = NeuronSpec(kind="if" if tau_us is None else "lif", v_th=1e6, tau_us=tau_us)
    layer = LayerSpec(
        name="out", op=Linear(features=1), weight=np.ones((1, 1), np.float32), neuron=neuron, in_shape=(1,),
        bias=np.array([0.3], np.float32),
    )  # fmt: skip
    edges = (Edge(INPUT, "out"),)
    spec = NetworkSpec(layers=(layer,), edges=edges, input_shape=(1,), dt_us=10, clock_us=CLOCK_US)
    network = Network(spec, surrogate=Rectangle(width=0.5))  # no slope so far below threshold
    run_windows(network, torch.ones(4, 1, 1)).v["out"][-1].sum().backward()
    keep = 1.0 if tau_us is None else math.exp(-10 / tau_us)
    expected = sum(n * keep ** (3 - t) for t, n in enumerate((3, 2, 3, 2)))
    assert gradients(network)["out.bias"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("tau_us", [None, 9_000.0])
def test_gradients_of_the_analogue_graph_are_those_of_finite_differences(tau_us: float | None) -> None:
    """Biases and weights of a network with a residual block and a concatenation, in float64, all at once."""
    neuron = NeuronSpec(kind="if" if tau_us is None else "lif", tau_us=tau_us)
    network, batch = Network(small_spec(2, notation=BLOCKS, neuron=neuron, bias=-0.02)).double(), shapes_batch()
    x = batch.x.sum(0).double()
    by = torch.from_numpy(stream(0, "by").normal(size=(len(x), 3)))

    def value() -> torch.Tensor:
        return (run_frame(network, x, edges_us=batch.edges_us).totals * by).sum()

    value().backward()
    grad = gradients(network)
    step = 1e-6
    for name, parameter in network.trained.items():
        direction = torch.from_numpy(stream(1, name).normal(size=tuple(parameter.shape)))
        ends = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * step)
                ends.append(value().item())
                parameter.sub_(direction, alpha=sign * step)
        found = (grad[name] * direction).sum().item()
        assert found == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5), name
