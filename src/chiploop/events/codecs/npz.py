"""Our own event file: a NumPy archive of plain columns, versioned, never pickled."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from chiploop import atomic
from chiploop.errors import DataError
from chiploop.events.codecs import CODECS, Codec
from chiploop.events.types import Events, SensorShape

VERSION = 1
COLUMNS = ("t_us", "channel", "y", "x")
FIELDS = ("version", *COLUMNS, "shape", "start_us", "stop_us")


def read_npz(path: Path, shape: SensorShape | None = None) -> Events:
    """Read events; raises DataError when the archive is damaged, lacks a field, or is of another sensor."""
    try:
        content = io.BytesIO(Path(path).read_bytes())
        with np.load(content, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is a single array, not an archive of event columns")
            missing = [name for name in FIELDS if name not in archive.files]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}; an event archive has: {', '.join(FIELDS)}")
            fields = {name: archive[name] for name in FIELDS}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no event archive, or is damaged{_place(error)}: {error}") from error
    if fields["version"].size != 1 or int(fields["version"]) != VERSION:
        raise DataError(f"{path}: version {fields['version']}, expected {VERSION}; write it anew with this release")
    if fields["shape"].shape != (3,) or fields["start_us"].size != 1 or fields["stop_us"].size != 1:
        raise DataError(f"{path}: shape must be three integers, start_us and stop_us one each")
    stored = SensorShape(*fields["shape"].tolist())
    if shape is not None and tuple(shape) != stored:
        raise DataError(f"{path} holds events of a {tuple(stored)} sensor, not {tuple(shape)}")
    try:
        t, channel, y, x = (fields[name] for name in COLUMNS)
        return Events(t, channel, y, x, stored, int(fields["start_us"]), int(fields["stop_us"]))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def write_npz(path: Path, events: Events) -> None:
    """Write events; the same events give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        version=np.int64(VERSION),
        shape=np.array(events.shape, np.int64),
        start_us=np.int64(events.start_us),
        stop_us=np.int64(events.stop_us),
        **{name: getattr(events, name) for name in COLUMNS},
    )
    atomic.write_bytes(Path(path), buffer.getvalue())


def _place(error: Exception) -> str:
    """An archive too short to have a directory is damaged from its end; byte 0 is all that can be named."""
    return " (byte 0)" if isinstance(error, (zipfile.BadZipFile, EOFError)) else ""


CODECS.register("npz")(Codec(read=read_npz, write=write_npz, suffix=".npz", summary="NumPy archive of event columns"))
