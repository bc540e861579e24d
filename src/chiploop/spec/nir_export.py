"""Networks to NIR, the exchange format of spiking networks (Pedersen et al. 2024, Nature Communications 15, 8122)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop import atomic
from chiploop.errors import SpecError
from chiploop.spec.graph import INPUT, LayerSpec, NetworkSpec
from chiploop.spec.nir_format import METADATA, US_PER_S, NirReport, require_nir
from chiploop.spec.ops import Conv, Flatten, Linear, Shape, SumPool

SCHEMA = 1
"""Of the metadata."""

Extra = Mapping[str, Mapping[str, int | float | str]]
"""By layer name: more numbers and strings for the metadata of its nodes."""

Range = tuple[int, int]
"""First channel and number of channels."""


def write_nir(path: Path, network: NetworkSpec, *, extra: Extra | None = None) -> NirReport:
    """Write a network as a NIR file, atomically; `read_nir` gives back an equal one. See `to_nir`."""
    nir = require_nir()
    graph, report = to_nir(network, extra=extra)
    content = io.BytesIO()
    nir.write(content, graph)
    atomic.write_bytes(path, content.getvalue())
    return report


def to_nir(network: NetworkSpec, *, extra: Extra | None = None) -> tuple[Any, NirReport]:
    """Return the network as a `nir.NIRGraph`, and the report of what NIR has no word for.

    Weights pass unchanged. A layer becomes its operation and, where it has one, a node `<layer>_neuron` (IF, or LIF
    with tau in seconds). Edges with a shift become slices of the weights, one node for each range of channels, whose
    currents NIR adds up: the same numbers, in words that every reader knows. Resets by subtraction, floors, several
    spikes a step and clocks go to the metadata. Raises SpecError for a network that NIR cannot hold: a layer that
    leads nowhere, or joined channels that reach the output without weights.
    """
    builder = _Builder(require_nir(), network, extra or {})
    builder.build()
    nodes, edges = builder.nodes, builder.edges
    metadata: dict[str, int] = {"schema": SCHEMA}
    metadata |= {name: n for name in ("dt_us", "clock_us") if (n := getattr(network, name)) is not None}
    graph = builder.nir.NIRGraph(nodes, edges, metadata={METADATA: metadata})
    return graph, NirReport(
        lost=tuple(builder.lost), in_metadata=_in_metadata(network, builder.split), differs=_differs(network)
    )


@dataclass(frozen=True)
class _Part:
    """A node that gives some of a layer's output channels."""

    node: str
    channels: Range


@dataclass
class _Builder:
    nir: Any
    network: NetworkSpec
    extra: Extra
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)  # layers of more than one operation node

    def build(self) -> None:
        network = self.network
        self.nodes["input"] = self.nir.Input(np.array(network.input_shape))
        parts: dict[str, tuple[_Part, ...]] = {INPUT: (_Part("input", (0, network.input_shape[0])),)}
        node_at: dict[tuple[str, Range], str] = {}
        inner: list[tuple[str, str]] = []
        names = _file_names(network)
        for position, layer in enumerate(network.layers):
            ranges = self._ranges(layer, parts)
            made: list[_Part] = []
            for i, channels in enumerate(ranges):
                node = self._fresh(names[layer.name] if i == 0 else f"{names[layer.name]}_part{i + 1}")
                node_at[layer.name, channels] = node
                made.append(self._operation(node, layer, channels, first=i == 0, position=position))
            if layer.neuron is not None:
                neuron = self._fresh(f"{names[layer.name]}_neuron")
                self.nodes[neuron] = _neuron(self.nir, layer)
                inner += [(part.node, neuron) for part in made]
                made = [_Part(neuron, (0, layer.out_shape[0]))]
            parts[layer.name] = tuple(made)
        self._connect(parts, node_at)
        self.edges += inner
        self._finish(parts[network.layers[-1].name])

    def _ranges(self, layer: LayerSpec, parts: Mapping[str, tuple[_Part, ...]]) -> list[Range]:
        """Return the ranges of channels that a layer hears, each once, in the order of its sources."""
        heard = [
            (part.channels[0] + edge.shift, part.channels[1])
            for edge in self.network.sources(layer.name)
            for part in parts[edge.source]
        ]
        ranges = list(dict.fromkeys(heard))
        if len(ranges) > 1:
            self.split.append(layer.name)
        filled = np.zeros(layer.in_shape[0], bool)
        for first, n in ranges:
            filled[first : first + n] = True
        if layer.weight is not None and not filled.all():
            silent = np.flatnonzero(~filled).tolist()
            self.lost.append(f"{layer.name}: the weights of its input channels {silent}, which no source fills")
        return ranges

    def _operation(self, node: str, layer: LayerSpec, channels: Range, *, first: bool, position: int) -> _Part:
        start, n = channels
        in_shape: Shape = (n, *layer.in_shape[1:])
        notes: dict[str, int | float | str] = {"layer": layer.name, "position": position}
        out = channels
        if start:
            notes["first_channel"] = start
        if isinstance(layer.op, Flatten):
            size = int(np.prod(in_shape[1:]))
            out = (start * size, n * size)
        if layer.bias is not None and first:
            notes["bias"] = "clocked"
        notes |= self.extra.get(layer.name, {})
        self.nodes[node] = _node(self.nir, layer, in_shape, start, self._bias(layer) if first else None)
        self.nodes[node].metadata = {METADATA: notes}
        return _Part(node, (0, layer.out_shape[0]) if layer.weight is not None else out)

    def _bias(self, layer: LayerSpec) -> NDArray[Any] | None:
        """Return the current that moves a potential by the bias in one step: bias / (1 - exp(-dt / tau))."""
        if layer.bias is None or layer.neuron is None or layer.neuron.tau_us is None:
            return layer.bias
        if self.network.dt_us is None:
            raise SpecError(
                f"layer {layer.name!r} leaks and has a bias: NIR's is a current at every step: give a dt_us"
            )
        return layer.bias / np.float64(layer.neuron.gain(self.network.dt_us))  # float64, to be multiplied back exactly

    def _connect(self, parts: Mapping[str, tuple[_Part, ...]], node_at: Mapping[tuple[str, Range], str]) -> None:
        for edge in self.network.edges:
            for part in parts[edge.source]:
                first, n = part.channels
                link = (part.node, node_at[edge.target, (first + edge.shift, n)])
                if link in self.edges:
                    raise SpecError(f"edge {edge.source!r} -> {edge.target!r} stands twice; NIR knows an edge once")
                self.edges.append(link)

    def _finish(self, last: tuple[_Part, ...]) -> None:
        heard = {edge.source for edge in self.network.edges}
        *others, end = self.network.layers
        for layer in others:
            if layer.name not in heard:
                raise SpecError(
                    f"layer {layer.name!r} leads nowhere and is not the last: NIR would take it for an output"
                )
        whole = (0, end.out_shape[0])
        if any(part.channels != whole for part in last):
            raise SpecError(f"layer {end.name!r} gives joined channels to the output; NIR needs weights after the join")
        output = self._fresh("output")
        self.nodes[output] = self.nir.Output(np.array(end.out_shape))
        self.edges += [(part.node, output) for part in last]

    def _fresh(self, name: str) -> str:
        return next(full for i in count() if (full := f"{name}_{i}" if i else name) not in self.nodes)


