"""Running a network: over the windows of a clock as spikes, or once as activations in units of counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from chiploop.errors import SpecError, TrainingError
from chiploop.network.inject import inject
from chiploop.network.network import Network
from chiploop.network.scan import chip_sent, scan, scan_sent, sum_squares
from chiploop.network.ticks import window_ticks
from chiploop.network.unrun import unrun_op
from chiploop.spec.graph import INPUT, Edge, LayerSpec, NetworkSpec
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What an executor saw, by layer name: counts and v of shape [T, B, ...].

    Counts are uint16, as a chip gives them, or floats; v is in the units of the network, or int16 in those of
    `v_units`. For a run without a clock, T is 1 and the counts are those of the whole sample.
    """

    counts: Mapping[str, Tensor] = field(default_factory=dict)
    v: Mapping[str, Tensor] = field(default_factory=dict)
    v_units: Mapping[str, float] = field(default_factory=dict)

    def potentials(self, name: str) -> Tensor | None:
        """Return a layer's observed potentials in the units of the network."""
        v = self.v.get(name)
        return v if v is None or v.is_floating_point() else v.to(torch.float32) * self.v_units.get(name, 1.0)


NOTHING = Observations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """Observations of some layers that are still being made: `wait` gives them, again and again the same.

    A run waits when it comes to the first of these layers; what stands before it is computed meanwhile.
    """

    layers: frozenset[str]
    wait: Callable[[], Observations]


