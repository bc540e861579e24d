"""Whose spikes arrive at each channel of each layer, and which layers are added up somewhere."""

from __future__ import annotations

import math

from chiploop.spec.graph import INPUT, Edge, NetworkSpec
from chiploop.spec.ops import Flatten

Owners = tuple[frozenset[str], ...]
"""For each channel (each entry of the first axis), the layers with a neuron, or the input, that are added up there."""


def heard_owners(spec: NetworkSpec) -> dict[str, Owners]:
    """Return the owners of what each layer hears; pools and Flatten pass on what is not theirs."""
    sent: dict[str, Owners] = {INPUT: (frozenset({INPUT}),) * spec.input_shape[0]}
    heard: dict[str, Owners] = {}
    for layer in spec.layers:
        heard[layer.name] = _placed(spec.sources(layer.name), sent, layer.in_shape[0])
        if layer.neuron is not None:
            sent[layer.name] = (frozenset({layer.name}),) * layer.out_shape[0]
        elif layer.op.has_weight:  # mixes what it hears
            sent[layer.name] = (frozenset().union(*heard[layer.name]),) * layer.out_shape[0]
        else:
            repeats = math.prod(layer.in_shape[1:]) if isinstance(layer.op, Flatten) else 1
            sent[layer.name] = tuple(owners for owners in heard[layer.name] for _ in range(repeats))
    return heard


def merged_groups(heard: dict[str, Owners]) -> dict[str, frozenset[str]]:
    """Return for each owner the group of all that it is added to, directly or through others.

    >>> a, b, c = (frozenset(names) for names in ("x", "xy", "z"))
    >>> groups = merged_groups({"sum": (a, b), "beside": (c,)})
    >>> sorted(groups["x"]), sorted(groups["y"]), sorted(groups["z"])
    (['x', 'y'], ['x', 'y'], ['z'])
    """
    groups: dict[str, frozenset[str]] = {}
    for owners in (owners for channels in heard.values() for owners in set(channels)):
        whole = owners.union(*(groups.get(owner, frozenset()) for owner in owners))
        groups.update(dict.fromkeys(whole, whole))
    return groups


def _placed(edges: tuple[Edge, ...], sent: dict[str, Owners], channels: int) -> Owners:
    found: list[frozenset[str]] = [frozenset()] * channels
    for edge in edges:
        for channel, owners in enumerate(sent[edge.source]):
            found[edge.shift + channel] |= owners
    return tuple(found)
