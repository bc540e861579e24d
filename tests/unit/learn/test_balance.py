"""Weights brought to the scale of spike counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from chiploop.errors import TrainingError
from chiploop.learn.balance import balance_thresholds, normalize_by_data
from chiploop.network.network import Network
from chiploop.network.run import run_frame
from chiploop.spec.graph import NeuronSpec
from strategies_network import (
    BLOCKS,
    require_same_tensors,
    shapes_batch,
    shapes_samples,
    small_network,
    small_spec,
    weights,
)


@pytest.mark.parametrize("target", [0.5, 3.0])
@pytest.mark.parametrize("v_th", [1.0, 0.2])
def test_the_mean_active_count_of_every_layer_is_the_target(target: float, v_th: float) -> None:
    network, x = Network(small_spec(2, neuron=NeuronSpec(v_th=v_th))), shapes_batch(12).x.sum(0)
    balance_thresholds(network, x, target=target)
    counts = run_frame(network, x).counts
    for layer in network.spec.spiking:
        active = counts[layer.name][counts[layer.name] > 0]
        assert float(active.detach().mean()) == pytest.approx(target, rel=1e-5)


def test_balancing_again_changes_nothing_but_roundings() -> None:
    network, x = small_network(2), shapes_batch(12).x.sum(0)
    balance_thresholds(network, x, target=2.0)
    once = weights(network)
    balance_thresholds(network, x, target=2.0)
    for name, weight in weights(network).items():
        torch.testing.assert_close(weight, once[name], rtol=1e-5, atol=0)


def test_outputs_that_all_start_negative_are_balanced_by_magnitude() -> None:
    spec = small_spec(2)
    last = dataclasses.replace(spec.layers[-1], weight=-np.abs(spec.layers[-1].weight))
    network, x = Network(dataclasses.replace(spec, layers=(*spec.layers[:-1], last))), shapes_batch().x.sum(0)
    balance_thresholds(network, x, target=2.0)
    counts = run_frame(network, x).counts["fc1"].detach()
    assert not (counts > 0).any()
    assert float(-counts[counts < 0].mean()) == pytest.approx(2.0, rel=1e-5)


def test_a_layer_that_nothing_reaches_is_named() -> None:
    spec = small_spec(2)
    first = dataclasses.replace(spec.layers[0], weight=-np.abs(spec.layers[0].weight))
    dead, x = dataclasses.replace(spec, layers=(first, *spec.layers[1:])), shapes_batch().x.sum(0)
    with pytest.raises(TrainingError, match="layer 'conv1' stays silent"):
        balance_thresholds(Network(dead), x, target=2.0)
    with pytest.raises(TrainingError, match="layer 'conv1' never responds"):
        normalize_by_data(Network(dead), x, percentile=99.0, gain=1.0)


@pytest.mark.parametrize(("percentile", "gain"), [(100.0, 1.0), (99.0, 1.0), (90.0, 0.5)])
def test_normalising_equalises_percentiles_and_keeps_decisions(percentile: float, gain: float) -> None:
    network, x = small_network(2), shapes_batch(12).x.sum(0)
    before = weights(network)
    spec = normalize_by_data(network, x, percentile=percentile, gain=gain)
    require_same_tensors(weights(network), before)  # the network itself is left alone
    normalized = Network(spec)
    want = gain * np.percentile(x[x > 0].numpy(), percentile)
    for name, counts in run_frame(normalized, x).counts.items():
        found = counts.detach()
        assert np.percentile(found[found > 0].numpy(), percentile) == pytest.approx(want, rel=1e-4), name
    fresh = shapes_samples(60, split="test").batch(range(60)).x.sum(0)
    one, other = (run_frame(n, fresh).totals.detach() for n in (network, normalized))
    ratio = other / one
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0, 0])), rtol=1e-2, atol=0)
    assert torch.equal(one.argmax(1), other.argmax(1))


@pytest.mark.parametrize("bias", [-0.2, -0.01, 0.02])
@pytest.mark.parametrize("target", [1.0, 4.0])
def test_weights_make_up_for_biases(bias: float, target: float) -> None:
    """16 ticks of the bias: from 3.2 counts taken to 0.3 given."""
    network, batch = small_network(2, notation=BLOCKS, bias=bias), shapes_batch(12)
    x = batch.x.sum(0)
    with torch.no_grad():
        for weight in network.weights.values():
            weight.mul_(0.003)  # the leaks keep every layer silent at first
    balance_thresholds(network, x, target=target, edges_us=batch.edges_us)
    counts = run_frame(network, x, edges_us=batch.edges_us).counts
    for layer in network.spec.spiking:
        found = counts[layer.name].detach()
        assert float(found[found > 0].mean()) == pytest.approx(target, rel=2e-3), layer.name
        assert network.biases[layer.name].unique().tolist() == [np.float32(bias)]


def test_a_bias_that_alone_gives_more_than_the_target_is_named() -> None:
    batch = shapes_batch()
    spec = dataclasses.replace(small_spec(2), clock_us=1_000)
    last = dataclasses.replace(spec.layers[-1], bias=np.full(3, 0.5, np.float32))
    network = Network(dataclasses.replace(spec, layers=(*spec.layers[:-1], last)))
    with pytest.raises(
        TrainingError, match="layer 'fc1': its bias alone counts 8, past the mean of 4 that it is to have"
    ):
        balance_thresholds(network, batch.x.sum(0), target=4.0, edges_us=batch.edges_us)


@pytest.mark.parametrize(
    ("notation", "bias", "tau_us"),
    [
        (BLOCKS, None, None),
        (BLOCKS, -0.05, None),
        (BLOCKS, 0.1, 9_000.0),
        ("(2c3p1)-4c3p1-(4c3p1)-(4c3p1-[2c1]-4c1)-P2-3", None, None),
        ("[(2c3p1)]-4c3p1-P2-[3c1-(3c1)]-3", -0.02, None),
    ],
)
def test_normalising_a_graph_keeps_its_decisions(notation: str, bias: float | None, tau_us: float | None) -> None:
    """ReLU is homogeneous: what each owner gives is scaled by its factor, the outputs all by one."""
    neuron = NeuronSpec(kind="if" if tau_us is None else "lif", tau_us=tau_us)
    network, batch = small_network(2, notation=notation, bias=bias, neuron=neuron), shapes_batch(12)
    x, edges_us = batch.x.sum(0), batch.edges_us
    spec = normalize_by_data(network, x, percentile=99.0, gain=1.0, edges_us=edges_us)
    fresh = shapes_samples(60, split="test").batch(range(60)).x.sum(0).double()
    with torch.no_grad():
        one, other = (run_frame(n.double(), fresh, edges_us=edges_us) for n in (network, Network(spec)))
    factors = {}
    for name, counts in one.counts.items():
        busy = counts.abs() > 0.1  # what cancels to less shows the rounding of weights to float32
        ratio = (other.counts[name] / counts)[busy]
        factors[name] = float(ratio.mean())
        torch.testing.assert_close(ratio, torch.full_like(ratio, factors[name]), rtol=1e-4, atol=0)
        assert not (other.counts[name][counts == 0] > 1e-4).any()
    assert torch.equal(one.totals.argmax(1), other.totals.argmax(1))
    if notation == BLOCKS:
        assert factors["conv1"] == pytest.approx(factors["conv3"], rel=1e-6)  # added up
        assert factors["conv4"] != pytest.approx(factors["conv1"], rel=1e-2)  # beside them
    if notation.startswith("("):
        assert factors["conv1"] == pytest.approx(1.0, rel=1e-6)  # added to the input


def test_layers_that_merge_share_the_smallest_factor() -> None:
    network, batch = small_network(2, notation=BLOCKS), shapes_batch(12)
    x = batch.x.sum(0)
    spec = normalize_by_data(network, x, percentile=100.0, gain=1.0)
    largest = {name: float(counts.detach().max()) for name, counts in run_frame(Network(spec), x).counts.items()}
    most = float(x.max())
    assert max(largest["conv1"], largest["conv3"]) == pytest.approx(most, rel=1e-4)
    assert min(largest["conv1"], largest["conv3"]) < most
    for alone in ("conv2", "conv4", "fc1"):
        assert largest[alone] == pytest.approx(most, rel=1e-4)
