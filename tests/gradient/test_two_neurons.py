"""Chip-in-loop learning on networks small enough to be worked by hand: every number below was found on paper.

Both networks have one input pixel, one hidden neuron (weight w) and two output neurons (weights u). In both the chip is
seen to answer with total counts (2, 0), the label is class 1 and the temperature is 2 / ln 3, so that

    softmax((2, 0) / temperature) = (3/4, 1/4),   L = -ln 1/4 = ln 4
    dL/dy = ((3/4, 1/4) - (0, 1)) / temperature = G (1, -1)   with   G = 3/4 . ln 3 / 2 = 3 ln 3 / 8
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.events.types import Events, SensorShape
from chiploop.learn.batch import Batch
from chiploop.learn.executor import DeviceExecutor, Pending, Seen
from chiploop.learn.method import METHODS, MethodOptions
from chiploop.learn.plan import InjectionPlan
from chiploop.network.network import Network
from chiploop.network.run import Observations
from chiploop.network.surrogate import Triangle
from chiploop.quantize.scheme import IntScheme
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Flatten, Linear
from strategies_network import gradients

PIXEL = SensorShape(1, 1, 1)
TEMPERATURE = 2.0 / math.log(3.0)
G = 3.0 * math.log(3.0) / 8.0
FLOAT32 = 1e-6  # relative; a dozen float32 roundings


@dataclass
class Recorded:
    """An executor that plays back one observation of a chip."""

    observations: Observations

    def begin(self, network: Network, batch: Batch, plan: InjectionPlan, *, clocked: bool) -> Pending:
        return Pending(self.observations.counts, lambda: Seen(observations=self.observations))


def two_layers(w: float, u: Sequence[float], hidden: NeuronSpec, output: NeuronSpec) -> NetworkSpec:
    flat = LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=(1, 1, 1))
    first = LayerSpec(
        name="hidden", op=Linear(features=1), weight=np.array([[w]], np.float32), neuron=hidden, in_shape=(1,)
    )
    second = LayerSpec(
        name="out", op=Linear(features=2), weight=np.array(u, np.float32)[:, None], neuron=output, in_shape=(1,)
    )
    return chain([flat, first, second], input_shape=(1, 1, 1), dt_us=10)


def batch_of(counts: Sequence[int], label: int) -> Batch:
    """One recording with so many events in each window of 10 us."""
    times = [10 * t + k for t, n in enumerate(counts) for k in range(n)]
    zeros = [0] * len(times)
    events = Events.from_columns(times, zeros, zeros, zeros, PIXEL, stop_us=10 * len(counts))
    x = torch.tensor(counts, dtype=torch.float32).reshape(-1, 1, 1, 1, 1)
    return Batch((events,), x, torch.tensor([label]), tuple(range(0, 10 * len(counts) + 1, 10)))


def column(*values: float | Sequence[float]) -> torch.Tensor:
    """[T, 1, features] from one number, or one row of them, a window."""
    return torch.tensor(values, dtype=torch.float32).reshape(len(values), 1, -1)


def test_cil_with_ann() -> None:
    # x = 2 + 1 = 3 events; a_h = w x / theta_h = 0.5 . 3 / 1 = 1.5; a_o = u a_h / theta_o = (0.4, -0.2) . 1.5 / 0.5.
    # Injection at the output: dL/da_o = G (1, -1), whatever a_o is.
    #   dL/du = dL/da_o a_h / theta_o = 3 G (1, -1)
    #   dL/da_h = sum_k u_k dL/da_o,k / theta_o = (0.4 + 0.2) G / 0.5 = 1.2 G
    #   dL/dw = dL/da_h x / theta_h = 3.6 G
    network = Network(two_layers(0.5, (0.4, -0.2), NeuronSpec(v_th=1.0), NeuronSpec(v_th=0.5)))
    seen = Recorded(Observations(counts={"out": column((2.0, 0.0))}))
    method = METHODS.get("cil-ann")(MethodOptions(plan="output", loss="total", temperature=TEMPERATURE), seen)
    result = method.step(network, batch_of((2, 1), label=1))
    result.loss.backward()
    grad = gradients(network)
    assert result.loss.item() == pytest.approx(math.log(4.0), rel=FLOAT32)
    assert result.outputs.tolist() == [[2.0, 0.0]]
    assert grad["out"].flatten().tolist() == pytest.approx([3 * G, -3 * G], rel=FLOAT32)
    assert grad["hidden"].item() == pytest.approx(3.6 * G, rel=FLOAT32)


def test_cil_with_ann_and_the_hidden_layer_observed() -> None:
    # As above, but the hidden neuron was seen to spike twice, not 1.5 times: only dL/du changes, to 2 / 0.5 G (1, -1).
    network = Network(two_layers(0.5, (0.4, -0.2), NeuronSpec(v_th=1.0), NeuronSpec(v_th=0.5)))
    seen = Recorded(Observations(counts={"hidden": column(2.0), "out": column((2.0, 0.0))}))
    method = METHODS.get("cil-ann")(MethodOptions(plan="all", loss="total", temperature=TEMPERATURE), seen)
    method.step(network, batch_of((2, 1), label=1)).loss.backward()
    grad = gradients(network)
    assert grad["out"].flatten().tolist() == pytest.approx([4 * G, -4 * G], rel=FLOAT32)
    assert grad["hidden"].item() == pytest.approx(3.6 * G, rel=FLOAT32)


def test_cil_with_ann_through_the_virtual_chip() -> None:
    # scale of the largest weight: both layers store it as 127. Hidden: w = theta, each of 3 events gives a spike.
    # Output 0: u = theta / 2 spikes at the second of them, once in all; output 1: -theta / 4, never.
    # y = (1, 0), label 0, temperature 1 / ln 3: p = (3/4, 1/4), L = ln 4/3, dL/dy = (-1/4, 1/4) ln 3.
    #   a_h = w x / theta_h = 3;  dL/du = dL/dy a_h / theta_o = 3/4 ln 3 (-1, 1) / 0.5
    #   dL/da_h = (u . dL/dy) / theta_o = (-0.25 - 0.125) / 4 ln 3 / 0.5 = -0.1875 ln 3;  dL/dw = 3 dL/da_h
    network = Network(two_layers(1.0, (0.25, -0.125), NeuronSpec(v_th=1.0), NeuronSpec(v_th=0.5)))
    options = MethodOptions(plan="output", loss="total", temperature=1.0 / math.log(3.0))
    with VirtualDevice(threads=1) as device:
        executor = DeviceExecutor(device=device, profile=read_profile("ideal"), scheme=IntScheme(search="max"))
        method = METHODS.get("cil-ann")(options, executor)
        method.begin_epoch(network)
        result = method.step(network, batch_of((2, 1), label=0))
    result.loss.backward()
    grad = gradients(network)
    assert result.outputs.tolist() == [[1.0, 0.0]]
    assert result.synops == 3 + 3 * 2
    assert result.loss.item() == pytest.approx(math.log(4.0 / 3.0), rel=FLOAT32)
    assert grad["out"].flatten().tolist() == pytest.approx([-1.5 * math.log(3.0), 1.5 * math.log(3.0)], rel=FLOAT32)
    assert grad["hidden"].item() == pytest.approx(-0.5625 * math.log(3.0), rel=FLOAT32)


# CIL with BPTT, two windows, every layer's counts and potentials observed; IF, reset by subtraction, several spikes a
# step, surrogate Triangle(1): slope(x) = max(0, 1 - |x|), x = (V - theta) / theta, held at 1 above threshold.
#
# Hidden: theta = 2, w = 1.4, x = (2, 1). Seen: counts (1, 1), V = (-0.4, 0.6).
#   before_1 = 2.8          x =  0.4 -> 0     slope 1
#   before_2 = -0.4 + 1.4 = 1.0, x = -0.5     slope 0.5       (from the seen V, not the modelled 0.8)
# Outputs: theta = 1, u = (0.6, 0.3). Seen: counts (1, 0), (1, 0), V_1 = (0.2, 0.4), V_2 = (0.9, 0.9) (nothing follows).
#   before_1 = u . 1 = (0.6, 0.3)             slopes (0.6, 0.3)
#   before_2 = V_1 + u . 1 = (0.8, 0.7)       slopes (0.8, 0.7)
#
# Backward, d_t = dL/dbefore_t; from dL/ds_t, and d_(t+1) through V (keep = 1), the reset taking theta off V a spike:
#   d_t = d_(t+1) + slope_t / theta (dL/ds_t - theta d_(t+1))
# Output 0: dL/ds = G both times:   d_2 = 0.8 G,   d_1 = 0.8 + 0.6 (1 - 0.8) = 0.92 G
# Output 1: dL/ds = -G both times:  d_2 = -0.7 G,  d_1 = -0.7 + 0.3 (-1 + 0.7) = -0.79 G
#   dL/du = sum_t d_t . seen hidden count = (1.72, -1.49) G
# Hidden: dL/ds_2 = 0.6 . 0.8 - 0.3 . 0.7 = 0.27 G,  dL/ds_1 = 0.6 . 0.92 - 0.3 . 0.79 = 0.315 G
#   d_2 = 0.5 / 2 . 0.27 = 0.0675 G,  d_1 = 0.0675 + 1/2 (0.315 - 2 . 0.0675) = 0.1575 G
#   dL/dw = 2 d_1 + 1 d_2 = 0.3825 G
WORKED = {"out": [1.72 * G, -1.49 * G], "hidden": [0.3825 * G]}
SEEN = Observations(
    counts={"hidden": column(1.0, 1.0), "out": column((1.0, 0.0), (1.0, 0.0))},
    v={"hidden": column(-0.4, 0.6), "out": column((0.2, 0.4), (0.9, 0.9))},
)


def worked_network(spikes_per_step: str = "all") -> Network:
    hidden = NeuronSpec(v_th=2.0, spikes_per_step=spikes_per_step)  # type: ignore[arg-type]
    return Network(two_layers(1.4, (0.6, 0.3), hidden, NeuronSpec(v_th=1.0)), surrogate=Triangle())


# Of the counts (1, 0) in each window, the loss a window scales by T = 2 and averages over 2: the same dL/dy.
@pytest.mark.parametrize("loss", ["total", "windows"])
def test_cil_with_bptt(loss: str) -> None:
    network = worked_network()
    options = MethodOptions(plan="all+v", loss=loss, temperature=TEMPERATURE)
    result = METHODS.get("cil-bptt")(options, Recorded(SEEN)).step(network, batch_of((2, 1), label=1))
    result.loss.backward()
    grad = gradients(network)
    assert result.loss.item() == pytest.approx(math.log(4.0), rel=FLOAT32)
    assert result.outputs.tolist() == [[2.0, 0.0]]
    for name, numbers in WORKED.items():
        assert grad[name].flatten().tolist() == pytest.approx(numbers, rel=FLOAT32), name


def test_cil_with_bptt_where_a_neuron_fires_once_a_step() -> None:
    # The surrogate now falls above threshold too: the hidden slope_1 is 0.6, not 1, and
    #   d_1 = 0.0675 + 0.6 / 2 (0.315 - 0.135) = 0.1215 G,  dL/dw = 2 d_1 + d_2 = 0.3105 G
    network = worked_network("one")
    options = MethodOptions(plan="all+v", loss="total", temperature=TEMPERATURE)
    METHODS.get("cil-bptt")(options, Recorded(SEEN)).step(network, batch_of((2, 1), label=1)).loss.backward()
    assert gradients(network)["hidden"].item() == pytest.approx(0.3105 * G, rel=FLOAT32)


def test_cil_with_bptt_where_only_output_counts_are_seen() -> None:
    # The model goes on from its own values. Hidden: before_1 = 2.8 (1 spike, V = 0.8), before_2 = 2.2 (1 spike): both
    # above threshold, slopes 1. Outputs: V_1 = (0.6, 0.3), before_2 = (1.2, 0.6): slopes (0.6, 0.3), then (1, 0.6).
    #   output 0: d_2 = G, d_1 = 1 + 0.6 (1 - 1) = G;   output 1: d_2 = -0.6 G, d_1 = -0.6 + 0.3 (-0.4) = -0.72 G
    #   dL/du = (2, -1.32) G
    #   hidden: dL/ds_2 = 0.6 - 0.18 = 0.42 G, dL/ds_1 = 0.6 - 0.216 = 0.384 G
    #   d_2 = 0.21 G,  d_1 = 0.21 + 1/2 (0.384 - 0.42) = 0.192 G,  dL/dw = 0.384 + 0.21 = 0.594 G
    network = worked_network()
    seen = Recorded(Observations(counts={"out": SEEN.counts["out"]}))
    options = MethodOptions(plan="output", loss="total", temperature=TEMPERATURE)
    METHODS.get("cil-bptt")(options, seen).step(network, batch_of((2, 1), label=1)).loss.backward()
    grad = gradients(network)
    assert grad["out"].flatten().tolist() == pytest.approx([2 * G, -1.32 * G], rel=FLOAT32)
    assert grad["hidden"].item() == pytest.approx(0.594 * G, rel=FLOAT32)


def test_a_joint_loss_adds_the_models_own() -> None:
    # The model's own counts, from the case above: hidden (1, 1), outputs (0, 0) then (1, 0): totals (1, 0), and
    # softmax((1, 0) / temperature) = (r, 1) / (r + 1) with r = e^(ln 3 / 2) = sqrt 3; L_own = ln(1 + sqrt 3).
    # Seen loss ln 4. With joint = 0.5: L = ln 4 + 0.5 ln(1 + sqrt 3).
    # Gradients are linear in dL/dy = G_own (1, -1), G_own = r / (r + 1) / temperature: those of "only output counts".
    network = worked_network()
    seen = Recorded(Observations(counts={"out": SEEN.counts["out"]}))
    options = MethodOptions(plan="output", loss="total", temperature=TEMPERATURE, joint=0.5)
    result = METHODS.get("cil-bptt")(options, seen).step(network, batch_of((2, 1), label=1))
    result.loss.backward()
    root = math.sqrt(3.0)
    both = G + 0.5 * root / (root + 1.0) / TEMPERATURE
    assert result.loss.item() == pytest.approx(math.log(4.0) + 0.5 * math.log(1.0 + root), rel=FLOAT32)
    assert gradients(network)["out"].flatten().tolist() == pytest.approx([2 * both, -1.32 * both], rel=FLOAT32)
