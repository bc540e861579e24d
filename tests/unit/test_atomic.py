"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from chiploop import atomic
from chiploop.errors import ChiploopError


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "result.txt"
    atomic.write_text(path, "old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(
        ChiploopError, match=r"cannot write .*result\.txt: No space left on device; nothing was changed"
    ):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.txt"]


def test_a_disk_that_fills_while_bytes_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")
    opened = os.fdopen

    class Filling:
        def __init__(self, descriptor: int, mode: str) -> None:
            self.inner = opened(descriptor, mode)

        def __enter__(self) -> Filling:
            return self

        def __exit__(self, *_: object) -> None:
            self.inner.close()

        def write(self, content: bytes) -> int:
            self.inner.write(content[: len(content) // 2])
            full()
            return 0

    monkeypatch.setattr(os, "fdopen", Filling)
    with pytest.raises(ChiploopError, match="No space left"):
        atomic.write_bytes(path, bytes(1_000))
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.txt"
    atomic.write_text(path, "old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_are_made_text_is_utf8_and_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "größe.txt"
    atomic.write_text(path, "µs\n")
    assert path.read_bytes() == "µs\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    atomic.write_bytes(path, b"")
    assert path.read_bytes() == b""


def test_a_file_in_the_way_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(ChiploopError, match="cannot write"):
        atomic.write_text(tmp_path / "file" / "below", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ChiploopError, match="cannot write"):
        atomic.write_text(tmp_path / "folder", "x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
