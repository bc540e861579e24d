"""NIR both ways: our files come back equal, others' files mean what NIR's text says, and what is lost is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chiploop.errors import ChiploopError, DataError, SpecError
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.rng import stream
from chiploop.spec.compare import compare
from chiploop.spec.graph import INPUT, Edge, LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.nir import Assume, from_nir, read_nir, to_nir, write_nir
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool
from nir_interpreter import run_nir
from strategies_dag import dag_specs

nir = pytest.importorskip("nir", reason="the package nir is not installed: pip install 'chiploop[nir]'")

CHIP_LIKE = Assume(reset="subtract", spikes_per_step="all", dt_us=1_000)


def small(**neuron: Any) -> NetworkSpec:
    """Return a convolution, a pool and a fully connected layer on a 2 x 4 x 4 input."""
    rng = stream(0, "weights")
    spec = NeuronSpec(**neuron)
    draw = lambda *shape: rng.normal(0.2, 0.5, shape).astype(np.float32)  # noqa: E731
    return chain(
        [
            LayerSpec(name="conv1", op=Conv(channels=3, kernel=3, padding=1), weight=draw(3, 2, 3, 3), neuron=spec,
                      in_shape=(2, 4, 4)),
            LayerSpec(name="pool1", op=SumPool(size=2), weight=None, neuron=None, in_shape=(3, 4, 4)),
            LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=(3, 2, 2)),
            LayerSpec(name="fc1", op=Linear(features=4), weight=draw(4, 12), neuron=spec, in_shape=(12,)),
        ],
        input_shape=(2, 4, 4),
        dt_us=1_000,
    )  # fmt: skip


def exported(spec: NetworkSpec) -> Any:
    """Return the graph of a network that NIR can hold; others are passed over."""
    try:
        graph, report = to_nir(spec)
    except SpecError as error:
        assume("weights after the join" not in str(error) and "give a dt_us" not in str(error))
        raise
    assume(not report.lost)  # gaps between joined channels
    return graph


@given(dag_specs())
def test_our_graphs_come_back_equal(spec: NetworkSpec) -> None:
    again, report = from_nir(exported(spec))
    assert compare(spec, again) == ()
    assert again == spec
    assert report.assumed == report.changed == ()


@settings(max_examples=30)
@given(dag_specs())
def test_our_files_come_back_equal(tmp_path_factory: pytest.TempPathFactory, spec: NetworkSpec) -> None:
    exported(spec)
    path = tmp_path_factory.mktemp("nir") / "net.nir"
    write_nir(path, spec)
    assert read_nir(path)[0] == spec
    nir.read(path)  # with NIR's own check of shapes


def test_a_package_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nir, "version", "1.0.6")
    with pytest.raises(ChiploopError, match=r"the package nir 1\.0\.6 is too old, 1\.0\.7 is needed: pip install"):
        to_nir(small())


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    write_nir(tmp_path / "a.nir", small())
    write_nir(tmp_path / "b.nir", small())
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


@given(dag_specs(spiking=True), st.integers(0, 2**32 - 1))
def test_the_graph_computes_what_the_network_computes(spec: NetworkSpec, seed: int) -> None:
    """By an interpreter that shares no code; biases as NIR has them, at every step."""
    if spec.clock_us is not None:
        spec = dataclasses.replace(spec, clock_us=spec.dt_us)
    graph = exported(spec)
    x = stream(seed, "counts").poisson(0.8, (5, 2, *spec.input_shape))
    assert spec.dt_us is not None
    given_by = run_nir(graph, x, dt_s=spec.dt_us * 1e-6, noted=True)
    with torch.no_grad():
        run = run_windows(Network(spec), torch.from_numpy(x).float())
    for layer in spec.spiking:
        (neuron,) = {
            after
            for name, node in graph.nodes.items()
            for before, after in graph.edges
            if before == name and node.metadata.get("chiploop", {}).get("layer") == layer.name
        }
        np.testing.assert_array_equal(run.counts[layer.name].numpy(), given_by[neuron], err_msg=layer.name)


def test_a_join_of_channels_is_written_as_slices_that_add_up() -> None:
    """Two layers of one channel each, side by side into one weight of two channels (worked by hand)."""
    one = NeuronSpec(spikes_per_step="one")
    weight = np.array([[2.0, 3.0]], np.float32)
    spec = NetworkSpec(
        layers=(
            LayerSpec(name="a", op=Linear(features=1), weight=weight[:, :1], neuron=one, in_shape=(1,)),
            LayerSpec(name="b", op=Linear(features=1), weight=weight[:, 1:], neuron=one, in_shape=(1,)),
            LayerSpec(name="both", op=Linear(features=1), weight=weight, neuron=one, in_shape=(2,)),
        ),
        edges=(Edge(INPUT, "a"), Edge(INPUT, "b"), Edge("a", "both"), Edge("b", "both", 1)),
        input_shape=(1,),
    )
    graph, report = to_nir(spec)
    assert graph.nodes["both"].weight.tolist() == [[2.0]]
    assert graph.nodes["both_part2"].weight.tolist() == [[3.0]]
    assert {
        ("a_neuron", "both"),
        ("b_neuron", "both_part2"),
        ("both", "both_neuron"),
        ("both_part2", "both_neuron"),
    } <= {tuple(edge) for edge in graph.edges}
    assert any(line.startswith("both: which slices") for line in report.in_metadata)


def test_a_join_passes_through_pools_and_flatten_as_its_parts() -> None:
    """Joined maps are pooled and flattened each by itself; the weights behind are cut where the parts meet."""
    rng = stream(0, "weights")

    def conv(name: str) -> LayerSpec:
        weight = rng.normal(0.3, 0.5, (2, 1, 1, 1)).astype(np.float32)
        return LayerSpec(
            name=name, op=Conv(channels=2, kernel=1), weight=weight, neuron=NeuronSpec(), in_shape=(1, 4, 4)
        )

    weight = rng.normal(0.3, 0.5, (3, 16)).astype(np.float32)
    spec = NetworkSpec(
        layers=(
            conv("a"),
            conv("b"),
            LayerSpec(name="pool", op=SumPool(size=2), weight=None, neuron=None, in_shape=(4, 4, 4)),
            LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=(4, 2, 2)),
            LayerSpec(name="fc", op=Linear(features=3), weight=weight, neuron=NeuronSpec(), in_shape=(16,)),
        ),
        edges=(Edge(INPUT, "a"), Edge(INPUT, "b"), Edge("a", "pool"), Edge("b", "pool", 2), Edge("pool", "flat"),
               Edge("flat", "fc")),
        input_shape=(1, 4, 4),
        dt_us=1_000,
    )  # fmt: skip
    graph, _ = to_nir(spec)
    np.testing.assert_array_equal(graph.nodes["fc_part2"].weight, weight[:, 8:])
    assert from_nir(graph)[0] == spec
    x = stream(0, "counts").poisson(0.8, (5, 2, 1, 4, 4))
    with torch.no_grad():
        ours = run_windows(Network(spec), torch.from_numpy(x).float()).counts["fc"].numpy()
    expected = run_nir(graph, x, dt_s=1e-3, noted=True)["output"]
    assert expected.sum() > 0
    np.testing.assert_array_equal(ours, expected)


def test_weights_of_channels_that_no_source_fills_are_said_to_be_lost() -> None:
    weight = np.array([[1.0, 2.0, 3.0]], np.float32)
    layer = LayerSpec(name="fc", op=Linear(features=1), weight=weight, neuron=None, in_shape=(3,))
    spec = NetworkSpec(layers=(layer,), edges=(Edge(INPUT, "fc", 2),), input_shape=(1,))
    graph, report = to_nir(spec)
    assert report.lost == ("fc: the weights of its input channels [0, 1], which no source fills",)
    again, _ = from_nir(graph)
    assert again.layers[0].weight is not None
    assert again.layers[0].weight.tolist() == [[0.0, 0.0, 3.0]]
    assert again.edges == spec.edges


def test_what_nir_cannot_say_is_said_in_the_report() -> None:
    spec = small(kind="lif", tau_us=20_000.0, v_min=-1.0)
    biased = dataclasses.replace(spec.layers[0], bias=np.full(3, 0.25, np.float32))
    spec = dataclasses.replace(spec, layers=(biased, *spec.layers[1:]), clock_us=500)
    graph, report = to_nir(spec)
    assert report.lost == ()
    text = "\n".join(report.in_metadata)
    for word in ("reset by subtraction", "several spikes in one step", "v_min", "every 500 us", "dt_us = 1000"):
        assert word in text
    assert report.differs == (
        "conv1, fc1: a neuron here fires at v >= v_threshold, NIR writes v > v_threshold: "
        "they part where a potential meets the threshold exactly",
    )
    assert graph.nodes["conv1_neuron"].tau.flat[0] == 0.02  # seconds
    gain = -np.expm1(-1_000 / 20_000)
    np.testing.assert_allclose(graph.nodes["conv1"].bias, 0.25 / gain)  # a current that moves v by 0.25 in a step
    assert all("in metadata: " in line or "differs: " in line for line in report.lines)


def test_conv_nodes_say_their_input_shape() -> None:
    """Files in which it is missing cannot be written by all tools."""
    graph, _ = to_nir(small())
    assert tuple(graph.nodes["conv1"].input_shape) == (4, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": (Edge(INPUT, "a"), Edge(INPUT, "b"))}, "layer 'a' leads nowhere and is not the last"),
        (
            {"edges": (Edge(INPUT, "a"), Edge("a", "b"), Edge("a", "b"))},
            "edge 'a' -> 'b' stands twice; NIR knows an edge once",
        ),
    ],
)
def test_networks_that_nir_cannot_hold_are_refused(change: dict[str, Any], message: str) -> None:
    weight = np.ones((2, 2), np.float32)
    layers = tuple(
        LayerSpec(name=name, op=Linear(features=2), weight=weight, neuron=None, in_shape=(2,)) for name in ("a", "b")
    )
    spec = NetworkSpec(layers=layers, input_shape=(2,), **change)
    with pytest.raises(SpecError, match=message):
        to_nir(spec)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_names_that_no_file_can_hold_are_refused(name: str) -> None:
    layer = LayerSpec(name=name, op=Flatten(), weight=None, neuron=None, in_shape=(2,))
    with pytest.raises(SpecError, match="rename the layer"):
        to_nir(chain([layer], input_shape=(2,)))


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*no\.nir: no such file"):
        read_nir(tmp_path / "no.nir")
    bad = tmp_path / "bad.nir"
    bad.write_bytes(b"not an HDF5 file")
    with pytest.raises(DataError, match=r"bad\.nir is not a NIR file, or is damaged") as caught:
        read_nir(bad)
    assert "\n" not in str(caught.value)
    write_nir(bad, small())
    bad.write_bytes(bad.read_bytes()[:3000])
    with pytest.raises(DataError, match="is not a NIR file, or is damaged"):
        read_nir(bad)
