"""The command as users run it, on a handful of recordings that are made here."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from chiploop.cli.app import main
from command_line import Command, Outcome
from recordings import TINY_RECIPE, write_bars


def in_process(*arguments: object) -> Outcome:
    """Run a command in this process (importing torch in one of its own takes seconds)."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True, scope="package")
def _torch_as_it_was() -> Iterator[None]:
    """A run pins torch's threads and determinism; other tests must not depend on that."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def chiploop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return the command, in an empty folder, for a user without data of his own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("CHIPLOOP_DATA", raising=False)
    return in_process


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """A data root with a small N-MNIST of moving bars."""
    return write_bars(tmp_path / "data")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that trains in a second."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The tiny recipe carried out once for all tests: its folder, which nobody may change, and what was printed."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "tiny.toml").write_text(TINY_RECIPE)
    outcome = in_process("run", folder / "tiny.toml", "--data", write_bars(folder / "data"), "--out", folder / "out")
    return folder / "out", outcome


@pytest.fixture
def done(first_run: tuple[Path, Outcome], tmp_path: Path) -> Path:
    """A copy of the finished run, free to change."""
    return Path(shutil.copytree(first_run[0], tmp_path / "out"))
