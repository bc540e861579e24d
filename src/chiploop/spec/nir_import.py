"""NIR to networks, whoever wrote the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DataError, SpecError
from chiploop.spec.assemble import RawLayer, assemble
from chiploop.spec.graph import INPUT, Edge, NetworkSpec, NeuronSpec
from chiploop.spec.nir_format import NEURONS, WEIGHTED, Assume, NirReport, noted_int, one_line, read_notes, require_nir
from chiploop.spec.nir_graph import Graph, checked_graph, kind
from chiploop.spec.nir_neuron import neuron_of, require_neuron_shape
from chiploop.spec.nir_operation import Operation, operation_of
from chiploop.spec.ops import Shape


def read_nir(path: Path, *, assume: Assume | None = None) -> tuple[NetworkSpec, NirReport]:
    """Read a NIR file; see `from_nir`. Raises DataError that names the file for whatever is wrong with it."""
    graph = read_graph(path)
    try:
        return from_nir(graph, assume=assume)
    except SpecError as error:
        raise DataError(f"{path}: {error}") from error


def read_graph(path: Path) -> Any:
    """Return a file's `nir.NIRGraph`; raises DataError that names the file when it is none, or damaged."""
    nir = require_nir()
    if not path.is_file():
        raise DataError(f"cannot read {path}: no such file")
    try:
        return nir.read(path, type_check=False)  # from_nir works out the shapes and checks them
    except Exception as error:  # h5py and nir raise what they like
        raise DataError(f"{path} is not a NIR file, or is damaged: {one_line(error)}") from error


def from_nir(graph: Any, *, assume: Assume | None = None) -> tuple[NetworkSpec, NirReport]:
    """Return the network that a `nir.NIRGraph` describes, and the report of what was assumed and changed.

    Conv2d, Linear and Affine become layers, with the IF or LIF that follows as their neuron; several of them into one
    neuron become one layer whose input channels are joined. SumPool2d, AvgPool2d and Flatten become layers of their
    own. Raises SpecError, with the node's name, for everything that a network here cannot be: other nodes, cycles,
    groups and dilation, thresholds that differ within a layer, a reset to another potential than 0, and a bias that
    is not zero unless a `clock_us` is assumed.
    """
    assume = assume or Assume()
    found = checked_graph(graph)
    reader = _Reader(found, assume, read_notes(graph))
    return reader.network()


@dataclass(frozen=True)
class _Part:
    """An operation node: the layer that it is (a part of), and its first channels there."""

    node: str
    layer: str
    first_in: int
    first_out: int


class _Clock(NamedTuple):
    dt_us: int | None
    clock_us: int | None


