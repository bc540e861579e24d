"""`chiploop export` on real files: what it writes, what it says, what it refuses."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from chiploop import tree
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.hardware.speck_import import program_from_config, read_speck_config
from chiploop.chip.profile import read_profile
from chiploop.chip.program import Program
from chiploop.cli.app import main
from chiploop.quantize import quantize
from chiploop.spec import NeuronSpec
from chiploop.spec.io import write_network
from chiploop.spec.notation import parse_notation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a network, its program, and a network that no Speck holds."""
    rng = np.random.default_rng(0)
    network = parse_notation("4c3p1-P2-3", (2, 8, 8), NeuronSpec(v_th=0.5), rng)
    write_network(tmp_path / "net.safetensors", network)
    tree.write(tmp_path / "program.safetensors", compile_program(quantize(network), read_profile("speck2f")))
    write_network(tmp_path / "large.safetensors", parse_notation("1c17-3", (1, 17, 17), NeuronSpec(), rng))
    return tmp_path


def export(folder: Path, name: str, *arguments: str) -> tuple[int, str, str]:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = main(["export", str(folder / name), *arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("name", ["net.safetensors", "program.safetensors"])
def test_a_board_configuration_that_gives_the_program_back(folder: Path, name: str) -> None:
    path = folder / "out" / "board.json"
    code, out, err = export(folder, name, "--to", "speck-json", "-o", str(path))
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"wrote {path}: the configuration of a Speck board, in samna's fields"
    assert "never tried on a board" in out
    assert program_from_config(read_speck_config(path)) == tree.read(folder / "program.safetensors", Program)


@pytest.mark.parametrize("to", ["c-header", "npz"])
def test_other_formats(folder: Path, to: str) -> None:
    path = folder / "it"
    code, out, _ = export(folder, "net.safetensors", "--to", to, "-o", str(path), "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["format"], told["file"]) == (to, str(path))
    assert path.stat().st_size > 500


def test_what_is_refused_is_one_line_and_no_file(folder: Path) -> None:
    path = folder / "it"
    for name, to, said in (
        ("net.safetensors", "speck_json", "did you mean 'speck-json'"),
        ("absent.safetensors", "npz", "cannot read"),
        ("program.safetensors", "nir", "needs the network's file"),
        ("large.safetensors", "speck-json", "kernel_size"),
    ):
        code, out, err = export(folder, name, "--to", to, "-o", str(path), "--json")
        assert code == 2
        assert said in err
        assert err.count("\n") == 1
        assert "error" in json.loads(out)
        assert not path.exists()
