"""Registries and named random streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import ChiploopError
from chiploop.registry import Registry
from chiploop.rng import derived_seed, stream


def test_names_entries_and_the_nearest_name() -> None:
    colours: Registry[int] = Registry("colour")
    colours.register("red")(1)
    assert colours.register("green")(2) == 2
    assert colours.names() == ["green", "red"]
    assert colours.get("green") == 2
    with pytest.raises(ChiploopError, match=r"^no colour 'gren': did you mean 'green'\? Choices: green, red$"):
        colours.get("gren")
    with pytest.raises(ChiploopError, match=r"^no colour 'xyzzy': Choices: green, red$"):
        colours.get("xyzzy")


def test_a_name_is_taken_once() -> None:
    colours: Registry[object] = Registry("colour")
    red = object()
    colours.register("red")(red)
    colours.register("red")(red)  # a module imported twice is no harm
    with pytest.raises(ChiploopError, match="colour 'red' is registered twice"):
        colours.register("red")(object())


PLUGIN = "from {package} import THINGS\nTHINGS.register({name!r})({value})\n"


def make_package(folder: Path, name: str, files: dict[str, str]) -> None:
    package = folder / name
    package.mkdir()
    init = f"from chiploop.registry import Registry\nTHINGS = Registry('thing', {name!r})\n"
    (package / "__init__.py").write_text(init)
    for file, content in files.items():
        (package / file).write_text(content)


def test_files_of_the_package_are_found_at_the_first_look_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path, "things_found", {"one.py": PLUGIN.format(package="things_found", name="one", value=1)})
    monkeypatch.syspath_prepend(str(tmp_path))
    import things_found

    assert things_found.THINGS.names() == ["one"]
    assert things_found.THINGS.get("one") == 1


def test_a_file_that_cannot_be_imported_fails_every_time_not_only_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(tmp_path, "things_broken", {"bad.py": "raise ImportError('no such library')\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    import things_broken

    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            things_broken.THINGS.get("anything")


def test_streams_are_named_and_apart() -> None:
    def first(*names: str | int, seed: int = 7) -> int:
        return int(stream(seed, *names).integers(1 << 62))

    assert first("order", 3) == first("order", 3) == first("order", np.int64(3))  # type: ignore[arg-type]
    numbers = [first("order", 3), first("order", "3"), first("order", 4), first("order"), first("order", 3, seed=8)]
    assert len({*numbers, first("a", "b"), first("ab"), first("b", "a")}) == 8
    with pytest.raises(TypeError):
        stream(0, 1.5)  # type: ignore[arg-type]


def test_streams_are_the_same_in_every_process() -> None:
    code = "from chiploop.rng import *; print(stream(7, 'split', 1).integers(1 << 62), derived_seed(7, 'split'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [str(stream(7, "split", 1).integers(1 << 62)), str(derived_seed(7, "split"))]
    assert 0 <= derived_seed(7, "split") < 1 << 63