@dataclass
class _Reader:
    graph: Graph
    assume: Assume
    notes: dict[str, Any]
    assumed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def network(self) -> tuple[NetworkSpec, NirReport]:
        graph = self.graph
        clock = _Clock(*(noted_int("graph", self.notes, name, getattr(self.assume, name)) for name in _Clock._fields))
        neurons = {name: self._neuron_behind(name) for name in graph.order if kind(graph.nodes[name]) in WEIGHTED}
        groups = self._groups(neurons)
        parts = [part for layer, members in groups.items() for part in self._parts(layer, members)]
        layers = [self._layer(name, [p for p in parts if p.layer == name], neurons, clock) for name in groups]
        ordered = self._ordered(layers, parts)
        edges = self._edges(parts, ordered)
        if "clock_us" not in self.notes and all(layer.bias is None for layer in layers):
            clock = clock._replace(clock_us=None)
        network, folded = assemble(ordered, edges, input_shape=self._input_shape(), **clock._asdict())
        self._check_shapes(network, parts, neurons)
        self._say_clock(network)
        report = NirReport(assumed=tuple(self.assumed), changed=(*self.changed, *folded), differs=_differs(network))
        return network, report

    def _neuron_behind(self, name: str) -> str | None:
        after = self.graph.after[name]
        firing = [other for other in after if kind(self.graph.nodes[other]) in NEURONS]
        if not firing:
            return None
        if len(after) > 1:
            raise SpecError(
                f"node {name!r} leads to {', '.join(map(repr, after))}; before a neuron, weights lead nowhere else"
            )
        return firing[0]

    def _groups(self, neurons: Mapping[str, str | None]) -> dict[str, list[str]]:
        """Return the operation nodes of each layer: one, or several that the metadata or a common neuron joins."""
        groups: dict[str, list[str]] = {}
        by_neuron: dict[str, str] = {}
        for name in self.graph.operations:
            noted = read_notes(self.graph.nodes[name]).get("layer")
            neuron = neurons.get(name)
            if noted is not None:
                layer = str(noted)
            elif neuron is not None and neuron in by_neuron:
                layer = by_neuron[neuron]
            else:
                layer = _plain(name, taken=groups)
            if neuron is not None:
                by_neuron[neuron] = layer
            groups.setdefault(layer, []).append(name)
        for layer, members in groups.items():
            heard = {neurons.get(name) for name in members}
            if len(heard) > 1:
                raise SpecError(f"nodes {members} are one layer {layer!r} by their metadata, but not to one neuron")
        return groups

    def _parts(self, layer: str, members: Sequence[str]) -> list[_Part]:
        parts, following = [], 0
        for name in members:
            node = self.graph.nodes[name]
            notes = read_notes(node)
            channels = int(np.shape(node.weight)[1]) if kind(node) in WEIGHTED and np.ndim(node.weight) > 1 else 0
            first = noted_int(f"node {name!r}", notes, "first_channel", following if "layer" not in notes else 0)
            assert first is not None  # the default is a number
            following += channels
            out = 0 if kind(node) in WEIGHTED else first
            if kind(node) == "Flatten" and first:
                out = first * prod(int(n) for n in np.asarray(node.input_type["input"])[1:])
            parts.append(_Part(name, layer, first, out))
        return parts

    def _layer(self, name: str, parts: Sequence[_Part], neurons: Mapping[str, str | None], clock: _Clock) -> RawLayer:
        operations = [operation_of(part.node, self.graph.nodes[part.node], self.assumed) for part in parts]
        op, averages = operations[0].op, operations[0].averages
        for part, other in zip(parts, operations, strict=True):
            if (other.op, other.averages) != (op, averages):
                raise SpecError(
                    f"nodes {parts[0].node!r} and {part.node!r} lead to one neuron, but are {op} and {other.op}: "
                    "a layer here has one kernel, stride and padding"
                )
        if operations[0].weight is None:
            return RawLayer(name=name, op=op, averages=averages)
        weight = _joined([(part.first_in, o.weight) for part, o in zip(parts, operations, strict=True)])
        neuron = neurons[parts[0].node]
        spec = None
        if neuron is not None:
            spec = neuron_of(neuron, self.graph.nodes[neuron], self.assume, self.assumed, self.changed)
        bias = self._bias(name, [part.node for part in parts], operations, spec, clock)
        return RawLayer(name=name, op=op, weight=weight, bias=bias, neuron=spec)

    def _bias(
        self,
        layer: str,
        nodes: Sequence[str],
        operations: Sequence[Operation],
        neuron: NeuronSpec | None,
        clock: _Clock,
    ) -> NDArray[Any] | None:
        """Return what the slow clock adds to a layer's potentials: NIR's bias times the gain of a step."""
        clocked = any(read_notes(self.graph.nodes[node]).get("bias") == "clocked" for node in nodes)
        bias = _sum([o.bias for o in operations if o.bias is not None], keep=clocked)
        if bias is None:
            return None
        if clock.clock_us is None:
            raise SpecError(
                f"node {nodes[0]!r} has a bias up to {np.abs(bias).max():.4g}, a current at every step; biases here "
                "are added by a slow clock: give its period as Assume(clock_us=...), a step's length for the same sum"
            )
        if neuron is not None and neuron.tau_us is not None:
            if clock.dt_us is None:
                raise SpecError(
                    f"node {nodes[0]!r} has a bias and its neuron leaks: give the step as Assume(dt_us=...)"
                )
            bias = (bias * np.float64(neuron.gain(clock.dt_us))).astype(np.float32)
        if not clocked:
            self.assumed.append(f"{layer}: its bias, a current at every step, is added every {clock.clock_us} us")
        return bias

    def _ordered(self, layers: list[RawLayer], parts: Sequence[_Part]) -> list[RawLayer]:
        """Return the layers in data-flow order: as they were written, or as the graph's edges allow."""
        noted = {p.layer: self._position(p.node) for p in parts}
        written = {layer: position for layer, position in noted.items() if position is not None}
        if len(written) == len(noted):
            return sorted(layers, key=lambda layer: written[layer.name])
        place = {name: i for i, name in enumerate(self.graph.order)}
        last = {p.layer: max(place[q.node] for q in parts if q.layer == p.layer) for p in parts}
        return sorted(layers, key=lambda layer: last[layer.name])

    def _position(self, node: str) -> int | None:
        return noted_int(f"node {node!r}", read_notes(self.graph.nodes[node]), "position")

    def _edges(self, parts: Sequence[_Part], ordered: Sequence[RawLayer]) -> list[Edge]:
        by_node = {part.node: part for part in parts}
        sources = {name: (part.layer, part.first_out) for name, part in by_node.items()}
        sources[self.graph.input] = (INPUT, 0)
        for name in self.graph.order:
            if kind(self.graph.nodes[name]) in NEURONS:
                sources[name] = (by_node[self.graph.before[name][0]].layer, 0)
        edges = []
        for source, target in self.graph.edges:
            if target not in by_node:
                continue
            layer, first = sources[source]
            shift = by_node[target].first_in - first
            if shift < 0:
                raise SpecError(f"edge {source!r} -> {target!r}: metadata put its channels before the first")
            edges.append(Edge(layer, by_node[target].layer, shift))
        edges = list(dict.fromkeys(edges))
        if "schema" in self.notes:  # written by this package: the order is the network's own
            return edges
        place = {INPUT: -1} | {layer.name: i for i, layer in enumerate(ordered)}
        return sorted(edges, key=lambda edge: (place[edge.target], edge.shift, place[edge.source]))

    def _input_shape(self) -> Shape:
        node = self.graph.nodes[self.graph.input]
        given = node.input_type["input"] if node.input_type else None
        shape = () if given is None else tuple(int(n) for n in np.asarray(given).ravel())
        if len(shape) in (2, 4) and shape[0] == 1:
            self.assumed.append(f"the first axis of the input {shape} is a batch of one")
            shape = shape[1:]
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise SpecError(
                f"node {self.graph.input!r} has shape {shape}; expected (channels, height, width) or (features,)"
            )
        return shape

    def _check_shapes(self, network: NetworkSpec, parts: Sequence[_Part], neurons: Mapping[str, str | None]) -> None:
        for part in parts:
            layer = network.layer(part.layer)
            neuron = neurons.get(part.node)
            if neuron is not None:
                require_neuron_shape(neuron, self.graph.nodes[neuron], layer.out_shape)
            given = getattr(self.graph.nodes[part.node], "input_shape", None)
            if given is not None and tuple(int(n) for n in np.ravel(given)) != layer.in_shape[1:]:
                raise SpecError(
                    f"node {part.node!r} says input_shape {tuple(int(n) for n in np.ravel(given))}, "
                    f"but is given a map of {layer.in_shape[1:]}"
                )

    def _say_clock(self, network: NetworkSpec) -> None:
        for name in ("dt_us", "clock_us"):
            value = getattr(network, name)
            if name not in self.notes and value is not None:
                self.assumed.append(f"{name} = {value}, as asked; the file does not say")
        if network.dt_us is None and "schema" not in self.notes:
            self.assumed.append("no step of a clock: the file does not say; give Assume(dt_us=...) to run over windows")


