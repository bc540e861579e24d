"""Every example in a docstring runs and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import chiploop

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(chiploop.__path__, "chiploop.")
    if not module.name.endswith(("._core", ".__main__"))
)
WITH_EXAMPLES = [
    name
    for name in MODULES
    if ">>> " in Path(str(importlib.util.find_spec(name).origin)).read_text(encoding="utf-8")  # type: ignore[union-attr]
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples of {name} (see the captured output)"


def test_there_are_examples_to_run() -> None:
    assert len(WITH_EXAMPLES) >= 10
