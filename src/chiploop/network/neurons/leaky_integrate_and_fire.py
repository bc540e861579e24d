"""Leaky integrate-and-fire."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from chiploop.network.neuron import NEURONS
from chiploop.network.neurons.integrate_and_fire import after_reset
from chiploop.network.spike import SpikesPerStep, spike
from chiploop.network.surrogate import Exponential, Surrogate
from chiploop.spec.graph import NeuronSpec


class LIFState(NamedTuple):
    """State of leaky integrate-and-fire neurons."""

    v: Tensor  # membrane potential, [B, *shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class LIF:
    """Leaky integrate-and-fire, the current held constant over the step, decay solved exactly.

        alpha = exp(-dt / tau)
        v <- max(alpha v + (1 - alpha) current, v_min)
        s  = [v >= v_th]  or  floor(v / v_th)
        v <- v - s v_th   or  v [s = 0]

    Liu et al. 2024, eq. 2.

    >>> neuron = LIF(tau_us=20_000.0)
    >>> state = neuron.init(torch.zeros(1))
    >>> _, state = neuron.step(state, torch.tensor([0.5]), dt_us=20_000)
    >>> round(float(state.v), 4)   # 0.5 (1 - 1/e)
    0.3161
    """

    tau_us: float = 20_000.0
    v_th: float = 1.0
    v_min: float | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    spikes_per_step: SpikesPerStep = "all"
    surrogate: Surrogate = Exponential()

    def init(self, current: Tensor) -> LIFState:
        """Return potentials of zero."""
        return LIFState(v=torch.zeros_like(current))

    def step(self, state: LIFState, current: Tensor, *, dt_us: int) -> tuple[Tensor, LIFState]:
        """Decay and integrate one step, then fire."""
        alpha = math.exp(-dt_us / self.tau_us)
        v = alpha * state.v + (1.0 - alpha) * current
        if self.v_min is not None:
            v = v.clamp(min=self.v_min)
        s = spike(v, self.v_th, self.spikes_per_step, self.surrogate)
        return s, LIFState(v=after_reset(v, s, self.v_th, self.reset))


@NEURONS.register("lif")
def make_lif(spec: NeuronSpec, surrogate: Surrogate) -> LIF:
    """Return leaky integrate-and-fire: V <- alpha V + (1 - alpha) z; software only, the chip has no such leak."""
    assert spec.tau_us is not None  # NeuronSpec's own invariant
    return LIF(
        tau_us=spec.tau_us,
        v_th=spec.v_th,
        v_min=spec.v_min,
        reset=spec.reset,
        spikes_per_step=spec.spikes_per_step,
        surrogate=surrogate,
    )