def _seen(observed: Observations | Awaited, name: str) -> Observations:
    if isinstance(observed, Awaited):
        return observed.wait() if name in observed.layers else NOTHING
    return observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run gave: per spiking layer the counts that went on (observed ones where injected) and potentials.

    Only those of the layers that were to be kept, and always the counts of the output.
    """

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
            return sum_squares(x, size)
        case Flatten():
            return x.flatten(1)


Forward = Literal["model", "chip"]
"""Who runs forward: the model, whose values observed ones then replace, or the chip alone."""

Keep = Literal["all", "counts", "output"]
"""What a run is to give: counts and potentials of every layer, counts alone, or the counts of the output alone."""


def run_windows(
    network: Network,
    x: Tensor,
    *,
    edges_us: Sequence[int] | None = None,
    observed: Observations | Awaited = NOTHING,
    keep: Keep = "all",
    forward: Forward = "model",
) -> Run:
    """Run the spiking network over windows.

        z_l[t] = W_l sum_k y_k[t] + n[t] b_l / gain      over the sources k of layer l

    x: [T, B, *input_shape], event counts a window. n[t] is the number of ticks of the slow clock in window t, whose
    edges are `edges_us` (T + 1; by default 0, dt_us, 2 dt_us, ...): each adds the bias b to the potential itself. Every
    layer works on all windows at once (T merged into the batch for the linear part, one scan for the neurons), which a
    network without recurrence allows. Where `observed` has a layer, its spikes or potentials take the observed values
    and pass their gradients to the modelled ones. With less to `keep`, less memory is taken, and written.

    With `forward` "chip" the model computes nothing forward: every layer's counts and potentials must be observed, and
    its surrogates stand at the chip's own potentials, V_chip[t] + v_th y_chip[t] before the reset (Liu et al. 2024,
    eq. 8). Then there are no modelled potentials to keep.
    """
    dt_us = network.spec.dt_us
    if dt_us is None:
        raise SpecError("this network knows no clock: give its spec a dt_us to run it over windows")
    edges = range(0, (len(x) + 1) * dt_us, dt_us) if edges_us is None else edges_us
    _require_edges(network, edges, len(x))
    output = network.spec.spiking[-1].name
    counts: dict[str, Tensor] = {}
    potentials: dict[str, Tensor] = {}

    def fire(layer: LayerSpec, current: Tensor, pool: int) -> Tensor:
        steps = current.unflatten(0, x.shape[:2])  # type: ignore[no-untyped-call]
        bias = network.bias(layer)
        if bias is not None:
            steps = steps + _ticked(network, edges, bias, steps)
        name, neuron = layer.name, network.neuron(layer)
        observations = _seen(observed, name)
        seen = observations.counts.get(name)
        if forward == "chip":
            v = observations.v.get(name)
            if seen is None or v is None:
                raise TrainingError(
                    f"layer {name!r} was not observed: a run by the chip alone needs counts and potentials"
                )
            unit = observations.v_units.get(name, 1.0)
            spikes = chip_sent(neuron, network.surrogate, steps, dt_us=dt_us, counts=seen, v=v, v_unit=unit, pool=pool)
        elif keep == "all":
            v = observations.potentials(name)
            spikes, potentials[name] = scan(neuron, network.surrogate, steps, dt_us=dt_us, counts=seen, v=v)
        else:
            v, unit = observations.v.get(name), observations.v_units.get(name, 1.0)
            spikes = scan_sent(neuron, network.surrogate, steps, dt_us=dt_us, counts=seen, v=v, v_unit=unit, pool=pool)
        if keep != "output" or name == output:
            counts[name] = spikes
        return spikes.flatten(0, 1)

    _run_layers(network, x.flatten(0, 1), fire, fuse=keep == "output", operate=unrun_op if forward == "chip" else None)
    return Run(counts=counts, v=potentials, output=output)


def run_frame(
    network: Network,
    x: Tensor,
    *,
    edges_us: Sequence[int] | None = None,
    whole_counts: bool = False,
    observed: Observations | Awaited = NOTHING,
) -> Run:
    """Run the same weights as an analogue network in units of counts.

        a_l = max(0, gain W_l sum_k a_k + n b_l) / v_th      over the sources k of layer l

    x: [B, *input_shape], each pixel's event count over the whole sample; then a unit's value is the spike count that it
    predicts, a leak apart: a leaky neuron's would be the largest it can have. n is the number of ticks of the slow
    clock from the first to the last of `edges_us`, which only a network with biases needs. `whole_counts` takes the
    floor of a, the gradient going straight through. The last layer stays linear (no max), so that wrong classes learn
    too. Liu et al. 2024, section 3.3.1; results have T = 1.
    """
    counts: dict[str, Tensor] = {}
    last = network.spec.spiking[-1].name

    def fire(layer: LayerSpec, current: Tensor, pool: int) -> Tensor:
        del pool  # nothing is fused
        bias, gain = network.bias(layer), network.gain(layer)
        if bias is not None:
            if edges_us is None:
                raise SpecError(f"layer {layer.name!r} has a bias: give the edges_us between which its clock ticks")
            whole = (edges_us[0], edges_us[-1])
            current = current + _ticked(network, whole, bias, current.unsqueeze(0))[0]
        a = (current if gain == 1.0 else current * gain) / network.neuron(layer).v_th
        if layer.name != last:
            a = a.clamp(min=0.0)
            if whole_counts:
                a = inject(a, a.detach().floor())
        seen = _seen(observed, layer.name).counts.get(layer.name)
        if seen is not None:
            a = inject(a, seen[0].to(a.dtype))
        counts[layer.name] = a.unsqueeze(0)
        return a

    _run_layers(network, x, fire)
    return Run(counts=counts, v={}, output=last)


def _require_edges(network: Network, edges: Sequence[int], n_windows: int) -> None:
    if len(edges) != n_windows + 1:
        raise SpecError(f"{len(edges)} edges do not bound {n_windows} windows: give {n_windows + 1}")
    dt_us = network.spec.dt_us
    leaky = next((layer.name for layer in network.spec.spiking if layer.neuron and layer.neuron.tau_us), None)
    if leaky is not None and any(b - a != dt_us for a, b in pairwise(edges)):
        raise SpecError(f"layer {leaky!r} leaks by steps of {dt_us} us: give it windows of that length")


def _ticked(network: Network, edges: Sequence[int], bias: Tensor, steps: Tensor) -> Tensor:
    """Return what the ticks of each window add to [T, B, F, ...] currents: [T, 1, F, 1, ...]."""
    clock_us = network.spec.clock_us
    assert clock_us is not None  # the spec's own invariant
    ticks = torch.from_numpy(window_ticks(edges, clock_us)).to(bias)
    added = ticks[:, None, None] * bias
    return added.reshape(*added.shape, *(1,) * (steps.dim() - added.dim()))


def _run_layers(
    network: Network,
    x: Tensor,
    fire: Callable[[LayerSpec, Tensor, int], Tensor],
    *,
    fuse: bool = False,
    operate: Callable[[LayerSpec, Tensor, Tensor], Tensor] | None = None,
) -> None:
    """Run the layers in data-flow order on [N, *input_shape]; what no later layer hears is let go.

    With `fuse`, neurons whose spikes are only ever heard summed up send the sums at once. `operate` stands in for the
    operations that have weights.
    """
    spec = network.spec
    heard = [spec.sources(layer.name) for layer in spec.layers]
    last = {edge.source: position for position, edges in enumerate(heard) for edge in edges}
    fused = _pools_after(spec, heard) if fuse else {}
    present = {INPUT: x}
    for position, (layer, edges) in enumerate(zip(spec.layers, heard, strict=True)):
        x = _merged(layer, edges, present)
        present = {name: sent for name, sent in present.items() if last.get(name, -1) > position}
        if edges[0].source in fused:  # the sums are there already
            present[layer.name] = x
            continue
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        weight = network.weight(layer.name) if layer.weight is not None else None
        x = apply_op(layer, x, weight) if operate is None or weight is None else operate(layer, x, weight)
        if layer.neuron is not None:
            x = fire(layer, x, fused.get(layer.name, 1))
        present[layer.name] = x


def _pools_after(spec: NetworkSpec, heard: Sequence[Sequence[Edge]]) -> dict[str, int]:
    """Return the spiking layers that a single sum pool hears, unshifted and alone, with the size of its squares."""
    listeners = Counter(edge.source for edges in heard for edge in edges)
    found = {}
    for layer, edges in zip(spec.layers, heard, strict=True):
        if not isinstance(layer.op, SumPool) or layer.neuron is not None or len(edges) != 1 or edges[0].source == INPUT:
            continue
        source = spec.layer(edges[0].source)
        whole = not edges[0].shift and source.out_shape[0] == layer.in_shape[0]
        if whole and source.neuron is not None and listeners[source.name] == 1:
            found[source.name] = layer.op.size
    return found


def _merged(layer: LayerSpec, edges: Sequence[Edge], present: Mapping[str, Tensor]) -> Tensor:
    """Return a layer's input: what its sources send, each from its channel on, added up; one source is not copied."""
    total: Tensor | None = None
    for edge in edges:
        x = present[edge.source]
        after = layer.in_shape[0] - edge.shift - x.shape[1]
        if edge.shift or after:
            x = F.pad(x, (0, 0) * (x.dim() - 2) + (edge.shift, after))
        total = x if total is None else total + x
    assert total is not None  # every layer has a source
    return total
