"""Weights brought to the scale of spike counts: by data, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from chiploop.errors import TrainingError
from chiploop.learn.owners import Owners, heard_owners, merged_groups
from chiploop.network.network import Network
from chiploop.network.run import run_frame
from chiploop.network.ticks import window_ticks
from chiploop.spec.graph import INPUT, LayerSpec, NetworkSpec

RANGE = 2.0**20
"""Most that the weights of a layer with a bias are raised or lowered by."""

HALVINGS = 24
"""Times that this range is halved, on a scale of logarithms: to a millionth of the factor."""


@torch.no_grad()
def balance_thresholds(network: Network, x: Tensor, *, target: float, edges_us: Sequence[int] | None = None) -> None:
    """Scale each layer's weights in place so that its mean count (of the units that respond) is `target` on a batch.

    x [B, C, H, W] counts over the whole sample. Layers are taken in order, each on the activity that the balanced
    ones before it give, so that no layer starts silent or runs away (compare Mishkin and Matas 2016, for variances).
    Layers that merge are scaled each by itself: the network has learnt nothing yet that it could lose, and no branch
    of it should start silent. Biases stay; the weights make up for them (`edges_us`: where their clock begins and
    ends). Should every output be negative, their mean magnitude is the target.
    Raises TrainingError for a layer that nothing reaches, or whose bias alone gives more than the target.
    """
    for layer in network.spec.spiking:
        if layer.bias is not None:
            network.weights[layer.name].mul_(_factor_beside_bias(network, x, layer, target=target, edges_us=edges_us))
            continue
        counts = run_frame(network, x, edges_us=edges_us).counts[layer.name][0]
        active = counts[counts > 0]
        if active.numel() == 0 and layer is network.spec.spiking[-1]:
            active = -counts[counts < 0]  # few classes can all start negative: the output is linear, and learns
        if active.numel() == 0:
            raise _silent(layer)
        network.weights[layer.name].mul_(target / active.mean())


def _factor_beside_bias(
    network: Network, x: Tensor, layer: LayerSpec, *, target: float, edges_us: Sequence[int] | None
) -> float:
    """Return f with mean(f u + c) = target over the units above 0: u is what the weights give, c what the bias does."""
    counts = _linear_counts(network, x, layer, edges_us)
    own = _bias_counts(network, layer, counts, edges_us)
    by_weights = counts - own
    if layer is network.spec.spiking[-1] and not (by_weights > 0).any():
        by_weights, own = -by_weights, -own

    def mean(factor: float) -> float:
        values = by_weights * factor + own
        return float(values.clamp(min=0.0).sum() / (values > 0).sum().clamp(min=1))

    low, high = 1.0 / RANGE, RANGE
    if mean(high) < target:
        raise _silent(layer)
    if mean(low) >= target:
        raise TrainingError(
            f"layer {layer.name!r}: its bias alone counts {mean(low):.3g}, past the mean of {target:g} that it is to "
            "have; lower the bias or raise the activity"
        )
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if mean(middle) < target else (low, middle)
    return high


def _linear_counts(network: Network, x: Tensor, layer: LayerSpec, edges_us: Sequence[int] | None) -> Tensor:
    """Return a layer's counts before the max with 0: those of the network that ends in it."""
    spec = network.to_spec()
    names = [one.name for one in spec.layers]
    layers = spec.layers[: names.index(layer.name) + 1]
    heard = {one.name for one in layers}
    edges = tuple(edge for edge in spec.edges if edge.target in heard)
    last = Network(replace(spec, layers=layers, edges=edges))
    return run_frame(last, x, edges_us=edges_us).counts[layer.name][0]


def _bias_counts(network: Network, layer: LayerSpec, like: Tensor, edges_us: Sequence[int] | None) -> Tensor:
    """Return what the bias alone gives to each count, n b / v_th."""
    assert layer.neuron is not None
    assert edges_us is not None  # else run_frame raised
    assert network.spec.clock_us is not None  # the spec's own invariant
    (n_ticks,) = window_ticks((edges_us[0], edges_us[-1]), network.spec.clock_us)
    bias: Tensor = network.biases[layer.name].reshape(-1, *(1,) * (like.dim() - 2))
    return (bias * (float(n_ticks) / layer.neuron.v_th)).expand_as(like)


def _silent(layer: LayerSpec) -> TrainingError:
    return TrainingError(f"layer {layer.name!r} stays silent on the first batch; check the data and the seed")


@torch.no_grad()
def normalize_by_data(
    network: Network, x: Tensor, *, percentile: float, gain: float, edges_us: Sequence[int] | None = None
) -> NetworkSpec:
    """Return the network with every layer's weights rescaled so that its largest count equals the input's, times gain.

        W_l <- W_l f_l / f_(l-1),   b_l <- b_l f_l,   f_l = gain lambda_0 / lambda_l,   f_0 = 1

    lambda_l is the percentile of the layer's positive activations, lambda_0 that of the input. ReLU is homogeneous, so
    the analogue network's decisions do not change; the spiking one gets as many spikes in every layer as its input
    has, and so neither starves nor saturates. `gain` enters once, in the first layer. Diehl et al. 2015 (maximum);
    Rueckauer et al. 2017 (percentile). x [B, C, H, W] counts over the whole sample; `edges_us`: where the clock of
    biases begins and ends. Raises TrainingError for a layer that never responds.

    What is added up must be scaled alike, or the sum would change: layers that merge, directly or through others, share
    the smallest of their factors, and keep 1 where they merge with the input. What is joined side by side needs no
    common factor, since each channel's weights are divided by its own source's.
    """
    counts = run_frame(network, x, edges_us=edges_us).counts
    wanted = _percentile(x, percentile) * gain
    factors = {INPUT: 1.0}
    for layer in network.spec.spiking:
        largest = _percentile(counts[layer.name][0], percentile)
        if largest <= 0:
            raise TrainingError(f"layer {layer.name!r} never responds: it cannot be normalised")
        factors[layer.name] = wanted / largest
    heard = heard_owners(network.spec)
    groups = merged_groups(heard)
    shared = {name: _shared(groups.get(name, frozenset({name})), factors) for name in factors}
    scaled = Network(network.spec, surrogate=network.surrogate)
    scaled.load_weights(network.to_spec())
    for layer in network.spec.spiking:
        _rescale(scaled, layer, shared[layer.name], heard[layer.name], shared)
    return scaled.to_spec()


def _shared(group: frozenset[str], factors: dict[str, float]) -> float:
    return 1.0 if INPUT in group else min(factors[name] for name in group)


def _rescale(network: Network, layer: LayerSpec, factor: float, heard: Owners, shared: dict[str, float]) -> None:
    """Multiply a layer's output by `factor`, its inputs having been multiplied by those of their owners."""
    ratios = [factor / shared[min(owners)] if owners else 1.0 for owners in heard]  # all owners of a channel share one
    weight = network.weights[layer.name]
    weight.mul_(torch.tensor(ratios, dtype=weight.dtype).reshape(-1, *(1,) * (weight.dim() - 2)))
    if layer.name in network.biases:
        network.biases[layer.name].mul_(factor)


def _percentile(x: Tensor, percentile: float) -> float:
    values = x[x > 0]
    if values.numel() == 0:
        return 0.0
    return float(np.percentile(values.detach().cpu().numpy(), percentile))
