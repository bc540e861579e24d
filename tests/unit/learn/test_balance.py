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
from strategies_network import require_same_tensors, shapes_batch, shapes_samples, small_network, small_spec, weights


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
