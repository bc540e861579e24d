"""Events as text: one line an event, header t_us,x,y,channel; sensor and bounds in a first line of their own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop import atomic
from chiploop.errors import DataError
from chiploop.events.codecs import CODECS, Codec
from chiploop.events.types import Events, SensorShape

COLUMNS = ("t_us", "x", "y", "channel")
PREAMBLE = re.compile(r"# channels=(\d+) height=(\d+) width=(\d+) start_us=(-?\d+) stop_us=(-?\d+)")
INTEGER = re.compile(r"-?\d+")


def read_csv(path: Path, shape: SensorShape | None = None) -> Events:
    """Read events; `shape` is needed where the file has no first line that states it.

    Raises DataError with the line number of what is wrong.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text at byte {error.start}: {error.reason}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    start, stop, first = 0, None, 0
    stated = PREAMBLE.fullmatch(lines[0].strip()) if lines else None
    if stated:
        numbers = [int(number) for number in stated.groups()]
        if shape is not None and tuple(shape) != tuple(numbers[:3]):
            raise DataError(f"{path}, line 1: events of a {tuple(numbers[:3])} sensor, not {tuple(shape)}")
        shape, start, stop, first = SensorShape(*numbers[:3]), numbers[3], numbers[4], 1
    if shape is None:
        raise DataError(f"{path}, line 1 does not state the sensor (# channels=...); give its shape")
    header = lines[first].strip() if len(lines) > first else ""
    if header != ",".join(COLUMNS):
        raise DataError(f"{path}, line {first + 1}: header {header!r}, expected {','.join(COLUMNS)!r}")
    rows = [_row(path, first + 2 + k, line) for k, line in enumerate(lines[first + 1 :])]
    t, x, y, channel = np.array(rows, np.int64).reshape(-1, len(COLUMNS)).T
    _require_rows(path, first + 2, (t, x, y, channel), shape)
    try:
        return Events.from_columns(t, channel, y, x, shape, start_us=start, stop_us=stop)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def write_csv(path: Path, events: Events) -> None:
    """Write events."""
    channels, height, width = events.shape
    bounds = f"start_us={events.start_us} stop_us={events.stop_us}"
    lines = [f"# channels={channels} height={height} width={width} {bounds}", ",".join(COLUMNS)]
    columns = (getattr(events, name).tolist() for name in COLUMNS)
    lines += [f"{t},{x},{y},{channel}" for t, x, y, channel in zip(*columns, strict=True)]
    atomic.write_text(Path(path), "\n".join(lines) + "\n")


def _row(path: Path, number: int, line: str) -> list[int]:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(COLUMNS) or not all(INTEGER.fullmatch(field) for field in fields):
        raise DataError(f"{path}, line {number}: {line!r} is not four integers {','.join(COLUMNS)}")
    return [int(field) for field in fields]


def _require_rows(path: Path, first: int, columns: tuple[NDArray[np.int64], ...], shape: SensorShape) -> None:
    t, x, y, channel = columns
    for name, column, bound in (("x", x, shape.width), ("y", y, shape.height), ("channel", channel, shape.channels)):
        outside = (column < 0) | (column >= bound)
        if outside.any():
            i = int(np.argmax(outside))
            raise DataError(f"{path}, line {first + i}: {name} = {column[i]} lies outside the sensor (0..{bound - 1})")
    backwards = t[1:] < t[:-1]
    if backwards.any():
        i = int(np.argmax(backwards)) + 1
        raise DataError(f"{path}, line {first + i}: time goes back from {t[i - 1]} to {t[i]}; sort the file first")


CODECS.register("csv")(Codec(read=read_csv, write=write_csv, suffix=".csv", summary="text, one line an event"))
