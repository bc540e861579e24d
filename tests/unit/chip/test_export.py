"""The formats: every one writes a file that its own reader takes, and a source gives the stages it can."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chiploop import tree
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.dvs import DvsLayer
from chiploop.chip.export import EXPORTERS, ExportSource, read_source
from chiploop.chip.export_npz import read_program_npz
from chiploop.chip.hardware.speck_config import speck_notes
from chiploop.chip.hardware.speck_import import program_from_config, read_speck_config
from chiploop.chip.profile import read_profile
from chiploop.chip.program import Program, Target
from chiploop.errors import ChiploopError, DataError
from chiploop.events.types import SensorShape
from chiploop.quantize import QuantSpec, quantize
from chiploop.spec import NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation
from strategies_chip import chain_of, one_core

SPECK = read_profile("speck2f")


def network(neuron: NeuronSpec | None = None) -> NetworkSpec:
    return parse_notation("4c3p1-P2-3", (2, 8, 8), neuron or NeuronSpec(v_th=0.5), np.random.default_rng(0))


def read_back(name: str, path: Path) -> Program | None:
    readers: dict[str, Callable[[Path], Program]] = {
        "npz": read_program_npz,
        "speck-json": lambda there: program_from_config(read_speck_config(there)),
    }
    return readers[name](path) if name in readers else None


@pytest.mark.parametrize("name", ["c-header", "npz", "speck-json"])
def test_a_network_and_its_program_give_the_same_file(name: str, tmp_path: Path) -> None:
    exporter = EXPORTERS.get(name)
    program = compile_program(quantize(network()), SPECK)
    written = []
    for stage, given in {"network": network(), "quant": quantize(network()), "program": program}.items():
        path = tmp_path / stage / f"it{exporter.suffix}"
        exporter.write(ExportSource(given, SPECK), path)
        written.append(path.read_bytes())
        assert read_back(name, path) in (program, None)
    assert written[0] == written[1] == written[2]
    assert len(written[0]) > 500


def test_the_formats_are_registered_with_a_line_each() -> None:
    assert EXPORTERS.names() == ["c-header", "nir", "npz", "speck-json"]
    exporters = [EXPORTERS.get(name) for name in EXPORTERS.names()]
    assert {exporter.suffix for exporter in exporters} == {".h", ".nir", ".npz", ".json"}
    assert all(exporter.summary for exporter in exporters)
    with pytest.raises(ChiploopError, match="no export format 'speck_json': did you mean 'speck-json'"):
        EXPORTERS.get("speck_json")


def test_sources_are_read_by_what_the_file_says_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    for given in (network(), quantize(network()), compile_program(quantize(network()), SPECK)):
        tree.write(path, given)
        source = read_source(path, SPECK)
        assert type(source.given) is type(given)
        assert source.given == given
        assert source.program == compile_program(quantize(network()), SPECK)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a chiploop file"):
        read_source(path, SPECK)
    with pytest.raises(DataError, match="cannot read"):
        read_source(tmp_path / "absent.safetensors", SPECK)


def test_a_program_has_no_way_back_to_its_network() -> None:
    source = ExportSource(compile_program(quantize(network()), SPECK), SPECK)
    for stage in ("network", "quant"):
        with pytest.raises(DataError, match="needs the network's file"):
            getattr(source, stage)


def test_a_stage_that_a_network_cannot_reach_is_no_matter_until_it_is_asked_for() -> None:
    leaky = network(NeuronSpec(kind="lif", tau_us=10_000.0))
    source = ExportSource(leaky, SPECK)
    assert source.network == leaky
    with pytest.raises(ChiploopError, match="conv1"):
        _ = source.program


def test_quantised_networks_know_their_floating_point_ones() -> None:
    quant: QuantSpec = quantize(network())
    assert ExportSource(quant, SPECK).network == network()


def test_notes_say_what_is_left_to_the_host() -> None:
    core = one_core(np.ones((3, 1, 1, 2), np.int8), (3, 4, 4), pool=1, bias=np.ones(2, np.int16))
    program = Program(
        profile_hash="",
        quant_hash="",
        cores=(core,),
        input_shape=SensorShape(2, 8, 8),
        inputs=(Target(0, pool=1, shift=1),),
        outputs=(0,),
        clock_us=5_000,
    )
    notes = speck_notes(program)
    for said in (
        "never tried on a board",
        "sensor is shut off",
        "pooled by 2, channels + 1",
        "200 Hz",
        "'layer0' is pooled by 2",
    ):
        assert sum(said in note for note in notes) == 1, said
    assert len(notes) == 5
    layer = DvsLayer(in_shape=SensorShape(2, 4, 4), hot_pixels=((1, 1), (2, 3)))
    simple = chain_of(one_core(np.ones((2, 1, 1, 1), np.int8), (2, 4, 4)))
    with_sensor = dataclasses.replace(simple, dvs=layer)
    assert [note for note in speck_notes(with_sensor) if "KillSensorPixel event for each of 2" in note]
