"""Graphs of NIR as other tools write them. Importing this needs the package nir: import it behind importorskip."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np

from chiploop.rng import stream
from chiploop.spec.nir import Assume

BY_THE_TEXT = Assume(dt_us=1_000)
"""Reset to zero, one spike a step: what NIR's equations say."""


def conv(features: int, channels: int, *, kernel: int = 3, seed: int = 0, **fields: Any) -> Any:
    """Return a Conv2d as sinabs writes it: no input shape, a bias of zeros, float32."""
    weight = stream(seed, "conv").normal(0.2, 0.5, (features, channels, kernel, kernel)).astype(np.float32)
    given = {
        "stride": (1, 1),
        "padding": (1, 1),
        "dilation": (1, 1),
        "groups": 1,
        "bias": np.zeros(features, np.float32),
    }
    return nir.Conv2d(input_shape=None, weight=weight, **(given | fields))


def spiking(*shape: int, v_th: float = 0.8125, **fields: Any) -> Any:
    """Return an IF with its arrays, one number a neuron."""
    ones = np.ones(shape, np.float32)
    return nir.IF(**({"r": ones, "v_threshold": v_th * ones, "v_reset": 0 * ones} | fields))


def pool(size: int = 2, *, average: bool = False, **fields: Any) -> Any:
    """Return a pool of NIR."""
    pair = np.array([size, size])
    cls = nir.AvgPool2d if average else nir.SumPool2d
    return cls(**({"kernel_size": pair, "stride": pair, "padding": np.array([0, 0])} | fields))


def dense(features: int, inputs: int, *, seed: int = 1) -> Any:
    """Return an Affine with a bias of zeros."""
    weight = stream(seed, "dense").normal(0.2, 0.5, (features, inputs)).astype(np.float32)
    return nir.Affine(weight=weight, bias=np.zeros(features, np.float32))


def chain_nodes(*, average: bool = False) -> dict[str, Any]:
    """Return the nodes of a small network as sinabs names and writes them."""
    return {
        "input": nir.Input(np.array([2, 4, 4])),
        "0": conv(3, 2),
        "1": spiking(3, 4, 4),
        "2": pool(average=average),
        "3": nir.Flatten(input_type=None, start_dim=0, end_dim=-1),
        "4": dense(4, 12),
        "5": spiking(4),
        "output": nir.Output(np.array([4])),
    }


def graph_of(nodes: dict[str, Any], *more: tuple[str, str], without: tuple[str, str] | None = None) -> Any:
    """Return the graph in which each node leads to the next, without NIR's own check."""
    names = list(nodes)
    edges = [*pairwise(names), *more]
    return nir.NIRGraph(nodes, [edge for edge in edges if edge != without], type_check=False)


def leaky(*shape: int, tau: float, **fields: Any) -> Any:
    ones = np.ones(shape)
    given = {"tau": tau * ones, "r": ones, "v_leak": 0 * ones, "v_threshold": 0.8125 * ones, "v_reset": 0 * ones}
    return nir.LIF(**(given | fields))
