"""Who may import what, where the import linter cannot see it: the compiled core is no Python to it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "chiploop"
MODULES = sorted(SOURCE.rglob("*.py"))

REACH_CORE = {"chip/compiled.py", "chip/timed.py", "chip/virtual.py", "events/compiled.py", "network/compiled_scan.py"}
"""The doors to the compiled core: the devices in time and without it, event input, and the scans of training."""

WITHOUT_TORCH = ("chip.virtual", "chip.oracle", "quantize.apply", "measure.record", "report", "datasets", "cli.app")


def _imported(path: Path) -> Iterator[str]:
    """Yield the full name of everything a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_compiled_core_is_reached_through_its_doors_only() -> None:
    reaching = {
        path.relative_to(SOURCE).as_posix()
        for path in MODULES
        if any(name == "chiploop._core" or name.startswith("chiploop._core.") for name in _imported(path))
    }
    assert reaching == REACH_CORE


def test_ray_is_reached_through_its_door_only() -> None:
    """And there inside a function: nothing but what runs on several processes needs it."""
    reaching = {
        path.relative_to(SOURCE).as_posix()
        for path in MODULES
        if any(name.split(".")[0] == "ray" for name in _imported(path))
    }
    assert reaching == {"cluster/session.py"}
    users = "chiploop.chip.open, chiploop.recipes.sweep, chiploop.cli.sweep"
    code = f"import sys; import {users}; sys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "ray was imported"


@pytest.mark.parametrize("forbidden", ["pickle", "marshal", "shelve", "dill", "requests", "urllib.request"])
def test_nothing_is_unpickled_or_downloaded(forbidden: str) -> None:
    """What a file says is never run, and nothing is fetched behind a user's back."""
    using = [
        path.name
        for path in MODULES
        if any(name == forbidden or name.startswith(f"{forbidden}.") for name in _imported(path))
    ]
    assert using == []


def test_the_chips_side_starts_without_torch() -> None:
    imports = "; ".join(f"import chiploop.{name}" for name in WITHOUT_TORCH)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "torch was imported"


def test_random_numbers_come_from_named_streams() -> None:
    """NumPy's global generator, and generators made elsewhere than in rng, would break that a seed decides all."""
    making = {
        path.relative_to(SOURCE).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("np.random.", "random."))
    }
    assert making <= {"rng.py"}
