"""The cheap remedy that the loop is compared with: one factor a layer, so that the chip fires as often as the model."""

from __future__ import annotations

from typing import Literal

import torch

from chiploop.errors import TrainingError
from chiploop.learn.batch import Batch
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.plan import PLANS
from chiploop.network.network import Network
from chiploop.network.run import run_frame, run_windows
from chiploop.spec.graph import NetworkSpec

ROUNDS = 4
"""Times a layer's factor is refined: counts follow weights only roughly, through the threshold."""


@torch.no_grad()
def correct_counts(
    network: Network, batch: Batch, executor: DeviceExecutor, *, model: Literal["frame", "windows"]
) -> NetworkSpec:
    """Return the network with each layer's weights (and bias) scaled until the chip's mean count is the model's.

        W_l <- W_l * mean(counts_model,l) / mean(counts_chip,l),  layer by layer from the input on

    Counting in windows is biased low against counting event by event, and the bias grows with depth; this takes out
    its mean and nothing else. Layers that merge are corrected each by itself: each then gives what the model gives, and
    so does their sum. Raises TrainingError for a layer that stays silent on the chip.
    """
    clocked = model == "windows"
    if clocked:
        run = run_windows(network, batch.x, edges_us=batch.edges_us)
    else:
        run = run_frame(network, batch.x.sum(0), edges_us=batch.edges_us)
    wanted = {name: float(counts.clamp(min=0.0).sum(0).mean()) for name, counts in run.counts.items()}
    corrected = Network(network.spec, surrogate=network.surrogate)
    corrected.load_weights(network.to_spec())
    for layer in network.spec.spiking:
        for _ in range(ROUNDS):
            executor.choose_grids(corrected)  # as deployed: on the grid of other weights, larger ones would be clipped
            seen = executor.observe(corrected, batch, PLANS["all"], clocked=False).observations
            observed = float(seen.counts[layer.name].sum(0).float().mean())
            if observed <= 0.0 or wanted[layer.name] <= 0.0:
                raise TrainingError(f"layer {layer.name!r} stays silent: its counts cannot be corrected by a factor")
            corrected.weights[layer.name].mul_(wanted[layer.name] / observed)
            if (
                layer.name in corrected.biases
            ):  # with both, as if the threshold were lowered: counts follow most closely
                corrected.biases[layer.name].mul_(wanted[layer.name] / observed)
    return corrected.to_spec()
