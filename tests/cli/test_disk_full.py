"""A full disk: one line, and nothing half-written."""

from __future__ import annotations

import resource
from pathlib import Path

from command_line import finish, start

LIMIT_BYTES = 20_000
"""More than the resolved recipe takes, less than a checkpoint of the tiny network (4 x 2,760 numbers)."""


def no_room() -> None:
    """Let no file grow past the limit: what a full disk does to a write, without filling one."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))


def test_a_full_disk_leaves_whole_files_only(recipe: Path, bars: Path, tmp_path: Path) -> None:
    ran = finish(start("run", recipe, "--data", bars, "--out", "out", "--quiet", folder=tmp_path, preexec_fn=no_room))
    assert ran.code == 2, ran.err
    assert ran.error == "cannot write out/seed-0/cnn.checkpoint.safetensors: File too large; nothing was changed"
    assert ran.err.count("\n") == 1
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["recipe.toml"]
