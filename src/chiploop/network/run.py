"""Running a network: over the windows of a clock as spikes, or once as activations in units of counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from chiploop.errors import SpecError
from chiploop.network.inject import inject
from chiploop.network.network import Network
from chiploop.network.scan import scan
from chiploop.spec.graph import LayerSpec
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What an executor saw, by layer name, in the units of the network: counts and v of shape [T, B, ...].

    For a run without a clock, T is 1 and the counts are those of the whole sample.
    """

    counts: Mapping[str, Tensor] = field(default_factory=dict)
    v: Mapping[str, Tensor] = field(default_factory=dict)


NOTHING = Observations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run gave: per spiking layer the counts that went on (observed ones where injected) and potentials."""

    counts: Mapping[str, Tensor]
    v: Mapping[str, Tensor]
    output: str

    @property
    def outputs(self) -> Tensor:
        """Output counts by window, [T, B, classes]; a map of classes is flattened."""
        return self.counts[self.output].flatten(2)

    @property
    def totals(self) -> Tensor:
        """Output counts over the whole run, [B, classes]."""
        return self.outputs.sum(0)


def apply_op(layer: LayerSpec, x: Tensor, weight: Tensor | None) -> Tensor:
    """Return a layer's operation on [N, ...] inputs."""
    match layer.op:
        case Conv(stride=stride, padding=padding):
            assert weight is not None
            return F.conv2d(x, weight, stride=stride, padding=padding)
        case Linear():
            assert weight is not None
            return F.linear(x, weight)
        case SumPool(size=size):
            # Linear in its input, so that silent windows pass gradients too.
            return F.avg_pool2d(x, size, divisor_override=1)
        case Flatten():
            return x.flatten(1)


def run_windows(network: Network, x: Tensor, *, observed: Observations = NOTHING) -> Run:
    """Run the spiking network over windows.

    x: [T, B, *input_shape], event counts a window. Every layer works on all windows at once (T merged into the
    batch for the linear part, one scan for the neurons), which a network without recurrence allows. Where `observed`
    has a layer, its spikes or potentials take the observed values and pass their gradients to the modelled ones.
    """
    dt_us = network.spec.dt_us
    if dt_us is None:
        raise SpecError("this network knows no clock: give its spec a dt_us to run it over windows")
    counts: dict[str, Tensor] = {}
    potentials: dict[str, Tensor] = {}

    def fire(layer: LayerSpec, current: Tensor) -> Tensor:
        steps = current.unflatten(0, x.shape[:2])  # type: ignore[no-untyped-call]
        spikes, v = scan(
            network.neuron(layer),
            network.surrogate,
            steps,
            dt_us=dt_us,
            counts=observed.counts.get(layer.name),
            v=observed.v.get(layer.name),
        )
        counts[layer.name], potentials[layer.name] = spikes, v
        return spikes.flatten(0, 1)

    _run_layers(network, x.flatten(0, 1), fire)
    return Run(counts=counts, v=potentials, output=network.spec.spiking[-1].name)


def run_frame(network: Network, x: Tensor, *, whole_counts: bool = False, observed: Observations = NOTHING) -> Run:
    """Run the same weights as an analogue network in units of counts.

        a_l = max(0, W_l a_(l-1)) / v_th

    x: [B, *input_shape], each pixel's event count over the whole sample; then a unit's value is the spike count that it
    predicts. `whole_counts` takes the floor of it, the gradient going straight through. The last layer stays linear
    (no max), so that wrong classes learn too. Liu et al. 2024, section 3.3.1; results have T = 1.
    """
    counts: dict[str, Tensor] = {}
    last = network.spec.spiking[-1].name

    def fire(layer: LayerSpec, current: Tensor) -> Tensor:
        a = current / network.neuron(layer).v_th
        if layer.name != last:
            a = a.clamp(min=0.0)
            if whole_counts:
                a = inject(a, a.detach().floor())
        if layer.name in observed.counts:
            a = inject(a, observed.counts[layer.name][0])
        counts[layer.name] = a.unsqueeze(0)
        return a

    _run_layers(network, x, fire)
    return Run(counts=counts, v={}, output=last)


def _run_layers(network: Network, x: Tensor, fire: Callable[[LayerSpec, Tensor], Tensor]) -> None:
    if not network.spec.is_chain:
        raise SpecError("only chains of layers run here")
    for layer in network.spec.layers:
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        x = apply_op(layer, x, network.weight(layer.name) if layer.weight is not None else None)
        if layer.neuron is not None:
            x = fire(layer, x)
