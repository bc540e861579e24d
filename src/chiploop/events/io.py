"""Read and write event files of any registered format."""

from __future__ import annotations

from pathlib import Path

from chiploop.errors import DataError
from chiploop.events.codecs import CODECS, Codec
from chiploop.events.types import Events, SensorShape


def read_events(path: Path, *, format: str | None = None, shape: SensorShape | None = None) -> Events:
    """Read a recording; the format is found by the file's suffix unless named."""
    return _codec(path, format).read(Path(path), shape)


def write_events(path: Path, events: Events, *, format: str | None = None) -> None:
    """Write a recording; the format is found by the file's suffix unless named."""
    _codec(path, format).write(Path(path), events)


def _codec(path: Path, format: str | None) -> Codec:
    if format is not None:
        return CODECS.get(format)
    for name in CODECS.names():
        if CODECS.get(name).suffix == Path(path).suffix.lower():
            return CODECS.get(name)
    known = ", ".join(f"{CODECS.get(name).suffix} ({name})" for name in CODECS.names())
    raise DataError(f"{path}: no event format has the suffix {Path(path).suffix!r}; name the format. Suffixes: {known}")
