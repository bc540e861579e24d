"""Small networks and batches for the tests of networks and learning."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from chiploop.datasets.shapes import open_shapes
from chiploop.learn.balance import balance_thresholds
from chiploop.learn.batch import Batch, Samples
from chiploop.network.network import Network
from chiploop.network.surrogate import Surrogate
from chiploop.rng import stream
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation

SMALL = "4c3p1-P2-6c3p1-P2-3"
"""Notation of a network for the shapes data set (2 x 8 x 8, three classes)."""

BLOCKS = "4c3p1-(4c3p1-4c3p1)-P2-[4c3p1]-3"
"""One with a residual block and a concatenation, for the same."""

N_WINDOWS = 4

neurons = st.builds(
    lambda kind, v_th, v_min, reset, per_step, tau: NeuronSpec(
        kind=kind,
        v_th=v_th,
        v_min=v_min,
        reset=reset,
        spikes_per_step=per_step,
        tau_us=tau if kind == "lif" else None,
    ),
    kind=st.sampled_from(["if", "lif"]),
    v_th=st.sampled_from([0.5, 1.0, 1.7]),
    v_min=st.sampled_from([None, 0.0, -0.4, -1.0]),
    reset=st.sampled_from(["subtract", "zero"]),
    per_step=st.sampled_from(["one", "all"]),
    tau=st.sampled_from([700.0, 5_000.0, 1e9]),
)


def small_spec(
    seed: int = 0, *, neuron: NeuronSpec | None = None, notation: str = SMALL, bias: float | None = None
) -> NetworkSpec:
    """Return a network for the shapes, with weights large enough for every layer to spike; a bias ticks every ms."""
    weights, clock_us = stream(seed, "weights"), None if bias is None else 1_000
    shape, spikes = (2, 8, 8), neuron or NeuronSpec()
    spec = parse_notation(notation, shape, spikes, weights, dt_us=4_000, bias=bias, clock_us=clock_us)
    network, batch = Network(spec), shapes_batch()
    balance_thresholds(network, batch.x.sum(0), target=8.0, edges_us=batch.edges_us)
    return network.to_spec()


def small_network(
    seed: int = 0,
    *,
    neuron: NeuronSpec | None = None,
    notation: str = SMALL,
    bias: float | None = None,
    surrogate: Surrogate | None = None,
) -> Network:
    """Return it in torch."""
    return Network(small_spec(seed, neuron=neuron, notation=notation, bias=bias), surrogate=surrogate)


def shapes_samples(n: int, *, split: str = "train", n_windows: int = N_WINDOWS) -> Samples:
    """Return the first n recordings of the shapes."""
    return Samples.of(open_shapes(split=split, n=n), np.arange(n), n_windows)


def shapes_batch(n: int = 6, *, n_windows: int = N_WINDOWS) -> Batch:
    """Return the first n recordings as one batch."""
    return shapes_samples(n, n_windows=n_windows).batch(range(n))


def gradients(network: Network) -> dict[str, Tensor]:
    """Return the gradients that a backward pass left, and clear them."""
    found = {}
    for name, parameter in network.trained.items():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.clone()
        parameter.grad = None
    return found


def require_same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Assert that two tables of tensors are equal bit for bit."""
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def weights(network: Network) -> dict[str, Tensor]:
    """Return copies of what is trained in a network."""
    return {name: parameter.detach().clone() for name, parameter in network.trained.items()}
