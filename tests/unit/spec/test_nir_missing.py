"""Without the package nir everything else works, and the message says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chiploop.errors import ChiploopError
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from chiploop.spec.nir import read_nir, to_nir, write_nir
from chiploop.spec.notation import parse_notation


def test_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    net = parse_notation("3", (2,), NeuronSpec(), stream(0, "weights"))
    for use in (lambda: to_nir(net), lambda: write_nir(tmp_path / "a.nir", net), lambda: read_nir(tmp_path / "a.nir")):
        with pytest.raises(ChiploopError, match=r"pip install 'chiploop\[nir\]'"):
            use()


def test_nir_is_imported_only_when_it_is_used() -> None:
    imports = "import sys, chiploop.spec.nir, chiploop.quantize.nir"
    code = f"{imports}; sys.exit(bool({{'nir', 'h5py', 'torch'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
