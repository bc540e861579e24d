"""The correction of counts by one factor a layer, against what the deployed network then does."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.datasets.shapes import open_shapes
from chiploop.learn.balance import balance_thresholds
from chiploop.learn.batch import Batch, Samples
from chiploop.learn.correct import correct_counts
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.plan import PLANS
from chiploop.network.network import Network
from chiploop.network.run import run_frame, run_windows
from chiploop.rng import stream
from chiploop.spec import NeuronSpec
from chiploop.spec.graph import NetworkSpec
from chiploop.spec.notation import parse_notation

Model = Literal["frame", "windows"]


def observed(device: VirtualDevice, spec: NetworkSpec, batch: Batch) -> dict[str, float]:
    """Mean counts of a network on the chip, quantised anew as it will be when deployed."""
    executor = DeviceExecutor(device, read_profile("speck2f"))
    counts = executor.observe(Network(spec), batch, PLANS["all"], clocked=False).observations.counts
    return {name: float(value.sum(0).float().mean()) for name, value in counts.items()}


@pytest.mark.parametrize("model", ["frame", "windows"])
def test_hidden_layers_of_the_deployed_network_fire_as_in_the_model(model: Model) -> None:
    shapes = open_shapes()
    samples = Samples.of(shapes, np.arange(60), 4)
    batch = samples.batch(range(60))
    neuron = NeuronSpec(v_min=-1.0)
    network = Network(parse_notation("8c3p1-P2-8c3p1-3", shapes.shape, neuron, stream(0, "w"), dt_us=4_000))
    balance_thresholds(network, batch.x.sum(0), target=4.0)
    with torch.no_grad():
        run = run_windows(network, batch.x) if model == "windows" else run_frame(network, batch.x.sum(0))
    wanted = {name: float(value.clamp(min=0.0).sum(0).mean()) for name, value in run.counts.items()}
    with VirtualDevice(threads=1) as device:
        executor = DeviceExecutor(device, read_profile("speck2f"))
        corrected = correct_counts(network, batch, executor, model=model)
        before, after = observed(device, network.to_spec(), batch), observed(device, corrected, batch)
    # The second layer needs larger weights: on the grid of the old ones they would be clipped, and the factor wrong.
    assert abs(before["conv2"] / wanted["conv2"] - 1.0) > 0.05
    for name in ("conv1", "conv2"):
        assert after[name] == pytest.approx(wanted[name], rel=0.025)
