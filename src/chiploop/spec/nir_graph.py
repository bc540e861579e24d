"""The structure of a NIR graph, checked before anything is read out of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chiploop.errors import SpecError, nearest
from chiploop.spec.nir_format import ENDS, NEURONS, WEIGHTED, WEIGHTLESS

Links = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes with their neighbours; `order` is a data-flow order of all of them, as close as can be to the file's."""

    nodes: dict[str, Any]
    edges: Links
    before: dict[str, tuple[str, ...]]
    after: dict[str, tuple[str, ...]]
    order: tuple[str, ...]
    input: str
    output: str

    @property
    def operations(self) -> tuple[str, ...]:
        """Nodes that become layers, in data-flow order."""
        return tuple(name for name in self.order if kind(self.nodes[name]) in (*WEIGHTED, *WEIGHTLESS))


def kind(node: Any) -> str:
    """Return the name of a node's type, such as "Conv2d"."""
    return type(node).__name__


def checked_graph(graph: Any) -> Graph:
    """Return a NIR graph's structure; raises SpecError, with the node's name, for the first thing wrong with it."""
    nodes = {str(name): node for name, node in graph.nodes.items()}
    edges = tuple((str(a), str(b)) for a, b in graph.edges)
    for name, node in nodes.items():
        if kind(node) not in (*WEIGHTED, *WEIGHTLESS, *NEURONS, *ENDS):
            known = ", ".join((*WEIGHTED, *WEIGHTLESS, *NEURONS))
            raise SpecError(f"node {name!r} is a {kind(node)}, which has no place in a network here; known: {known}")
    for a, b in edges:
        for name in (a, b):
            if name not in nodes:
                raise SpecError(f"edge {a!r} -> {b!r}: no node {name!r}; {nearest(name, nodes)}")
        if edges.count((a, b)) > 1:
            raise SpecError(f"edge {a!r} -> {b!r} stands twice")
    before = {name: tuple(a for a, b in edges if b == name) for name in nodes}
    after = {name: tuple(b for a, b in edges if a == name) for name in nodes}
    first, last = _the_one(nodes, "Input"), _the_one(nodes, "Output")
    for name in nodes:
        if name != first and not before[name]:
            raise SpecError(f"node {name!r} has no edge that leads to it")
    for name in nodes:
        if name != last and not after[name]:
            raise SpecError(f"node {name!r} has no edge that leads on from it")
    checked = Graph(
        nodes=nodes,
        edges=edges,
        before=before,
        after=after,
        order=_order(before, edges),
        input=first,
        output=last,
    )
    _check_neighbours(checked)
    return checked


def _the_one(nodes: dict[str, Any], which: str) -> str:
    found = [name for name, node in nodes.items() if kind(node) == which]
    if len(found) != 1:
        raise SpecError(f"the graph has {len(found)} nodes {which} ({', '.join(found) or 'none'}); exactly one is read")
    return found[0]


def _order(before: dict[str, tuple[str, ...]], edges: Links) -> tuple[str, ...]:
    done: dict[str, None] = {}
    waiting = list(before)
    while waiting:
        ready = [name for name in waiting if all(source in done for source in before[name])]
        if not ready:
            raise SpecError(f"the graph runs in a circle: {' -> '.join(map(repr, _circle(waiting, edges)))}")
        done |= dict.fromkeys(ready)
        waiting = [name for name in waiting if name not in done]
    return tuple(done)


def _circle(waiting: Iterable[str], edges: Links) -> list[str]:
    """Return a circle among nodes of which each has a source that waits too."""
    left = set(waiting)
    path = [min(left)]  # each leads to the one after it
    while True:
        source = next(a for a, b in edges if b == path[0] and a in left)
        if source in path:
            return [source, *path[: path.index(source) + 1]]
        path.insert(0, source)


def _check_neighbours(graph: Graph) -> None:
    for name, node in graph.nodes.items():
        if kind(node) in NEURONS:
            for source in graph.before[name]:
                if kind(graph.nodes[source]) not in WEIGHTED:
                    raise SpecError(
                        f"node {name!r} ({kind(node)}) hears {source!r} ({kind(graph.nodes[source])}); "
                        f"a neuron here follows weights: {', '.join(WEIGHTED)}"
                    )
    sources = graph.before[graph.output]
    if len({kind(graph.nodes[source]) in WEIGHTED for source in sources}) > 1 or (
        len(sources) > 1 and kind(graph.nodes[sources[0]]) not in WEIGHTED
    ):
        raise SpecError(
            f"node {graph.output!r} hears {len(sources)} nodes ({', '.join(sources)}); an output here is one layer"
        )
    if sources == (graph.input,):
        raise SpecError("the graph has no layers between its input and its output")
