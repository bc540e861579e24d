"""The event stream and its invariants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiploop.digest import ByContent, read_only
from chiploop.errors import DataError

MAX_ADDRESS = 65536


class SensorShape(NamedTuple):
    """Size of an address space: channels, height, width."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Events(ByContent):
    """What a sensor or a core emitted: four columns in the order of emission.

    `t_us` int64[n]; `channel`, `y`, `x` uint16[n]. Times never decrease, and ties keep their order, since on an
    asynchronous chip order is meaning. `start_us <= t < stop_us`. Polarity is channel 0 (off) or 1 (on). Empty is
    legal. Columns are read-only. Raises DataError that names the column, the value, the place and the bound.

    >>> e = Events.from_columns([0, 5], [1, 0], [2, 2], [3, 4], SensorShape(2, 34, 34), stop_us=10)
    >>> len(e), e.duration_us
    (2, 10)
    """

    t_us: NDArray[np.int64]
    channel: NDArray[np.uint16]
    y: NDArray[np.uint16]
    x: NDArray[np.uint16]
    shape: SensorShape
    start_us: int
    stop_us: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", SensorShape(*(int(n) for n in self.shape)))
        object.__setattr__(self, "start_us", int(self.start_us))
        object.__setattr__(self, "stop_us", int(self.stop_us))
        if any(not 1 <= n <= MAX_ADDRESS for n in self.shape):
            raise DataError(f"sensor shape {tuple(self.shape)}: every size must be in 1..{MAX_ADDRESS}")
        n = len(self.t_us)
        _freeze_column(self, "t_us", np.int64, n)
        for name in ("channel", "y", "x"):
            _freeze_column(self, name, np.uint16, n)
        _require_times(self.t_us, self.start_us, self.stop_us)
        for name, bound in zip(("channel", "y", "x"), self.shape, strict=True):
            _require_below(name, getattr(self, name), bound)

    def __len__(self) -> int:
        return len(self.t_us)

    @property
    def duration_us(self) -> int:
        """Length of the recording."""
        return self.stop_us - self.start_us

    @classmethod
    def from_columns(
        cls,
        t_us: Any,
        channel: Any,
        y: Any,
        x: Any,
        shape: SensorShape,
        *,
        start_us: int = 0,
        stop_us: int | None = None,
    ) -> Events:
        """Build events from anything that looks like columns; `stop_us` defaults to just after the last event."""
        t = np.asarray(t_us)
        if stop_us is None:
            stop_us = int(t[-1]) + 1 if t.size else start_us
        return cls(t, np.asarray(channel), np.asarray(y), np.asarray(x), shape, start_us, stop_us)

    @classmethod
    def from_checked(
        cls,
        t_us: NDArray[np.int64],
        channel: NDArray[np.uint16],
        y: NDArray[np.uint16],
        x: NDArray[np.uint16],
        shape: SensorShape,
        start_us: int,
        stop_us: int,
    ) -> Events:
        """Build events from read-only columns of which a decoder has checked, on its way, all that the class promises.

        Checking a recording once more takes longer than decoding it.
        """
        events = object.__new__(cls)
        fields = {"t_us": t_us, "channel": channel, "y": y, "x": x}
        vars(events).update(fields, shape=shape, start_us=start_us, stop_us=stop_us)
        return events

    @classmethod
    def empty(cls, shape: SensorShape, *, start_us: int = 0, stop_us: int = 0) -> Events:
        """Return a stream without events."""
        none = np.zeros(0, np.int64)
        return cls.from_columns(none, none, none, none, shape, start_us=start_us, stop_us=stop_us)


def _freeze_column(events: Events, name: str, dtype: type, n: int) -> None:
    column = np.asarray(getattr(events, name))
    if column.ndim != 1 or len(column) != n:
        raise DataError(f"events.{name} has shape {column.shape}; every column must be one-dimensional of length {n}")
    if column.size and column.dtype.kind not in "iub":
        raise DataError(f"events.{name} has dtype {column.dtype}; it must hold integers")
    if not np.can_cast(column.dtype, dtype, "safe"):
        bounds = np.iinfo(dtype)
        if column.size and (int(column.min()) < bounds.min or int(column.max()) > bounds.max):
            worst = int(np.argmax((column < bounds.min) | (column > bounds.max)))
            raise DataError(
                f"events.{name}[{worst}] = {int(column[worst])} is outside {bounds.min}..{bounds.max}; "
                "drop or crop such events before building the stream"
            )
    object.__setattr__(events, name, read_only(column, dtype))


def _require_times(t: NDArray[np.int64], start_us: int, stop_us: int) -> None:
    if start_us > stop_us:
        raise DataError(f"start_us = {start_us} lies after stop_us = {stop_us}")
    if not t.size:
        return
    backwards = t[1:] < t[:-1]
    if backwards.any():
        i = int(np.argmax(backwards)) + 1
        raise DataError(
            f"events.t_us[{i}] = {t[i]} comes after {t[i - 1]}: times must not decrease; "
            "sort the recording (stably) first"
        )
    if t[0] < start_us or t[-1] >= stop_us:
        bad = t[0] if t[0] < start_us else t[-1]
        raise DataError(
            f"events.t_us holds {bad}, outside [{start_us}, {stop_us}); crop the recording or move its bounds"
        )


def _require_below(name: str, column: NDArray[np.uint16], bound: int) -> None:
    if column.size and int(column.max()) >= bound:
        i = int(np.argmax(column >= bound))
        raise DataError(f"events.{name}[{i}] = {column[i]} is outside the sensor (0..{bound - 1})")
