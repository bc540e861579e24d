"""NIR graphs that other tools wrote: what they mean here, and what is assumed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from chiploop.errors import SpecError
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.rng import stream
from chiploop.spec.graph import Edge, NetworkSpec, NeuronSpec
from chiploop.spec.nir import Assume, from_nir, read_nir
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool

nir = pytest.importorskip("nir", reason="the package nir is not installed: pip install 'chiploop[nir]'")

from nir_interpreter import run_nir  # noqa: E402
from nir_nodes import BY_THE_TEXT, chain_nodes, conv, dense, graph_of, leaky, spiking  # noqa: E402


def ours(network: NetworkSpec, x: np.ndarray) -> np.ndarray:
    """Return our counts of the last layer."""
    with torch.no_grad():
        return run_windows(Network(network), torch.from_numpy(x).float()).counts[network.spiking[-1].name].numpy()


def counts(*shape: int, seed: int = 0) -> np.ndarray:
    return stream(seed, "counts").poisson(0.8, (6, 3, *shape))


def test_a_graph_as_sinabs_writes_it_becomes_a_network() -> None:
    network, report = from_nir(graph_of(chain_nodes()), assume=BY_THE_TEXT)
    assert [(layer.name, layer.op) for layer in network.layers] == [
        ("0", Conv(channels=3, kernel=3, padding=1)),
        ("2", SumPool(size=2)),
        ("3", Flatten()),
        ("4", Linear(features=4)),
    ]
    assert network.is_chain
    neuron = NeuronSpec(v_th=0.8125, reset="zero", spikes_per_step="one")
    assert [layer.neuron for layer in network.spiking] == [neuron, neuron]
    assert all(layer.bias is None for layer in network.layers)
    assert (network.dt_us, network.clock_us) == (1_000, None)
    assert report.assumed == (
        "1: reset 'zero'; the file does not say",
        "1: spikes_per_step 'one'; the file does not say",
        "5: reset 'zero'; the file does not say",
        "5: spikes_per_step 'one'; the file does not say",
        "dt_us = 1000, as asked; the file does not say",
    )
    assert "v > v_threshold" in report.differs[0]
    assert (report.lost, report.in_metadata, report.changed) == ((), (), ())


@pytest.mark.parametrize("average", [False, True])
def test_it_computes_what_nir_says(tmp_path: Path, average: bool) -> None:
    """Through a file, against an interpreter of NIR's equations; no potential meets a threshold exactly."""
    nodes = chain_nodes(average=average)
    path = tmp_path / "foreign.nir"
    nir.write(path, nir.NIRGraph(nodes, list(pairwise(nodes))))
    network, report = read_nir(path, assume=BY_THE_TEXT)
    x = counts(2, 4, 4)
    expected = run_nir(graph_of(nodes), x, dt_s=1e-3)["output"]
    assert expected.sum() > 0
    np.testing.assert_array_equal(ours(network, x), expected)
    folded = ("2: average pooling by 2 became sum pooling", "4: weights behind average pooling were divided by 4")
    assert report.changed == (folded if average else ())


