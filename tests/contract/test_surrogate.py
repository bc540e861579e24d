"""What every registered surrogate keeps to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.network.spike import count_spikes, spike
from chiploop.network.surrogate import SURROGATES, Exponential, FastSigmoid, Rectangle, Surrogate, Triangle
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from strategies_network import gradients, shapes_batch, small_spec

X = torch.linspace(0.0, 6.0, 601, dtype=torch.float64)


def made(name: str) -> Surrogate:
    return SURROGATES.get(name)()


def test_there_are_surrogates() -> None:
    assert {"exponential", "fast-sigmoid", "triangle", "rectangle"} <= set(SURROGATES.names())


@pytest.mark.parametrize("name", SURROGATES.names())
def test_even_non_negative_falling_and_one_at_threshold(name: str) -> None:
    slope = made(name).slope(X)
    assert torch.equal(slope, made(name).slope(-X))
    assert bool((slope >= 0).all())
    assert bool((slope.diff() <= 0).all())
    assert slope[0] == 1.0


@pytest.mark.parametrize(
    ("surrogate", "at", "slope"),
    [
        (Exponential(sharpness=2.0), 0.5, np.exp(-1.0)),
        (FastSigmoid(sharpness=4.0), 0.25, 0.25),
        (Triangle(width=2.0), 0.5, 0.75),
        (Triangle(width=2.0), 2.5, 0.0),
        (Rectangle(width=0.5), 0.5, 1.0),
        (Rectangle(width=0.5), 0.51, 0.0),
    ],
)
def test_values_worked_by_hand(surrogate: Surrogate, at: float, slope: float) -> None:
    assert surrogate.slope(torch.tensor([-at], dtype=torch.float64)).item() == pytest.approx(slope, rel=1e-14)


@pytest.mark.parametrize("name", SURROGATES.names())
@given(v=st.floats(-3.0, 6.0), v_th=st.sampled_from([0.25, 1.0, 3.0]), upstream=st.floats(-2.0, 2.0))
def test_gradient_is_slope_times_upstream(name: str, v: float, v_th: float, upstream: float) -> None:
    for per_step in ("one", "all"):
        leaf = torch.tensor([v], dtype=torch.float64, requires_grad=True)
        (spike(leaf, v_th, per_step, made(name)) * upstream).sum().backward()  # type: ignore[arg-type]
        x = v / v_th - 1.0
        x = min(x, 0.0) if per_step == "all" else x
        expected = upstream * made(name).slope(torch.tensor(x, dtype=torch.float64)).item() / v_th
        assert leaf.grad is not None
        assert leaf.grad.item() == pytest.approx(expected, rel=1e-12)


def test_spikes_at_on_and_around_the_threshold() -> None:
    v = torch.tensor([-5.0, 0.0, 1.99, 2.0, 3.99, 4.0, 9.0])
    assert count_spikes(v, 2.0, "one").tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert count_spikes(v, 2.0, "all").tolist() == [0, 0, 0, 1, 1, 2, 4]


def scaled(spec: NetworkSpec, k: float) -> NetworkSpec:
    """Weights, thresholds and floors times k."""
    layers = []
    for layer in spec.layers:
        if layer.neuron is None or layer.weight is None:
            layers.append(layer)
            continue
        v_min = None if layer.neuron.v_min is None else layer.neuron.v_min * k
        neuron = dataclasses.replace(layer.neuron, v_th=layer.neuron.v_th * k, v_min=v_min)
        layers.append(dataclasses.replace(layer, weight=layer.weight * np.float32(k), neuron=neuron))
    return dataclasses.replace(spec, layers=tuple(layers))


@pytest.mark.parametrize("k", [0.25, 8.0])  # powers of two scale floats exactly
@pytest.mark.parametrize("name", SURROGATES.names())
def test_scaling_weights_thresholds_and_floors_together_leaves_spikes_alone(name: str, k: float) -> None:
    """The same spikes, potentials times k, and dL/dw times 1 / k, for a whole network, exactly."""
    spec, x = small_spec(2, neuron=NeuronSpec(v_min=-0.5)), shapes_batch().x
    one, other = (Network(s, surrogate=made(name)) for s in (spec, scaled(spec, k)))
    plain, run = run_windows(one, x), run_windows(other, x)
    (plain.totals**2).sum().backward()
    (run.totals**2).sum().backward()
    for layer in plain.counts:
        assert torch.equal(plain.counts[layer], run.counts[layer])
        assert torch.equal(plain.v[layer] * k, run.v[layer])
    expected, found = gradients(one), gradients(other)
    for layer in expected:
        assert torch.equal(expected[layer], found[layer] * k)
        assert expected[layer].any()
