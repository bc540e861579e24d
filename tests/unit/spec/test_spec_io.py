"""Networks through files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from chiploop import tree
from chiploop.errors import DataError
from chiploop.rng import stream
from chiploop.spec import Conv, Flatten, LayerSpec, Linear, NetworkSpec, NeuronSpec, SumPool, chain
from chiploop.spec.io import read_network, write_network


def example() -> NetworkSpec:
    rng = stream(0, "weights")
    lif = NeuronSpec(kind="lif", tau_us=2_000.5, v_th=0.75, v_min=-1.0, reset="zero", spikes_per_step="one")
    conv = LayerSpec(
        name="conv", op=Conv(channels=3, kernel=3, stride=2, padding=1), in_shape=(2, 7, 5), neuron=lif,
        weight=rng.normal(size=(3, 2, 3, 3)).astype(np.float32), bias=np.float32([1, -2, 1e-30]),
    )  # fmt: skip
    pool = LayerSpec(name="pool", op=SumPool(size=2), weight=None, neuron=None, in_shape=(3, 4, 3))
    flat = LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=(3, 2, 1))
    fc = LayerSpec(
        name="fc", op=Linear(features=4), in_shape=(6,), neuron=None, weight=rng.normal(size=(4, 6)).astype(np.float32)
    )
    return chain([conv, pool, flat, fc], input_shape=(2, 7, 5), dt_us=1_000, clock_us=500)


def test_a_network_comes_back_as_it_went(tmp_path: Path) -> None:
    spec, path = example(), tmp_path / "net.safetensors"
    write_network(path, spec)
    back = read_network(path)
    assert back.digest == spec.digest
    assert back.layers[0].neuron == spec.layers[0].neuron
    assert back.edges == spec.edges
    assert back.layers[3].weight is not None
    assert back.layers[3].weight.tolist() == spec.layers[3].weight.tolist()  # type: ignore[union-attr]
    first = path.read_bytes()
    write_network(path, back)
    assert path.read_bytes() == first


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    write_network(path, example())
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"net\.safetensors"):
            read_network(path)


def test_an_altered_network_is_refused_by_name(tmp_path: Path) -> None:
    fields = [f.name for f in dataclasses.fields(NetworkSpec)]
    lookalike = dataclasses.make_dataclass("NetworkSpec", fields)  # the type without its invariants
    spec, path = example(), tmp_path / "net.safetensors"
    unpadded = dataclasses.replace(spec.layers[0], op=Conv(channels=3, kernel=3, stride=2, padding=0))
    forged = lookalike(**{name: getattr(spec, name) for name in fields})
    forged.layers = (unpadded, *spec.layers[1:])  # the map after it no longer agrees
    tree.write(path, forged)
    with pytest.raises(DataError, match=r"net\.safetensors"):
        read_network(path)


def test_a_missing_file_and_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nowhere"):
        read_network(tmp_path / "nowhere")
    tree.write(tmp_path / "neuron", NeuronSpec())
    with pytest.raises(DataError, match="holds a 'NeuronSpec'"):
        read_network(tmp_path / "neuron")
