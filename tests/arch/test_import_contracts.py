"""Imports go downwards only, as the contracts in pyproject.toml say."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "chiploop"


def test_the_contracts_are_kept() -> None:
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    assert " 0 broken" in done.stdout


def test_torch_and_its_tensors_stay_in_their_rooms() -> None:
    """The contract says who may not; this says who does, so that a new room is a decision (recipes run networks)."""
    users, relative = set(), []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                relative += [path.name] if node.level else []
            if any(name.split(".")[0] == "torch" for name in names):
                users.add(path.relative_to(SOURCE).parts[0])
    assert users == {"network", "learn", "recipes", "bench"}
    assert relative == []  # they hide where a thing comes from
