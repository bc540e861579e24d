"""The check of a NIR file: quiet when all is well, and each kind of difference found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop.network.verify_nir import verify_nir
from chiploop.spec.graph import NetworkSpec
from chiploop.spec.nir import Assume, write_nir
from strategies_network import small_spec

nir = pytest.importorskip("nir", reason="the package nir is not installed: pip install 'chiploop[nir]'")


def test_a_file_of_ours_is_its_network(tmp_path: Path) -> None:
    spec = small_spec()
    write_nir(tmp_path / "net.nir", spec)
    check = verify_nir(spec, tmp_path / "net.nir")
    assert check.equal
    assert check.differences == ()
    assert check.n_unequal == {"conv1": 0, "conv2": 0, "fc1": 0}
    assert all(n > 0 for n in check.n_spikes.values())
    assert check == verify_nir(spec, tmp_path / "net.nir", seed=0)
    assert check.n_spikes != verify_nir(spec, tmp_path / "net.nir", seed=1).n_spikes


def test_a_network_without_a_clock_is_checked_too(tmp_path: Path) -> None:
    spec = dataclasses.replace(small_spec(), dt_us=None)
    write_nir(tmp_path / "net.nir", spec)
    assert verify_nir(spec, tmp_path / "net.nir").equal


def _weight(graph: Any) -> None:
    graph.nodes["conv2"].weight[0, 0, 0, 0] += 1.0


def _threshold(graph: Any) -> None:
    graph.nodes["fc1_neuron"].v_threshold *= 2


def _forget(graph: Any) -> None:
    for node in graph.nodes.values():
        node.metadata = {}


@pytest.mark.parametrize(
    ("change", "said", "silent"),
    [
        (_weight, r"conv2: weight differs in 1 of \d+ values, by up to 1", {"conv1"}),
        (_threshold, r"fc1: neuron\.v_th [\d.]+ and [\d.]+", {"conv1", "conv2"}),
        (_forget, r"conv1: neuron\.reset 'subtract' and 'zero'", set()),
    ],
)
def test_what_was_changed_is_found(tmp_path: Path, change: Callable[[Any], None], said: str, silent: set[str]) -> None:
    spec = small_spec()
    path = tmp_path / "net.nir"
    write_nir(path, spec)
    graph = nir.read(path)
    change(graph)
    nir.write(path, graph)
    check = verify_nir(spec, path)
    assert not check.equal
    assert any(_matches(said, line) for line in check.differences)
    assert {name for name, n in check.n_unequal.items() if n == 0} >= silent
    assert sum(check.n_unequal.values()) > 0


def _matches(pattern: str, line: str) -> bool:
    import re

    return re.fullmatch(pattern, line) is not None


def test_what_is_assumed_can_make_up_for_forgotten_metadata(tmp_path: Path) -> None:
    spec = _same_everywhere(small_spec())
    path = tmp_path / "net.nir"
    write_nir(path, spec)
    graph = nir.read(path)
    _forget(graph)
    nir.write(path, graph)
    check = verify_nir(spec, path, assume=Assume(reset="subtract", spikes_per_step="all", dt_us=spec.dt_us))
    assert check.n_unequal == dict.fromkeys(check.n_unequal, 0)
    assert check.report.assumed


def _same_everywhere(spec: NetworkSpec) -> NetworkSpec:
    assert all(layer.neuron is not None and layer.neuron.v_min is None for layer in spec.spiking)
    assert all(np.isfinite(layer.weight).all() for layer in spec.spiking if layer.weight is not None)
    return spec