def _plain(name: str, *, taken: Iterable[str]) -> str:
    """Return a node's name as a layer's: without dots, which names of parameters cannot have, and not yet taken."""
    plain = name.replace(".", "_")
    known = {INPUT, *taken}
    return next(full for i in count(1) if (full := plain if i == 1 else f"{plain}_{i}") not in known)


def _joined(slices: Sequence[tuple[int, NDArray[Any] | None]]) -> NDArray[Any]:
    """Return the weight whose input channels are those of several nodes."""
    weights = [(first, np.asarray(weight)) for first, weight in slices]
    if len(weights) == 1 and weights[0][0] == 0:
        return weights[0][1]
    channels = max(first + weight.shape[1] for first, weight in weights)
    whole = np.zeros((weights[0][1].shape[0], channels, *weights[0][1].shape[2:]), weights[0][1].dtype)
    for first, weight in weights:
        whole[:, first : first + weight.shape[1]] = weight
    return whole


def _sum(biases: Sequence[NDArray[Any]], *, keep: bool) -> NDArray[Any] | None:
    """Return the sum of the biases, none where all are zero (unless they are to be kept)."""
    some = [bias for bias in biases if np.any(bias)]
    if not some:
        return biases[0] if keep and biases else None
    return some[0] if len(some) == 1 else np.sum(some, axis=0)


def _differs(network: NetworkSpec) -> tuple[str, ...]:
    names = [layer.name for layer in network.spiking]
    if not names:
        return ()
    return (
        f"{', '.join(names)}: NIR writes v > v_threshold, a neuron here fires at v >= v_threshold: "
        "they part where a potential meets the threshold exactly",
    )