def _file_names(network: NetworkSpec) -> dict[str, str]:
    """Return names that HDF5 and the readers of NIR take: printable, without slashes and dots."""
    for layer in network.layers:
        if "\0" in layer.name or any(0xD800 <= ord(c) <= 0xDFFF for c in layer.name):  # no text, in HDF5 and UTF-8
            raise SpecError(f"layer {layer.name!r}: a file of NIR cannot hold this name; rename the layer")
    plain = str.maketrans("/.", "__")
    return {
        layer.name: layer.name.translate(plain) if layer.name.isprintable() and layer.name.strip() else f"layer{i + 1}"
        for i, layer in enumerate(network.layers)
    }


def _node(nir: Any, layer: LayerSpec, in_shape: Shape, start: int, bias: NDArray[Any] | None) -> Any:
    """Return the node of a layer's operation on the input channels from `start` on."""
    weight = None if layer.weight is None else layer.weight[:, start : start + in_shape[0]].copy()
    match layer.op:
        case Conv(stride=stride, padding=padding):
            return nir.Conv2d(
                input_shape=in_shape[1:],
                weight=weight,
                stride=(stride, stride),
                padding=(padding, padding),
                dilation=(1, 1),
                groups=1,
                bias=np.zeros(layer.op.channels, np.float32) if bias is None else bias,
            )
        case Linear():
            # Affine in any case: more tools read it than Linear, and one leaves out a Linear without a word
            return nir.Affine(weight=weight, bias=np.zeros(layer.op.features, np.float32) if bias is None else bias)
        case SumPool(size=size):
            return nir.SumPool2d(
                kernel_size=np.array([size, size]), stride=np.array([size, size]), padding=np.array([0, 0])
            )
        case Flatten():
            return nir.Flatten(input_type={"input": np.array(in_shape)}, start_dim=0, end_dim=-1)


def _neuron(nir: Any, layer: LayerSpec) -> Any:
    neuron = layer.neuron
    assert neuron is not None  # the caller has looked
    ones = np.ones(layer.out_shape)
    notes = {"reset": neuron.reset, "spikes_per_step": neuron.spikes_per_step}
    notes |= {name: x for name in ("v_min", "tau_us") if (x := getattr(neuron, name)) is not None}
    given = {"r": ones, "v_threshold": neuron.v_th * ones, "v_reset": 0.0 * ones, "metadata": {METADATA: notes}}
    if neuron.tau_us is None:
        return nir.IF(**given)
    return nir.LIF(tau=neuron.tau_us / US_PER_S * ones, v_leak=0.0 * ones, **given)


def _in_metadata(network: NetworkSpec, split: list[str]) -> tuple[str, ...]:
    neurons = {layer.name: layer.neuron for layer in network.layers if layer.neuron is not None}
    lines = [
        (
            [name for name, neuron in neurons.items() if neuron.reset == "subtract"],
            "reset by subtraction; another reader may set potentials to v_reset = 0",
        ),
        (
            [name for name, neuron in neurons.items() if neuron.spikes_per_step == "all"],
            "several spikes in one step; NIR's neurons give at most one",
        ),
        (
            [name for name, neuron in neurons.items() if neuron.v_min is not None],
            "the lower bound of potentials, v_min",
        ),
        (split, "which slices of weights belong to one layer whose input channels are joined"),
        (
            [layer.name for layer in network.layers if layer.bias is not None],
            f"bias added every {network.clock_us} us; NIR adds it at every step: the same with such steps only",
        ),
    ]
    said = [f"{', '.join(names)}: {what}" for names, what in lines if names]
    if network.dt_us is not None:
        said.append(f"the step of the clock, dt_us = {network.dt_us}; NIR's time is continuous")
    if network.clock_us is not None:
        said.append(f"the period of the slow clock, clock_us = {network.clock_us}")
    return tuple(said)


def _differs(network: NetworkSpec) -> tuple[str, ...]:
    names = [layer.name for layer in network.spiking]
    if not names:
        return ()
    return (
        f"{', '.join(names)}: a neuron here fires at v >= v_threshold, NIR writes v > v_threshold: "
        "they part where a potential meets the threshold exactly",
    )
