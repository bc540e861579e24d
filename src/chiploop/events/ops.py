"""What can be done with event streams: pure functions from Events to Events; order is kept wherever it has meaning."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape


def crop_time(events: Events, start_us: int, stop_us: int) -> Events:
    """Keep the events with start <= t < stop; the stream's own bounds become start and stop.

    >>> e = Events.from_columns([0, 5, 9], [0, 0, 0], [0, 0, 0], [0, 1, 2], SensorShape(1, 1, 3))
    >>> crop_time(e, 5, 9).x.tolist()
    [1]
    """
    if stop_us < start_us:
        raise DataError(f"crop_time: stop_us = {stop_us} lies before start_us = {start_us}")
    first, last = np.searchsorted(events.t_us, [start_us, stop_us])
    own = slice(int(first), int(last))
    return Events(events.t_us[own], events.channel[own], events.y[own], events.x[own], events.shape, start_us, stop_us)


def shift_time(events: Events, by_us: int) -> Events:
    """Move every event and both bounds in time."""
    return Events(
        events.t_us + by_us,
        events.channel,
        events.y,
        events.x,
        events.shape,
        events.start_us + by_us,
        events.stop_us + by_us,
    )


def crop_space(events: Events, *, top: int, left: int, height: int, width: int) -> Events:
    """Keep what falls on a rectangle of the sensor, and count addresses from its corner."""
    if min(top, left) < 0 or top + height > events.shape.height or left + width > events.shape.width:
        raise DataError(
            f"crop_space: rows {top}..{top + height - 1} and columns {left}..{left + width - 1} leave the "
            f"{events.shape.height}x{events.shape.width} sensor"
        )
    shape = SensorShape(events.shape.channels, height, width)
    return _moved(events, events.y.astype(np.int64) - top, events.x.astype(np.int64) - left, shape)


def shift_space(events: Events, *, dx: int, dy: int) -> Events:
    """Move every event by (dx, dy); those that leave the sensor are dropped: `len` before and after tells how many."""
    return _moved(events, events.y.astype(np.int64) + dy, events.x.astype(np.int64) + dx, events.shape)


def flip(events: Events, *, axis: str) -> Events:
    """Mirror the sensor: axis "x" swaps left and right, "y" swaps top and bottom."""
    y, x = events.y.astype(np.int64), events.x.astype(np.int64)
    if axis == "x":
        return _moved(events, y, events.shape.width - 1 - x, events.shape)
    if axis == "y":
        return _moved(events, events.shape.height - 1 - y, x, events.shape)
    raise DataError(f"flip: axis {axis!r} must be 'x' or 'y'")


def merge_polarity(events: Events) -> Events:
    """Put all channels on one."""
    shape = SensorShape(1, events.shape.height, events.shape.width)
    nothing = np.zeros(len(events), np.uint16)
    return Events(events.t_us, nothing, events.y, events.x, shape, events.start_us, events.stop_us)


def select(events: Events, keep: NDArray[np.bool_]) -> Events:
    """Keep the events where the mask bool[n] is true."""
    if keep.shape != (len(events),) or keep.dtype != np.bool_:
        raise DataError(f"select: the mask is {keep.dtype}{list(keep.shape)}, expected bool[{len(events)}]")
    return Events(
        events.t_us[keep],
        events.channel[keep],
        events.y[keep],
        events.x[keep],
        events.shape,
        events.start_us,
        events.stop_us,
    )


def drop(events: Events, probability: float, rng: np.random.Generator) -> Events:
    """Lose each event with the probability, independently."""
    if not 0 <= probability <= 1:
        raise DataError(f"drop: probability {probability} must be in 0..1")
    return select(events, rng.random(len(events)) >= probability)


def jitter(events: Events, sigma_us: float, rng: np.random.Generator) -> Events:
    """Move each event in time by a normal deviate, kept inside the bounds; the stream is sorted (stably) again."""
    if not sigma_us >= 0:
        raise DataError(f"jitter: sigma_us = {sigma_us} must be at least 0")
    if not len(events):
        return events
    moved = events.t_us + np.rint(rng.normal(0, sigma_us, len(events))).astype(np.int64)
    moved = np.clip(moved, events.start_us, events.stop_us - 1)
    order = np.argsort(moved, kind="stable")
    return Events(
        moved[order],
        events.channel[order],
        events.y[order],
        events.x[order],
        events.shape,
        events.start_us,
        events.stop_us,
    )


def refractory(events: Events, dead_us: int) -> Events:
    """Drop the events that come less than dead_us after the last one kept at the same address (channel, y, x)."""
    if dead_us < 0:
        raise DataError(f"refractory: dead_us = {dead_us} must be at least 0")
    address = flat_address(events)
    order = np.argsort(address, kind="stable")
    address, t = address[order], events.t_us[order]
    keep = np.zeros(len(events), np.bool_)
    # Each pass keeps the first event left at each address, and drops what that one blinds: as many passes as the
    # busiest address keeps events.
    left = np.arange(len(events))
    while left.size:
        first = np.concatenate([[True], np.diff(address[left]) != 0])
        keep[order[left[first]]] = True
        run = np.cumsum(first) - 1
        free_at = t[left[first]][run] + dead_us
        left = left[~first & (t[left] >= free_at)]
    return select(events, keep)


def flat_address(events: Events) -> NDArray[np.int64]:
    """Return (channel * height + y) * width + x of each event."""
    address: NDArray[np.int64] = (
        events.channel.astype(np.int64) * events.shape.height + events.y
    ) * events.shape.width + events.x
    return address


def slice_windows(events: Events, edges_us: Sequence[int] | NDArray[np.int64]) -> list[Events]:
    """Cut the stream at the edges: window k holds edges[k] <= t < edges[k + 1], times unchanged.

    Windows that cover the stream, joined, give it back.
    """
    edges = [int(edge) for edge in edges_us]
    if len(edges) < 2 or any(b < a for a, b in pairwise(edges)):
        raise DataError(f"slice_windows: edges {edges} must be at least two and must not fall")
    return [crop_time(events, start, stop) for start, stop in pairwise(edges)]


def join(streams: Sequence[Events]) -> Events:
    """Put streams one after the other in time; each must begin where the last stopped, or later."""
    if not streams:
        raise DataError("join needs at least one stream")
    for k, (before, after) in enumerate(pairwise(streams)):
        if after.start_us < before.stop_us:
            raise DataError(
                f"join: stream {k + 1} begins at {after.start_us}, before stream {k} stops at {before.stop_us}; "
                "shift_time it first"
            )
        if after.shape != before.shape:
            raise DataError(f"join: stream {k + 1} is {tuple(after.shape)}, stream {k} {tuple(before.shape)}")
    return Events(
        np.concatenate([s.t_us for s in streams]),
        np.concatenate([s.channel for s in streams]),
        np.concatenate([s.y for s in streams]),
        np.concatenate([s.x for s in streams]),
        streams[0].shape,
        streams[0].start_us,
        streams[-1].stop_us,
    )


def _moved(events: Events, y: NDArray[np.int64], x: NDArray[np.int64], shape: SensorShape) -> Events:
    inside = (y >= 0) & (y < shape.height) & (x >= 0) & (x < shape.width)
    if inside.all():
        return Events(events.t_us, events.channel, y, x, shape, events.start_us, events.stop_us)  # type: ignore[arg-type]
    return Events.from_columns(
        events.t_us[inside],
        events.channel[inside],
        y[inside],
        x[inside],
        shape,
        start_us=events.start_us,
        stop_us=events.stop_us,
    )
