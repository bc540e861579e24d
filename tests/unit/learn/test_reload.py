"""The short way from weights to a program gives what the long way gives, and knows when it must not be taken."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop import tree
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.compile import with_weights
from chiploop.chip.profile import read_profile
from chiploop.errors import QuantizeError
from chiploop.learn.executor import choose_grids
from chiploop.learn.reload import reload_program
from chiploop.network.network import Network
from chiploop.quantize.apply import quantize
from chiploop.quantize.scheme import IntScheme
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from strategies_network import BLOCKS, small_network

LIF = NeuronSpec(kind="lif", tau_us=10_000.0, v_min=-1.0)
kinds = st.sampled_from(["plain", "floor", "leaky", "biased"])


def drawn(kind: str, seed: int) -> Network:
    match kind:
        case "leaky":
            network = small_network(seed, neuron=LIF)
        case "biased":
            network = small_network(seed, notation=BLOCKS, bias=-0.05)
        case "floor":
            network = small_network(seed, neuron=NeuronSpec(v_min=-0.7))
        case _:
            network = small_network(seed)
    return network


@given(kinds, st.integers(0, 50), st.sampled_from([4, 6, 8]))
@settings(max_examples=30, deadline=None)
def test_the_short_way_is_the_long_way(kind: str, seed: int, bits: int) -> None:
    scheme, network = IntScheme(bits=bits), drawn(kind, seed)
    scales = {name: grid.scale for name, grid in choose_grids(network, scheme).items()}
    program = compile_program(quantize(network.to_spec(), scheme, scales=scales), read_profile("ideal"))
    rng = stream(seed, "step")
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.from_numpy(rng.normal(0, 0.02, tuple(parameter.shape)).astype(np.float32))
            parameter.mul_(1.0 + noise)
    short = reload_program(program, network, scheme, scales)
    assert short is not None
    long = with_weights(program, quantize(network.to_spec(), scheme, scales=scales))
    assert tree.to_bytes(dataclasses.replace(short, quant_hash=long.quant_hash)) == tree.to_bytes(long)


@pytest.mark.parametrize("spoil", ["zero", "nan", "small", "threshold"])
def test_what_the_long_way_refuses_the_short_way_leaves_to_it(spoil: str) -> None:
    scheme, network = IntScheme(), drawn("plain", 3)
    scales = {name: grid.scale for name, grid in choose_grids(network, scheme).items()}
    program = compile_program(quantize(network.to_spec(), scheme, scales=scales), read_profile("ideal"))
    with torch.no_grad():
        match spoil:
            case "zero":
                network.weights["conv1"].zero_()
            case "nan":
                network.weights["conv1"][0, 0, 0, 0] = float("nan")
            case "small":
                network.weights["conv1"].mul_(1e-6)
            case _:
                scales["conv1"] = 1e-9
    assert reload_program(program, network, scheme, scales) is None
    if spoil != "nan":  # a network as data refuses those before
        with pytest.raises(QuantizeError, match="conv1"):
            quantize(network.to_spec(), scheme, scales=scales)
