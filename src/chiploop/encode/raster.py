"""Events to counts in windows; all of time is integer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiploop.encode.types import SpikeTrain
from chiploop.errors import DataError
from chiploop.events.compiled import count_compiled
from chiploop.events.types import Events

FLOAT_LIMIT = 1 << 24
"""The largest count in float32: one more would not change it."""


class Raster(NamedTuple):
    """A batch on a clock: `counts` [T, B, C, H, W]; `lost` int64[B], events of each recording that are in no count."""

    counts: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
    lost: NDArray[np.int64]


def window_edges(start_us: int, stop_us: int, n_windows: int) -> NDArray[np.int64]:
    """Return the n + 1 edges of equal windows that cover [start, stop): each ceil((stop - start) / n) us long.

    >>> window_edges(0, 10, 3).tolist()
    [0, 4, 8, 12]
    """
    if n_windows < 1:
        raise DataError(f"n_windows = {n_windows} must be at least 1")
    if stop_us < start_us:
        raise DataError(f"stop_us = {stop_us} lies before start_us = {start_us}")
    dt = max(1, -(-(stop_us - start_us) // n_windows))
    return start_us + dt * np.arange(n_windows + 1, dtype=np.int64)


def rasterize(events: Events, *, n_windows: int | None = None, dt_us: int | None = None) -> SpikeTrain:
    """Return the counts in `n_windows` equal windows, or in windows of `dt_us` (T = ceil(duration / dt)).

    >>> from chiploop.events.types import SensorShape
    >>> e = Events.from_columns([0, 5, 9], [1, 0, 0], [0, 1, 1], [0, 1, 1], SensorShape(2, 2, 2), stop_us=10)
    >>> train = rasterize(e, dt_us=4)
    >>> train.counts.shape, train.n_events, train.lost
    ((3, 2, 2, 2), 3, 0)
    """
    if (n_windows is None) == (dt_us is None):
        raise DataError(f"n_windows = {n_windows} and dt_us = {dt_us}: give exactly one of them")
    if dt_us is not None:
        if dt_us < 1:
            raise DataError(f"dt_us = {dt_us} must be at least 1")
        n_windows = max(1, -(-events.duration_us // dt_us))
        edges = events.start_us + dt_us * np.arange(n_windows + 1, dtype=np.int64)
    else:
        assert n_windows is not None
        edges = window_edges(events.start_us, events.stop_us, n_windows)
    raster = rasterize_batch([events], edges)
    counts = raster.counts[:, 0].astype(np.uint8)
    return SpikeTrain(counts=counts, dt_us=int(edges[1] - edges[0]), start_us=events.start_us, lost=int(raster.lost[0]))


def rasterize_batch(
    recordings: Sequence[Events],
    edges_us: NDArray[np.int64],
    *,
    dtype: type[np.uint8] | type[np.uint16] | type[np.float32] = np.uint8,
    threads: int = 1,
) -> Raster:
    """Return counts [T, B, C, H, W] of recordings of one shape in common windows.

    `edges_us` int64[T + 1] must rise. Events outside the windows, and counts past the limit of `dtype` (2^24 for
    float32, up to which it holds every whole number), are lost and counted. `threads` share out the recordings.
    """
    edges = _require_edges(edges_us)
    if not recordings:
        raise DataError("rasterize_batch needs at least one recording")
    shape = recordings[0].shape
    for b, events in enumerate(recordings):
        if events.shape != shape:
            raise DataError(f"recording {b} is {tuple(events.shape)}, the first {tuple(shape)}: batch equal shapes")
    counts: NDArray[Any] = np.empty((len(edges) - 1, len(recordings), *shape), dtype)
    lost = count_compiled(recordings, edges, counts, threads)
    return Raster(counts, count_plain(recordings, edges, counts) if lost is None else lost)


def count_plain(recordings: Sequence[Events], edges: NDArray[np.int64], counts: NDArray[Any]) -> NDArray[np.int64]:
    """Write counts [T, B, C, H, W] with NumPy, and return how many events of each recording are in none."""
    n_windows, shape = len(counts), recordings[0].shape
    n_pixels = shape.channels * shape.height * shape.width
    limit = FLOAT_LIMIT if counts.dtype.kind == "f" else int(np.iinfo(counts.dtype).max)
    lost = np.zeros(len(recordings), np.int64)
    window_base = np.arange(n_windows, dtype=np.int64) * n_pixels
    for b, events in enumerate(recordings):
        # Times never decrease, so each window is a stretch of the stream, found by bisection.
        cuts = np.searchsorted(events.t_us, edges)
        inside = slice(int(cuts[0]), int(cuts[-1]))
        index = _pixel_index(events, inside)
        index += np.repeat(window_base, np.diff(cuts))
        tally = np.bincount(index, minlength=n_windows * n_pixels)
        lost[b] = len(events) - len(index)
        if int(tally.max()) > limit:
            lost[b] += int(np.maximum(tally - limit, 0).sum())
            np.minimum(tally, limit, out=tally)
        counts[:, b] = tally.reshape(n_windows, *shape)
    return lost


def _pixel_index(events: Events, inside: slice) -> NDArray[np.int64]:
    _, height, width = events.shape
    index = events.channel[inside].astype(np.int64)
    index *= height
    index += events.y[inside]
    index *= width
    index += events.x[inside]
    return index


def _require_edges(edges_us: NDArray[np.int64]) -> NDArray[np.int64]:
    edges = np.asarray(edges_us)
    if edges.ndim != 1 or len(edges) < 2 or edges.dtype.kind not in "iu":
        raise DataError(f"edges_us has shape {edges.shape} and dtype {edges.dtype}; expected int64[T + 1] with T >= 1")
    if (np.diff(edges) <= 0).any():
        raise DataError(f"edges_us must rise; it is {edges.tolist()}")
    return edges.astype(np.int64)
