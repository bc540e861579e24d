"""What every neuron does, and how a neuron is made from its description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from chiploop.network.surrogate import Surrogate
from chiploop.registry import Registry
from chiploop.spec.graph import NeuronSpec


class Neuron(Protocol):
    """A spiking neuron: parameters in, state passed through; nothing is kept, nothing is written in place."""

    def init(self, current: Tensor) -> Any:
        """Return the state at rest for currents of this shape."""

    def step(self, state: Any, current: Tensor, *, dt_us: int) -> tuple[Tensor, Any]:
        """Return the spikes of one step of the clock, and the state after it."""


NEURONS: Registry[Callable[[NeuronSpec, Surrogate], Neuron]] = Registry("neuron", "chiploop.network.neurons")


def make_neuron(spec: NeuronSpec, surrogate: Surrogate) -> Neuron:
    """Return the neuron that a description names."""
    return NEURONS.get(spec.kind)(spec, surrogate)
