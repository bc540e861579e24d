"""Weights brought to the scale of spike counts: by data, layer by layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from chiploop.errors import TrainingError
from chiploop.network.network import Network
from chiploop.network.run import run_frame
from chiploop.spec.graph import NetworkSpec


@torch.no_grad()
def balance_thresholds(network: Network, x: Tensor, *, target: float) -> None:
    """Scale each layer's weights in place so that its mean count (of the units that respond) is `target` on a batch.

    x [B, C, H, W] counts over the whole sample. Layers are taken in order, each on the activity that the balanced
    ones before it give, so that no layer starts silent or runs away (compare Mishkin and Matas 2016, for variances).
    Should every output be negative, their mean magnitude is the target.
    Raises TrainingError for a layer that nothing reaches.
    """
    for layer in network.spec.spiking:
        counts = run_frame(network, x).counts[layer.name][0]
        active = counts[counts > 0]
        if active.numel() == 0 and layer is network.spec.spiking[-1]:
            active = -counts[counts < 0]  # few classes can all start negative: the output is linear, and learns
        if active.numel() == 0:
            raise TrainingError(f"layer {layer.name!r} stays silent on the first batch; check the data and the seed")
        network.weights[layer.name].mul_(target / active.mean())


@torch.no_grad()
def normalize_by_data(network: Network, x: Tensor, *, percentile: float, gain: float) -> NetworkSpec:
    """Return the network with every layer's weights rescaled so that its largest count equals the input's, times gain.

        W_l <- W_l f_l / f_(l-1),   f_l = gain lambda_0 / lambda_l,   f_0 = 1

    lambda_l is the percentile of the layer's positive activations, lambda_0 that of the input. ReLU is homogeneous, so
    the analogue network's decisions do not change; the spiking one gets as many spikes in every layer as its input
    has, and so neither starves nor saturates. `gain` enters once, in the first layer. Diehl et al. 2015 (maximum);
    Rueckauer et al. 2017 (percentile). x [B, C, H, W] counts over the whole sample. Raises TrainingError for a layer
    that never responds.
    """
    counts = run_frame(network, x).counts
    previous = _percentile(x, percentile) * gain
    scaled = Network(network.spec, surrogate=network.surrogate)
    scaled.load_weights(network.to_spec())
    before = 1.0
    for layer in network.spec.spiking:
        largest = _percentile(counts[layer.name][0], percentile)
        if largest <= 0:
            raise TrainingError(f"layer {layer.name!r} never responds: it cannot be normalised")
        factor = previous / largest
        scaled.weights[layer.name].mul_(factor / before)
        before = factor
    return scaled.to_spec()


def _percentile(x: Tensor, percentile: float) -> float:
    values = x[x > 0]
    if values.numel() == 0:
        return 0.0
    return float(np.percentile(values.detach().cpu().numpy(), percentile))
