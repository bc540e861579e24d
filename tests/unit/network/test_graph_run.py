"""Merges, biases and leaks in the clock-driven network, against their equations worked layer by layer."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.errors import QuantizeError, SpecError
from chiploop.learn.executor import choose_grids
from chiploop.network.network import Grid, Network
from chiploop.network.run import apply_op, run_frame, run_windows
from chiploop.network.scan import scan_plain
from chiploop.network.surrogate import Rectangle
from chiploop.quantize.apply import dequantize, quantize
from chiploop.quantize.scheme import IntScheme
from chiploop.rng import stream
from chiploop.spec.graph import INPUT, Edge, LayerSpec, NetworkSpec, NeuronSpec
from chiploop.spec.ops import Flatten, Linear
from strategies_dag import dag_specs
from strategies_network import BLOCKS, require_same_tensors, shapes_batch, small_network, small_spec

STEPS, BATCH = 3, 2


def joined(spec: NetworkSpec, name: str, sent: dict[str, torch.Tensor]) -> torch.Tensor:
    """What a layer hears, [N, ...], channel by channel of every edge."""
    layer = spec.layer(name)
    out = torch.zeros(len(sent[INPUT]), *layer.in_shape, dtype=torch.float64)
    for edge in spec.edges:
        if edge.target == name:
            for channel in range(sent[edge.source].shape[1]):
                out[:, edge.shift + channel] += sent[edge.source][:, channel]
    return out


def ticks_between(begin: int, end: int, clock_us: int) -> int:
    return sum(begin <= tick < end for tick in range(0, end, clock_us))


@given(dag_specs(spiking=True), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_graph_is_its_layers_one_by_one(spec: NetworkSpec, seed: int) -> None:
    """In float64, so that sums in another order give the same spikes but for odds of one in a billion."""
    spec = dataclasses.replace(spec, clock_us=None if spec.clock_us is None else max(spec.clock_us, spec.dt_us // 9))
    network = Network(spec).double()
    x = torch.from_numpy(stream(seed, "x").integers(0, 4, (STEPS, BATCH, *spec.input_shape))).double()
    run = run_windows(network, x)
    assert spec.dt_us is not None
    sent = {INPUT: x.flatten(0, 1)}
    for layer in spec.layers:
        weight = None if layer.weight is None else network.weights[layer.name]
        z = apply_op(layer, joined(spec, layer.name, sent), weight).unflatten(0, (STEPS, BATCH))
        if layer.neuron is None:
            sent[layer.name] = z.flatten(0, 1)
            continue
        if layer.bias is not None:
            assert spec.clock_us is not None
            edges = [t * spec.dt_us for t in range(STEPS + 1)]
            n = torch.tensor([ticks_between(a, b, spec.clock_us) for a, b in pairwise(edges)])
            gain = 1.0 if layer.neuron.tau_us is None else 1.0 - math.exp(-spec.dt_us / layer.neuron.tau_us)
            bias = torch.from_numpy(layer.bias.astype(np.float64)).reshape(-1, *(1,) * (z.dim() - 3))
            z = z + n.reshape(-1, 1, *(1,) * bias.dim()) * bias / gain
        spikes, v = scan_plain(layer.neuron, network.surrogate, z, dt_us=spec.dt_us)
        torch.testing.assert_close(run.counts[layer.name], spikes, rtol=0, atol=0)
        torch.testing.assert_close(run.v[layer.name], v, rtol=1e-9, atol=1e-9)
        sent[layer.name] = spikes.flatten(0, 1)


def test_a_chain_is_the_graph_that_says_the_same() -> None:
    """Edges in another order are no chain to look at; nothing changes."""
    spec, x = small_spec(2), shapes_batch().x
    shuffled = dataclasses.replace(spec, edges=spec.edges[::-1])
    assert not shuffled.is_chain
    one, other = run_windows(Network(spec), x), run_windows(Network(shuffled), x)
    require_same_tensors(dict(one.counts), dict(other.counts))


def one_neuron(neuron: NeuronSpec, bias: float, *, dt_us: int, clock_us: int) -> NetworkSpec:
    """One input of weight 1."""
    layer = LayerSpec(
        name="out",
        op=Linear(features=1),
        weight=np.ones((1, 1), np.float32),
        neuron=neuron,
        in_shape=(1,),
        bias=np.array([bias], np.float32),
    )
    edges = (Edge(INPUT, "out"),)
    return NetworkSpec(layers=(layer,), edges=edges, input_shape=(1,), dt_us=dt_us, clock_us=clock_us)


def test_a_leak_by_the_clock_is_linear_and_ends_on_the_floor() -> None:
    # 6 events, then -2 a tick, ticks at 0, 8 | 16 | 24 | 32 and windows of 10: 6 - 4 = 2, 0, -2 -> floor -1, -3 -> -1.
    spec = one_neuron(NeuronSpec(v_th=100.0, v_min=-1.0), -2.0, dt_us=10, clock_us=8)
    x = torch.tensor([6.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1)
    assert run_windows(Network(spec), x).v["out"].flatten().tolist() == [2.0, 0.0, -1.0, -1.0]


def test_windows_of_any_length_hold_the_ticks_that_fall_into_them() -> None:
    spec = one_neuron(NeuronSpec(v_th=100.0), 1.0, dt_us=10, clock_us=8)
    run = run_windows(Network(spec), torch.zeros(3, 1, 1), edges_us=(0, 1, 17, 41))
    assert run.v["out"].flatten().tolist() == [1.0, 3.0, 6.0]  # ticks at 0 | 8, 16 | 24, 32, 40


def test_a_bias_is_added_to_a_leaky_potential_itself() -> None:
    # V <- keep V + gain z + n b: with z = 3 and b = 0.5 every other window, from V = 0.
    dt_us, tau_us = 10, 25.0
    keep, gain = math.exp(-dt_us / tau_us), 1.0 - math.exp(-dt_us / tau_us)
    spec = one_neuron(NeuronSpec(kind="lif", tau_us=tau_us, v_th=100.0), 0.5, dt_us=dt_us, clock_us=20)
    found = run_windows(Network(spec), torch.full((4, 1, 1), 3.0)).v["out"].flatten().tolist()
    v = 0.0
    for t in range(4):
        v = keep * v + gain * 3.0 + (0.5 if t % 2 == 0 else 0.0)
        assert found[t] == pytest.approx(v, rel=1e-6)


def test_the_analogue_count_of_a_neuron_with_leak_and_bias() -> None:
    # (gain z + n b) / v_th: 40 events, ticks at 0, 20, ..., 80 in 0..100.
    gain = 1.0 - math.exp(-10 / 25.0)
    spec = one_neuron(NeuronSpec(kind="lif", tau_us=25.0, v_th=2.0), -0.5, dt_us=10, clock_us=20)
    run = run_frame(Network(spec), torch.full((1, 1), 40.0), edges_us=range(0, 101, 10))
    assert run.totals.item() == pytest.approx((gain * 40.0 - 5 * 0.5) / 2.0, rel=1e-6)


def test_the_analogue_network_of_a_graph_against_its_equation() -> None:
    network, batch = small_network(2, notation=BLOCKS, neuron=NeuronSpec(v_th=1.5), bias=-0.03), shapes_batch()
    spec, x = network.spec, batch.x.sum(0)
    run = run_frame(network, x, edges_us=batch.edges_us)
    sent = {INPUT: x.double()}
    for layer in spec.layers:
        weight = None if layer.weight is None else network.weights[layer.name].double()
        a = apply_op(layer, joined(spec, layer.name, sent), weight)
        if layer.neuron is not None:
            a = (a - 16 * 0.03) / 1.5  # 16 ms
            a = a if layer.name == "fc1" else a.clamp(min=0)
            torch.testing.assert_close(run.counts[layer.name][0].double(), a, rtol=1e-4, atol=1e-4)
        sent[layer.name] = a


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("model", ["windows", "frame"])
def test_a_graph_with_biases_on_its_grids_is_the_dequantised_one(model: str, bits: int) -> None:
    scheme, batch = IntScheme(bits=bits), shapes_batch()
    trained = small_network(2, notation=BLOCKS, neuron=NeuronSpec(v_min=-0.7, v_th=1.3), bias=-0.31)
    trained.grids = choose_grids(trained, scheme)
    scales = {name: grid.scale for name, grid in trained.grids.items()}
    quant = quantize(trained.to_spec(), scheme, scales=scales)
    assert all(layer.bias is not None and layer.bias.any() for layer in quant.layers)
    x, edges_us = batch.x, batch.edges_us
    one, other = (
        run_windows(n, x, edges_us=edges_us) if model == "windows" else run_frame(n, x.sum(0), edges_us=edges_us)
        for n in (trained, Network(dequantize(quant)))
    )
    require_same_tensors(dict(one.counts), dict(other.counts))
    require_same_tensors(dict(one.v), dict(other.v))
    assert one.counts["conv3"].any()


def test_a_leaky_neuron_on_its_grid_is_the_quantisers() -> None:
    network = small_network(2, neuron=NeuronSpec(kind="lif", tau_us=9_000.0, v_th=0.3, v_min=-0.2), bias=-0.01)
    network.grids = choose_grids(network, IntScheme())
    scales = {name: grid.scale for name, grid in network.grids.items()}
    exact = dequantize(quantize(network.to_spec(), scales=scales))
    for layer in network.spec.spiking:
        assert network.neuron(layer) == exact.layer(layer.name).neuron
        bias, gain = network.bias(layer), network.gain(layer)
        assert bias is not None
        expected = exact.layer(layer.name).bias
        assert expected is not None
        np.testing.assert_allclose(bias.detach().numpy() * gain, expected, rtol=3e-7)
    assert network.grids["conv1"].scale == quantize(network.to_spec()).layer("conv1").scale


def test_biases_of_a_grid_have_eight_bits_and_learn_inside_them() -> None:
    spec = one_neuron(NeuronSpec(v_th=100.0), 0.0, dt_us=10, clock_us=10)
    network = Network(spec, surrogate=Rectangle(width=0.1))  # far below threshold, no spike has a gradient
    network.grids = {"out": Grid(scale=0.25, q_max=7)}  # of weights of four bits: biases have eight all the same
    for value, expected, gradient in ((31.7, 31.75, 2.0), (-31.7, -31.75, 2.0), (40.0, 31.75, 0.0), (0.13, 0.25, 2.0)):
        with torch.no_grad():
            network.biases["out"].fill_(value)
        run = run_windows(network, torch.zeros(2, 1, 1))
        run.v["out"][-1].sum().backward()
        assert run.v["out"].flatten().tolist() == [expected, 2 * expected]
        assert network.biases["out"].grad is not None
        assert network.biases["out"].grad.item() == gradient
        network.biases["out"].grad = None


def test_weights_and_biases_go_to_data_and_back() -> None:
    spec = small_spec(notation=BLOCKS, bias=-0.02)
    network = Network(spec)
    assert network.to_spec() == spec
    with torch.no_grad():
        network.biases["conv2"].add_(1.0)
    changed = network.to_spec()
    assert changed != spec
    other = Network(spec)
    other.load_weights(changed)
    assert other.to_spec() == changed
    assert set(network.trained) == {*network.weights, *(f"{name}.bias" for name in network.weights)}
    network.biases.requires_grad_(False)
    assert set(network.trained) == set(network.weights)


def test_biases_that_the_other_network_lacks_are_missed() -> None:
    biased, plain = small_spec(bias=-0.02), small_spec()
    with pytest.raises(SpecError, match=r"layer 'conv1': biases of shape None do not fit \(4,\)"):
        Network(biased).load_weights(plain)
    with pytest.raises(SpecError, match=r"layer 'conv1': biases of shape \(4,\) do not fit None"):
        Network(plain).load_weights(biased)


def test_what_a_clock_cannot_say_is_refused() -> None:
    spec = one_neuron(NeuronSpec(), 0.1, dt_us=10, clock_us=8)
    with pytest.raises(SpecError, match="3 edges do not bound 3 windows: give 4"):
        run_windows(Network(spec), torch.zeros(3, 1, 1), edges_us=(0, 10, 20))
    with pytest.raises(SpecError, match="layer 'out' has a bias: give the edges_us"):
        run_frame(Network(spec), torch.zeros(3, 1))
    leaky = one_neuron(NeuronSpec(kind="lif", tau_us=5.0), 0.1, dt_us=10, clock_us=8)
    with pytest.raises(SpecError, match="layer 'out' leaks by steps of 10 us: give it windows of that length"):
        run_windows(Network(leaky), torch.zeros(2, 1, 1), edges_us=(0, 10, 21))
    with pytest.raises(QuantizeError, match="layer 'out' leaks, but the network knows no clock"):
        run_frame(Network(dataclasses.replace(leaky, dt_us=None)), torch.zeros(3, 1))


def test_gradients_of_a_merge_go_to_every_source() -> None:
    """A sum passes its gradient to each; a joined channel passes its own."""
    flat = LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=(2, 1, 1))
    hidden = LayerSpec(
        name="hidden", op=Linear(features=2), weight=np.eye(2, dtype=np.float32), neuron=NeuronSpec(), in_shape=(2,)
    )
    weight = np.array([[1.0, 10.0, 100.0]], np.float32)
    out = LayerSpec(name="out", op=Linear(features=1), weight=weight, neuron=NeuronSpec(), in_shape=(3,))
    edges = (Edge(INPUT, "flat"), Edge("flat", "hidden"), Edge("flat", "out"), Edge("hidden", "out", 1))
    spec = NetworkSpec(layers=(flat, hidden, out), edges=edges, input_shape=(2, 1, 1), dt_us=1)
    x = torch.tensor([[3.0, 5.0]]).reshape(1, 2, 1, 1).requires_grad_()
    run = run_frame(Network(spec), x)
    # out = 1 x0 + 10 (x1 + h0) + 100 h1 with h = x
    assert run.totals.item() == 3 + 10 * (5 + 3) + 100 * 5
    run.totals.sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1 + 10, 10 + 100]
