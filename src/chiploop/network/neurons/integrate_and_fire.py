"""Integrate-and-fire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from chiploop.network.neuron import NEURONS
from chiploop.network.spike import SpikesPerStep, spike
from chiploop.network.surrogate import Exponential, Surrogate
from chiploop.spec.graph import NeuronSpec


class IFState(NamedTuple):
    """State of integrate-and-fire neurons."""

    v: Tensor  # membrane potential, [B, *shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class IF:
    """Integrate-and-fire without leak.

        v <- max(v + current, v_min)
        s  = [v >= v_th]  or  floor(v / v_th)
        v <- v - s v_th   or  v [s = 0]

    Liu et al. 2024, eq. 1; the floor is the chip's lower threshold.

    >>> neuron = IF(spikes_per_step="one")
    >>> state = neuron.init(torch.zeros(1, 1))
    >>> spikes = []
    >>> for _ in range(4):
    ...     s, state = neuron.step(state, torch.full((1, 1), 0.5), dt_us=1_000)
    ...     spikes.append(int(s))
    >>> spikes
    [0, 1, 0, 1]
    """

    v_th: float = 1.0
    v_min: float | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    spikes_per_step: SpikesPerStep = "all"
    surrogate: Surrogate = Exponential()

    def init(self, current: Tensor) -> IFState:
        """Return potentials of zero."""
        return IFState(v=torch.zeros_like(current))

    def step(self, state: IFState, current: Tensor, *, dt_us: int) -> tuple[Tensor, IFState]:
        """Integrate one step's current, then fire; without leak the length of the step does not matter."""
        del dt_us
        v = state.v + current
        if self.v_min is not None:
            v = v.clamp(min=self.v_min)
        s = spike(v, self.v_th, self.spikes_per_step, self.surrogate)
        return s, IFState(v=after_reset(v, s, self.v_th, self.reset))


def after_reset(v: Tensor, s: Tensor, v_th: float, reset: Literal["subtract", "zero"]) -> Tensor:
    """Return the potential after the spikes left; a neuron that did not fire keeps its own."""
    return v - s * v_th if reset == "subtract" else v * (1.0 - s.clamp(max=1.0))


@NEURONS.register("if")
def make_if(spec: NeuronSpec, surrogate: Surrogate) -> IF:
    """Return integrate-and-fire: V <- V + z; what the chip has."""
    return IF(
        v_th=spec.v_th, v_min=spec.v_min, reset=spec.reset, spikes_per_step=spec.spikes_per_step, surrogate=surrogate
    )
