"""What a clone and a wheel hold: licence, pins, the commands that set themselves up, sizes, no traces of a machine."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import chiploop

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CODE = sorted(path for folder in ("src", "tests", "docs") for path in (ROOT / folder).rglob("*.py"))
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of the licence's text as the Apache Software Foundation publishes it."""

MAX_LINES, MAX_FUNCTION_LINES = 320, 60
"""The style asks for 300 and 50; what is a little over waits for its next change."""
ABSOLUTE = re.compile(r"(?<![\w.$/{])/(?:home|root|Users|work|opt|mnt|srv)/\w+")
"""Folders of somebody's machine."""


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return match[0].lower()


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints-dev.txt").read_text(encoding="utf-8").splitlines()
    return {_name(line): line for line in lines if line and not line.startswith("#")}


def test_the_licence_is_apache_2() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def test_versions_agree() -> None:
    assert chiploop.__version__ == PROJECT["project"]["version"]
    assert chiploop.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_types_are_shipped() -> None:
    assert (ROOT / "src/chiploop/py.typed").is_file()
    assert (ROOT / "src/chiploop/_core.pyi").is_file()


def test_the_library_accepts_ranges_and_the_checks_pin_versions() -> None:
    project = PROJECT["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert [line for line in asked if "==" in line] == []
    assert {_name(line) for line in asked} - {"tomli"} == set(_pins()), "constraints-dev.txt and pyproject.toml differ"
    assert all(re.fullmatch(r"[\w-]+==[\w.]+(; python_version >= \"3\.\d+\")?", line) for line in _pins().values())


def test_torch_is_pinned_for_every_python() -> None:
    """A bare torch may be gigabytes, and another one than the numbers were made with."""
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", _pins()["torch"])


def test_every_installation_of_the_makefile_is_constrained() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in text.splitlines() if re.search(r"pip install\b", line)]
    assert installs
    assert all("-c constraints-dev.txt" in line for line in installs)
    wheels = [line for line in text.splitlines() if re.search(r"pip wheel\b", line)]
    assert all("--no-deps" in line for line in wheels)


def test_continuous_integration_runs_the_readmes_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.read_text(encoding="utf-8").rstrip().splitlines()[-1].endswith(" test")


@pytest.mark.parametrize("target", ["demo", "test", "bench", "docs", "lint", "wheel", "clean"])
def test_make_knows_its_targets(target: str, tmp_path: Path) -> None:
    """In a folder where nothing is installed, make plans every step of a target (and does none, being told so)."""
    plan = subprocess.run(
        ["make", "--dry-run", "-C", str(ROOT), target, f"VENV={tmp_path / 'env'}", f"PYTHON={sys.executable}"],
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")},
    )
    assert plan.returncode == 0, plan.stderr
    if target != "clean":
        assert f"-m venv --clear {tmp_path / 'env'}" in plan.stdout.replace('"', "")


def test_make_says_what_lacks(tmp_path: Path) -> None:
    """An interpreter that is too old is named, with what to do."""
    old = tmp_path / "oldpython"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "-C", str(ROOT), "toolchain", f"PYTHON={old}"],
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL")},
    )
    assert done.returncode != 0
    assert "Python 3.10" in done.stderr
    assert "PYTHON=" in done.stderr


@pytest.mark.parametrize("folder", ["chip/profiles", "recipes/library", "report/templates"])
def test_data_files_lie_in_the_package(folder: str) -> None:
    """They are found beside the package that was imported, however it was installed."""
    package = Path(chiploop.__file__).parent
    assert sorted(p.name for p in (package / folder).iterdir() if p.suffix in (".toml", ".j2"))


def test_files_and_functions_stay_readable() -> None:
    long_files = {p.name: n for p in CODE if (n := len(p.read_text(encoding="utf-8").splitlines())) > MAX_LINES}
    assert long_files == {}
    long_functions = {
        f"{path.name}:{node.name}": node.end_lineno - node.lineno + 1
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert long_functions == {}


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports them by their bare names: the second of two alike stops the whole collection."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted({name for name in names if names.count(name) > 1} - {"__init__.py"}) == []


def test_no_file_names_a_folder_of_a_machine() -> None:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.suffix not in (".svg", ".safetensors", ".bin", ".npz"):
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{name}: {match[0]}" for match in ABSOLUTE.finditer(text)]
    assert found == []
