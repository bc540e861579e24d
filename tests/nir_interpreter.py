"""NIR by its own text: a small interpreter in plain numpy, which shares no code with the package.

Nodes are read by the fields that NIR gives them; with `noted` also by what this project notes in their metadata. Steps
of `dt_s` seconds hold the input current constant, for which the leak is solved exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray


def run_nir(graph: Any, counts: Array, *, dt_s: float, noted: bool = False) -> dict[str, Array]:
    """Return by node what it gives, [T, B, ...], for event counts [T, B, *input shape]."""
    sources = {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
    given: dict[str, Array] = {}
    while len(given) < len(graph.nodes):
        for name, node in graph.nodes.items():
            if name not in given and all(source in given for source in sources[name]):
                heard = counts if not sources[name] else sum(given[source] for source in sources[name])
                given[name] = _run_node(node, np.asarray(heard, np.float64), dt_s, noted)
    return given


def _run_node(node: Any, x: Array, dt_s: float, noted: bool) -> Array:
    kind = type(node).__name__
    if kind in ("Input", "Output"):
        return x
    if kind in ("IF", "LIF"):
        return _fire(node, x, dt_s, noted)
    return np.stack([_still(kind, node, step) for step in x])


def _still(kind: str, node: Any, x: Array) -> Array:
    """Return what a node without a state gives for one step, [B, ...]."""
    if kind in ("Linear", "Affine"):
        y = np.einsum("fi,bi->bf", np.asarray(node.weight, np.float64), x)
        return y + np.asarray(node.bias) if kind == "Affine" else y
    if kind == "Flatten":
        return x.reshape(len(x), -1)
    if kind == "Conv2d":
        y = _correlate(x, np.asarray(node.weight, np.float64), np.ravel(node.stride), np.ravel(node.padding))
        return y + np.asarray(node.bias)[:, None, None]
    (kh, kw), (sh, sw) = np.ravel(node.kernel_size), np.ravel(node.stride)
    height, width = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    y = np.zeros((*x.shape[:2], height, width))
    for i in range(height):
        for j in range(width):
            y[:, :, i, j] = x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw].sum((2, 3))
    return y / (kh * kw) if kind == "AvgPool2d" else y


def _correlate(x: Array, weight: Array, stride: Array, padding: Array) -> Array:
    (ph, pw), (sh, sw) = np.broadcast_to(padding, 2), np.broadcast_to(stride, 2)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    features, _, kh, kw = weight.shape
    height, width = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    y = np.zeros((len(x), features, height, width))
    for i in range(height):
        for j in range(width):
            window = x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
            y[:, :, i, j] = np.einsum("fcij,bcij->bf", weight, window)
    return y


def _fire(node: Any, x: Array, dt_s: float, noted: bool) -> Array:
    """Return the spikes of a neuron: z = [v > v_threshold], v <- v_reset where z, as NIR writes; or as noted."""
    notes = (node.metadata or {}).get("chiploop", {}) if noted else {}
    keep = np.exp(-dt_s / np.asarray(node.tau)) if type(node).__name__ == "LIF" else np.ones(1)
    gain = 1 - keep if type(node).__name__ == "LIF" else np.ones(1)
    theta, v, out = np.asarray(node.v_threshold, np.float64), np.zeros(x.shape[1:]), []
    for current in x:
        v = keep * v + gain * np.asarray(node.r) * current
        if "v_min" in notes:
            v = np.maximum(v, float(notes["v_min"]))
        z = (v >= theta if noted else v > theta).astype(np.float64)
        if notes.get("spikes_per_step") == "all":
            z = np.maximum(np.floor(v / theta), 0.0)
        subtract = notes.get("reset") == "subtract"
        v = v - z * theta if subtract else np.where(z > 0, np.asarray(node.v_reset), v)
        out.append(z)
    return np.stack(out)
