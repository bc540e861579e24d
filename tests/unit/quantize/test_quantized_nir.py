"""Networks in integers through NIR: the same integers come back, and every reader sees the same real numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.quantize import IntScheme, dequantize, quantize
from chiploop.quantize.nir import read_quantized_nir, write_quantized_nir
from chiploop.quantize.scheme import QuantSpec
from chiploop.rng import stream
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.nir import read_nir, write_nir
from chiploop.spec.notation import parse_notation

nir = pytest.importorskip("nir", reason="the package nir is not installed: pip install 'chiploop[nir]'")


def network(**neuron: object) -> NetworkSpec:
    spec = NeuronSpec(**{"v_th": 0.7, "v_min": -0.3, **neuron})  # type: ignore[arg-type]
    return parse_notation("3c3p1-P2-4", (2, 6, 6), spec, stream(0, "weights"), dt_us=1_000)


def biased(spec: NetworkSpec) -> NetworkSpec:
    layers = [
        layer
        if layer.neuron is None
        else dataclasses.replace(layer, bias=np.full(layer.out_shape[0], -0.05, np.float32))
        for layer in spec.layers
    ]
    return dataclasses.replace(spec, layers=tuple(layers), clock_us=500)


@pytest.mark.parametrize("scheme", [IntScheme(), IntScheme(bits=4, state_bits=8, search="max")])
@pytest.mark.parametrize(
    "spec",
    [network(), network(v_min=None), network(kind="lif", tau_us=5_000.0), biased(network()),
     biased(network(kind="lif", tau_us=5_000.0))],
    ids=["floor", "no floor", "leak", "bias", "leak and bias"],
)  # fmt: skip
def test_the_same_integers_come_back(spec: NetworkSpec, scheme: IntScheme, tmp_path: Path) -> None:
    quant = quantize(spec, scheme)
    path = tmp_path / "net.nir"
    report = write_quantized_nir(path, quant)
    again = read_quantized_nir(path)
    for one, other in zip(quant.layers, again.layers, strict=True):
        assert (one.name, one.threshold, one.floor, one.scale) == (
            other.name,
            other.threshold,
            other.floor,
            other.scale,
        )
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)
    assert again.base == dequantize(quant)
    assert (again.scheme.bits, again.scheme.state_bits) == (scheme.bits, scheme.state_bits)
    assert report.lost == ("the weights before rounding, and how well the integers stand for them",)
    assert report.in_metadata[-1] == "conv1, fc1: scale, integer threshold and floor, number of bits"


def test_other_readers_see_the_real_numbers(tmp_path: Path) -> None:
    quant = quantize(network())
    path = tmp_path / "net.nir"
    write_quantized_nir(path, quant)
    assert read_nir(path)[0] == dequantize(quant)
    weight = nir.read(path).nodes["conv1"].weight
    np.testing.assert_array_equal(weight, quant.layer("conv1").weight * np.float64(quant.layer("conv1").scale))


def test_a_file_without_integers_is_refused(tmp_path: Path) -> None:
    write_nir(tmp_path / "float.nir", network())
    with pytest.raises(DataError, match=r"float\.nir: layer 'conv1' has no integers in its metadata"):
        read_quantized_nir(tmp_path / "float.nir")


def test_weights_off_their_grid_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "off.nir"
    _write_changed(path, quantize(network()))
    with pytest.raises(DataError, match=r"off\.nir: layer 'fc1' is not on the grid of scale"):
        read_quantized_nir(path)


def _write_changed(path: Path, quant: QuantSpec) -> None:
    write_quantized_nir(path, quant)
    graph = nir.read(path)
    graph.nodes["fc1"].weight[0, 0] += 0.3 * quant.layer("fc1").scale
    nir.write(path, graph)