@pytest.mark.parametrize(("words", "number"), [("same", 1), ("valid", 0), (np.array([1, 1]), 1), (0, 0)])
def test_padding_may_be_a_word(words: object, number: int) -> None:
    nodes = chain_nodes()
    size = 4 if number else 2
    nodes |= {"0": conv(3, 2, padding=words), "1": spiking(3, size, size), "4": dense(4, 3 * (size // 2) ** 2)}
    network, _ = from_nir(graph_of(nodes), assume=BY_THE_TEXT)
    assert network.layers[0].op == Conv(channels=3, kernel=3, padding=number)


def test_resets_and_spikes_are_taken_as_asked() -> None:
    network, report = from_nir(graph_of(chain_nodes()), assume=Assume(reset="subtract", spikes_per_step="all"))
    assert {(layer.neuron.reset, layer.neuron.spikes_per_step) for layer in network.spiking if layer.neuron} == {
        ("subtract", "all")
    }
    assert "1: reset 'subtract'; the file does not say" in report.assumed
    assert "no step of a clock" in report.assumed[-1]


def test_a_step_exactly_at_the_threshold_is_the_difference_that_is_reported() -> None:
    """Weight 1, threshold 1, one event: NIR's neuron stays silent, ours fires."""
    one = np.ones((1, 1), np.float32)
    nodes = {
        "i": nir.Input(np.array([1])),
        "w": nir.Linear(one),
        "n": spiking(1, v_th=1.0),
        "o": nir.Output(np.array([1])),
    }
    network, report = from_nir(graph_of(nodes), assume=BY_THE_TEXT)
    x = np.ones((1, 1, 1), np.int64)
    assert run_nir(graph_of(nodes), x, dt_s=1e-3)["o"].sum() == 0
    assert ours(network, x).sum() == 1
    assert report.differs[0].startswith("w: NIR writes v > v_threshold, a neuron here fires at v >= v_threshold")


def test_weights_that_meet_in_a_neuron_become_one_layer_of_joined_channels() -> None:
    """A shortcut from the input joins the second convolution's output before the neuron."""
    nodes = chain_nodes()
    nodes |= {"6": conv(3, 3, seed=2), "7": conv(3, 2, seed=3), "8": spiking(3, 4, 4)}
    edges = [
        *[("input", "0"), ("0", "1"), ("1", "6"), ("input", "7"), ("6", "8"), ("7", "8")],
        *[("8", "2"), ("2", "3"), ("3", "4"), ("4", "5"), ("5", "output")],
    ]
    graph = nir.NIRGraph(nodes, edges)
    network, _ = from_nir(graph, assume=BY_THE_TEXT)
    joined = next(layer for layer in network.layers if layer.in_shape[0] == 5)
    assert sorted(network.sources(joined.name), key=lambda edge: edge.shift) in (
        [Edge("0", joined.name), Edge("input", joined.name, 3)],
        [Edge("input", joined.name), Edge("0", joined.name, 2)],
    )
    x = counts(2, 4, 4)
    expected = run_nir(graph, x, dt_s=1e-3)["output"]
    assert expected.sum() > 0
    np.testing.assert_array_equal(ours(network, x), expected)


def test_edges_that_meet_before_weights_add_up() -> None:
    nodes = chain_nodes()
    nodes["6"], nodes["7"] = conv(3, 3, seed=2), spiking(3, 4, 4)
    edges = [
        *[("input", "0"), ("0", "1"), ("1", "6"), ("6", "7"), ("1", "2"), ("7", "2")],
        *[("2", "3"), ("3", "4"), ("4", "5"), ("5", "output")],
    ]
    graph = nir.NIRGraph(nodes, edges)
    network, _ = from_nir(graph, assume=BY_THE_TEXT)
    x = counts(2, 4, 4)
    np.testing.assert_array_equal(ours(network, x), run_nir(graph, x, dt_s=1e-3)["output"])
    assert {edge.source for edge in network.sources("2")} == {"0", "6"}


def test_a_resistance_goes_into_the_threshold() -> None:
    nodes = chain_nodes()
    nodes["1"] = spiking(
        3, 4, 4, r=np.full((3, 4, 4), 2.0), v_threshold=np.full((3, 4, 4), 1.625), v_reset=np.zeros((3, 4, 4))
    )
    network, report = from_nir(graph_of(nodes), assume=BY_THE_TEXT)
    assert network.layers[0].neuron is not None
    assert network.layers[0].neuron.v_th == 0.8125
    assert report.changed == ("1: v_threshold 1.625 was divided by r = 2",)
    x = counts(2, 4, 4)
    np.testing.assert_array_equal(ours(network, x), run_nir(graph_of(nodes), x, dt_s=1e-3)["output"])


def test_leaks_count_seconds_or_what_is_asked() -> None:
    nodes = chain_nodes()
    nodes["1"], nodes["5"] = leaky(3, 4, 4, tau=0.004), leaky(4, tau=0.002)
    network, report = from_nir(graph_of(nodes), assume=BY_THE_TEXT)
    assert [layer.neuron.tau_us for layer in network.spiking if layer.neuron] == [4_000.0, 2_000.0]
    assert "1: tau = 0.004 counts 1e+06 us: 4000 us" in report.assumed
    x = counts(2, 4, 4)
    expected = run_nir(graph_of(nodes), x, dt_s=1e-3)["output"]
    assert expected.sum() > 0
    np.testing.assert_array_equal(ours(network, x), expected)

    nodes["1"], nodes["5"] = leaky(3, 4, 4, tau=4.0), leaky(4, tau=2.0)  # steps of a clock, as some tools write
    in_steps, _ = from_nir(graph_of(nodes), assume=Assume(dt_us=1_000, tau_unit_us=1_000.0))
    assert in_steps == network


@pytest.mark.parametrize("leak", [False, True])
def test_a_bias_becomes_one_of_the_slow_clock_when_asked(leak: bool) -> None:
    nodes = chain_nodes()
    nodes["0"].bias = np.array([0.05, 0.0, -0.1], np.float32)
    if leak:
        nodes["1"] = leaky(3, 4, 4, tau=0.004)
    with pytest.raises(SpecError, match=r"node '0' has a bias up to 0\.1, a current at every step.*clock_us"):
        from_nir(graph_of(nodes), assume=BY_THE_TEXT)
    network, report = from_nir(graph_of(nodes), assume=Assume(dt_us=1_000, clock_us=1_000))
    gain = -np.expm1(-1 / 4) if leak else 1.0
    np.testing.assert_allclose(network.layers[0].bias, np.float32(gain) * nodes["0"].bias, rtol=1e-6)
    assert network.clock_us == 1_000
    assert "0: its bias, a current at every step, is added every 1000 us" in report.assumed
    x = counts(2, 4, 4)
    np.testing.assert_array_equal(ours(network, x), run_nir(graph_of(nodes), x, dt_s=1e-3)["output"])


def test_a_batch_axis_of_one_is_dropped_and_said() -> None:
    nodes = chain_nodes()
    nodes["input"] = nir.Input(np.array([1, 2, 4, 4]))
    nodes["3"] = nir.Flatten(input_type=None, start_dim=1, end_dim=-1)
    nodes["1"] = spiking(1, 3, 4, 4)
    network, report = from_nir(graph_of(nodes), assume=BY_THE_TEXT)
    assert network.input_shape == (2, 4, 4)
    assert "the first axis of the input (1, 2, 4, 4) is a batch of one" in report.assumed
    assert "3: start_dim = 1 counts a batch axis that NIR's shapes do not have" in report.assumed


def test_rounding_to_float32_is_said() -> None:
    nodes = chain_nodes()
    nodes["4"] = nir.Linear(weight=np.full((4, 12), 0.1))  # float64: no float32 is a tenth
    _, report = from_nir(graph_of(nodes), assume=BY_THE_TEXT)
    assert report.changed == ("4: 48 values of its weight were rounded to float32, by 1.5e-09",)
