"""NIR graphs that no network here can be: one clear line each, with the node's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop.errors import DataError, SpecError
from chiploop.spec.nir import from_nir, read_nir

nir = pytest.importorskip("nir", reason="the package nir is not installed: pip install 'chiploop[nir]'")

from nir_nodes import BY_THE_TEXT, chain_nodes, conv, dense, graph_of, pool, spiking  # noqa: E402


def _set(name: str, **fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(nodes: dict[str, Any]) -> None:
        for field, value in fields.items():
            setattr(nodes[name], field, value)

    return change


def _put(name: str, make: Callable[[], Any]) -> Callable[[dict[str, Any]], None]:
    def change(nodes: dict[str, Any]) -> None:
        nodes[name] = make()

    return change


def _nan(nodes: dict[str, Any]) -> None:
    nodes["0"].weight[1, 0, 2, 1] = np.nan


def _uneven(nodes: dict[str, Any]) -> None:
    nodes["1"].v_threshold[0, 0, 0] = 0.5


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "unknown node": (
        _put("5", lambda: nir.CubaLI(*(np.ones(4) for _ in range(4)))),
        "node '5' is a CubaLI, which has no place",
    ),
    "nan": (_nan, r"node '0': weight\[1, 0, 2, 1\] is nan; only finite numbers"),
    "uneven thresholds": (_uneven, r"node '1': v_threshold runs from 0\.5 to 0\.8125 \(mean 0\.80599, 2 values\)"),
    "reset elsewhere": (_set("1", v_reset=np.full((3, 4, 4), 0.5)), r"node '1': v_reset = 0\.5; potentials here"),
    "threshold at zero": (_set("5", v_threshold=np.zeros(4)), r"node '5': v_threshold = 0 must be positive"),
    "neurons of another shape": (_set("5", v_threshold=np.ones(5)), r"node '5': v_threshold has shape \(5,\)"),
    "groups": (_set("0", groups=2), "node '0': groups 2, dilation"),
    "dilation": (_set("0", dilation=(2, 2)), r"node '0': groups 1, dilation \[2, 2\]"),
    "uneven stride": (_set("0", stride=(1, 2)), r"node '0': stride \[1, 2\] must be one whole number for both axes"),
    "half a padding": (_set("0", padding="same", stride=(2, 2)), "node '0': padding 'same' needs stride 1"),
    "overlapping pool": (_set("2", stride=np.array([1, 1])), "node '2': pools here have a stride of their size"),
    "uneven pool": (_set("2", kernel_size=np.array([2, 1])), r"node '2': kernel_size \[2, 1\] must be one"),
    "part of a flatten": (_set("3", start_dim=2), "node '3' flattens axes 2 to -1"),
    "wrong channels": (_put("0", lambda: conv(3, 5)), r"layer '0': weight has shape \(3, 5, 3, 3\), expected"),
    "wrong features": (_put("4", lambda: dense(4, 11)), r"layer '4': weight has shape \(4, 11\), expected \(4, 12\)"),
    "too large a kernel": (_put("0", lambda: conv(3, 2, kernel=9)), "layer '0': .*leaves nothing of a 4x4 map"),
    "an input without a shape": (_put("input", lambda: nir.Input(None)), "node 'input' has shape"),
    "a false input shape": (_set("0", input_shape=(9, 9)), r"node '0' says input_shape \(9, 9\), but is given"),
    "a bias of another shape": (_set("0", bias=np.zeros(4)), r"node '0': bias has shape \(4,\); expected \(3,\)"),
    "averages to the end": (
        lambda nodes: [nodes.pop(name) for name in ("3", "4", "5")] and nodes.update({"2": pool(average=True)}),
        "layer '2': no weights follow the average pooling",
    ),
    "a neuron without weights": (
        lambda nodes: nodes.update({"3": spiking(3, 2, 2)}),
        r"node '3' \(IF\) hears '2' \(SumPool2d\); a neuron here follows weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_network_here_cannot_be_is_refused_in_one_line(what: str) -> None:
    change, message = REFUSED[what]
    nodes = chain_nodes()
    change(nodes)
    if "output" in nodes:  # last, whatever was put in
        nodes["output"] = nodes.pop("output")
    with pytest.raises(SpecError, match=message) as caught:
        from_nir(graph_of(nodes), assume=BY_THE_TEXT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "without", "message"),
    [
        ([("5", "4")], None, "the graph runs in a circle: '(4|5)' -> '(4|5)' -> '(4|5)'"),
        ([("5", "nowhere")], None, "edge '5' -> 'nowhere': no node 'nowhere'"),
        ([], ("1", "2"), "node '2' has no edge that leads to it"),
        ([], ("5", "output"), "node 'output' has no edge that leads to it"),
        ([("0", "1")], None, "edge '0' -> '1' stands twice"),
        ([("0", "2")], None, "node '0' leads to '1', '2'; before a neuron, weights lead nowhere else"),
        ([("1", "output")], None, "node 'output' hears 2 nodes"),
    ],
)
def test_malformed_graphs_are_refused_in_one_line(
    more: list[tuple[str, str]], without: tuple[str, str] | None, message: str, tmp_path: Path
) -> None:
    graph = graph_of(chain_nodes(), *more, without=without)
    with pytest.raises(SpecError, match=message):
        from_nir(graph, assume=BY_THE_TEXT)
    path = tmp_path / "malformed.nir"
    nir.write(path, _writable(graph))
    with pytest.raises(DataError, match=rf"malformed\.nir: .*{message}") as caught:
        read_nir(path, assume=BY_THE_TEXT)
    assert "\n" not in str(caught.value)


def _writable(graph: Any) -> Any:
    """Return the graph with what HDF5 needs to be there."""
    graph.nodes["0"].input_shape = (4, 4)
    graph.nodes["3"].input_type = {"input": np.array([3, 2, 2])}
    return graph


def test_a_graph_with_two_ends_is_refused() -> None:
    nodes = chain_nodes()
    nodes["other"] = nir.Output(np.array([4]))
    with pytest.raises(SpecError, match=r"the graph has 2 nodes Output \(output, other\); exactly one is read"):
        from_nir(graph_of(nodes), assume=BY_THE_TEXT)


def test_averages_and_sums_cannot_meet() -> None:
    nodes = chain_nodes()
    nodes |= {"sum": pool(), "mean": pool(average=True)}
    edges = [("input", "0"), ("0", "1"), ("1", "sum"), ("1", "mean"), ("sum", "3"), ("mean", "3")]
    edges += [("3", "4"), ("4", "5"), ("5", "output")]
    del nodes["2"]
    with pytest.raises(SpecError, match=r"layer '3': '(sum|mean)' joins it by average pooling of another size"):
        from_nir(nir.NIRGraph(nodes, edges, type_check=False), assume=BY_THE_TEXT)


def test_metadata_that_makes_no_sense_is_refused() -> None:
    nodes = chain_nodes()
    nodes["1"].metadata = {"chiploop": {"reset": "sideways"}}
    with pytest.raises(SpecError, match=r"node '1': neuron\.reset = 'sideways'"):
        from_nir(graph_of(nodes))
    nodes["1"].metadata = {"chiploop": {"v_min": "low"}}
    with pytest.raises(SpecError, match=r"node '1': metadata chiploop\.v_min is 'low', not a number"):
        from_nir(graph_of(nodes))
    nodes["1"].metadata = {}
    graph = graph_of(nodes)
    graph.metadata = {"chiploop": {"dt_us": 1.5}}
    with pytest.raises(SpecError, match=r"graph: metadata chiploop\.dt_us is 1\.5, not a whole number"):
        from_nir(graph)
