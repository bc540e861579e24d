"""Event input in the compiled core: each function is a plain NumPy one elsewhere, done in one pass.

Every one returns None where the core is not built, and the caller goes the NumPy way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiploop.events.types import Events, SensorShape

RECORD_BYTES = 5


class Fault(NamedTuple):
    """What is wrong with a record: `kind` 1 an x, 2 a y, 3 a time; `before` is the time that it steps back from."""

    kind: int
    record: int
    before: int
    value: int


class Motion(NamedTuple):
    """y' = rint(sy (cos dy - sin dx) + cy + shift_y), x' = rint(sx (sin dy + cos dx + shear dy) + cx + shift_x).

    dy and dx count from the middle (cy, cx); events whose draw lies below `drop` are lost.
    """

    cy: float
    cx: float
    sin: float
    cos: float
    sy: float
    sx: float
    shear: float
    shift_y: float
    shift_x: float
    drop: float


@lru_cache(maxsize=1)
def _core() -> ModuleType | None:
    try:
        from chiploop import _core
    except ImportError:
        return None
    return _core


def decode_compiled(content: bytes, shape: SensorShape, stop_us: int) -> Events | Fault | None:
    """Decode five-byte records (events/codecs/nmnist.py says how) into a recording, or say what is wrong first."""
    core = _core()
    if core is None:
        return None
    n = len(content) // RECORD_BYTES
    t, addresses = np.empty(n, np.int64), np.empty((3, n), np.uint16)
    n, kind, *fault = core.decode_records(np.frombuffer(content, np.uint8), shape, t=t, addresses=addresses)
    if kind:
        return Fault(kind, *fault)
    stop_us = max(stop_us, int(t[n - 1]) + 1 if n else 0)
    return Events.from_checked(*_columns(t, addresses, n), shape, 0, stop_us)


def unpack_compiled(
    words: NDArray[Any], bits: tuple[int, int, int], shape: SensorShape, start_us: int, stop_us: int
) -> Events | int | None:
    """Unpack words of (time - start, channel, y, x) into a recording, or return the place of the first bad one."""
    core = _core()
    if core is None:
        return None
    n = len(words)
    t, addresses = np.empty(n, np.int64), np.empty((3, n), np.uint16)
    duration = stop_us - start_us
    sound: int = core.unpack_words(words, bits, shape, start=start_us, duration=duration, t=t, addresses=addresses)
    if sound < n:
        return sound
    return Events.from_checked(*_columns(t, addresses, n), shape, start_us, stop_us)


def move_compiled(
    events: Events, motion: Motion, draws: NDArray[np.float64] | None, first_us: int, stop_us: int
) -> Events | None:
    """Move events over the sensor; those that leave it, or lie outside [first, stop), are gone."""
    core = _core()
    if core is None:
        return None
    n = len(events)
    t, addresses = np.empty(n, np.int64), np.empty((3, n), np.uint16)
    n = core.move_events(
        _stream(events), events.shape, motion, draws, first=first_us, stop=stop_us, t=t, addresses=addresses
    )
    return Events.from_checked(*_columns(t, addresses, n), events.shape, events.start_us, events.stop_us)


def count_compiled(
    recordings: Sequence[Events], edges: NDArray[np.int64], counts: NDArray[Any], threads: int
) -> NDArray[np.int64] | None:
    """Write the counts [T, B, C, H, W] of recordings of one shape; return how many events of each are in none."""
    core = _core()
    if core is None:
        return None
    lost = np.empty(len(recordings), np.int64)
    streams = [_stream(events) for events in recordings]
    core.count_events(streams, recordings[0].shape, edges, counts=counts, lost=lost, threads=threads)
    return lost


def _stream(events: Events) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    return events.t_us, events.channel, events.y, events.x


def _columns(
    t: NDArray[np.int64], addresses: NDArray[np.uint16], n: int
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the first n events as columns that nobody can write to; few of them are copied out of a large buffer."""
    if 2 * n < len(t):
        t, addresses = t[:n].copy(), addresses[:, :n].copy()
    t.setflags(write=False)
    addresses.setflags(write=False)
    channel, y, x = addresses
    if n == len(t):
        return t, channel, y, x
    return t[:n], channel[:n], y[:n], x[:n]
