"""Between a program's terms and a board's: events as orders, spikes as events, counts, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.device import Counters, Monitor
from chiploop.chip.hardware.board_session import Spike
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.errors import DataError, ReadoutError
from chiploop.events.types import Events, SensorShape

COUNT_MAX = int(np.iinfo(np.uint16).max)


def input_spikes(program: Program, events: Events) -> list[Spike]:
    """Return the events as orders to the cores that hear the input: each event to each target in turn.

    Pooling and channel shifts on the way to a core are done here; board time 0 is the start of the events.
    """
    n, n_targets = len(events), len(program.inputs)
    table = np.empty((n, n_targets, 5), np.int64)
    kept = np.ones((n, n_targets), np.bool_)
    for i, target in enumerate(program.inputs):
        y, x, kept[:, i] = _arriving(events, target.pool)
        table[:, i] = np.stack(
            [events.t_us - events.start_us, np.full(n, target.core), events.channel + np.int64(target.shift), y, x],
            axis=1,
        )
    return [Spike(*row) for row in table[kept].tolist()]


def spikes_as_events(spikes: Iterable[Spike], shape: SensorShape, *, part: Events) -> Events:
    """Return a core's spikes, heard while `part` was played from board time 0 on, as events.

    A board takes time: a spike after the end moves the end. Raises ReadoutError when times go back.
    """
    t, _, channel, y, x = np.array(list(spikes), np.int64).reshape(-1, 5).T
    t = t + part.start_us
    stop_us = max(part.stop_us, int(t[-1]) + 1) if len(t) else part.stop_us
    try:
        return Events.from_columns(t, channel, y, x, shape, start_us=part.start_us, stop_us=stop_us)
    except DataError as error:
        raise ReadoutError(f"a core's spikes make no stream: {error}") from error


def joined(pieces: Sequence[Events], whole: Events) -> Events:
    """Return the spikes of several parts of a run as one stream, by time; bounds as of the whole run's input."""
    columns = [np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("t_us", "channel", "y", "x")]
    order = np.argsort(columns[0], kind="stable")  # a late spike of one part may lie in the next
    t, channel, y, x = (column[order] for column in columns)
    stop_us = max(whole.stop_us, int(t[-1]) + 1) if len(t) else whole.stop_us
    return Events(t, channel, y, x, pieces[0].shape, whole.start_us, stop_us)


def pooled(spikes: Events, core: CoreConfig) -> Events:
    """Return a core's spikes as they leave it, after its sum pooling."""
    y, x, kept = _arriving(spikes, core.pool)
    columns = (spikes.t_us[kept], spikes.channel[kept], y[kept], x[kept])
    return Events(*columns, core.out_shape, spikes.start_us, spikes.stop_us)


def window_counts(pieces: Sequence[Events], monitor: Monitor) -> tuple[NDArray[np.uint16], int]:
    """Return the spikes in each window, uint16[T, C, H, W], and how many did not fit.

    `pieces` are the spikes of the whole run, or of each window by itself. A spike after the last
    edge counts in the last window.
    """
    n, shape = monitor.n_windows, tuple(pieces[0].shape)
    edges = np.array(monitor.window_edges_us, np.int64)
    exact = np.zeros(n * math.prod(shape), np.int64)
    for k, piece in enumerate(pieces):
        if len(pieces) == 1:
            window = np.clip(np.searchsorted(edges, piece.t_us, side="right") - 1, 0, n - 1)
        else:
            window = np.full(len(piece), k)
        flat = np.ravel_multi_index((window, piece.channel, piece.y, piece.x), (n, *shape))
        exact += np.bincount(flat, minlength=len(exact))
    fits = np.minimum(exact, COUNT_MAX)
    return fits.astype(np.uint16).reshape(n, *shape), int((exact - fits).sum())


def derived_counters(program: Program, heard: Events, spikes: Mapping[str, Events]) -> dict[str, Counters]:
    """Return what the input and the monitored spikes say of each core: events in, updates, spikes, all exact.

    A core that was not monitored, or one of whose sources was not, is left out. What only the chip itself sees
    (saturations, floors, drops) stays zero.
    """
    counters = {}
    for core in program.cores:
        arriving = _heard(program, core, heard, spikes)
        if core.layer in spikes and arriving is not None:
            counters[core.layer] = Counters(
                events_in=int(arriving.sum()),
                synops=int((arriving * fan_out_map(core)).sum()),
                spikes=len(spikes[core.layer]),
            )
    return counters


def fan_out_map(core: CoreConfig) -> NDArray[np.int64]:
    """Return the number of neurons that one event at each pixel updates, int64[H, W]."""
    _, kh, kw, features = core.weight.shape
    covers = []
    for size, out, kernel in zip(core.in_shape[1:], core.neuron_shape[1:], (kh, kw), strict=True):
        first = np.arange(out) * core.stride - core.padding
        at = np.arange(size)[:, None]
        covers.append(((at >= first) & (at < first + kernel)).sum(axis=1, dtype=np.int64))
    fan_out: NDArray[np.int64] = features * np.multiply.outer(covers[0], covers[1])
    return fan_out


def _heard(program: Program, core: CoreConfig, heard: Events, spikes: Mapping[str, Events]) -> NDArray[np.int64] | None:
    """Return the events that reached each pixel of a core, int64[H, W]; None when some source was not monitored."""
    total = np.zeros(core.in_shape[1:], np.int64)
    for source, target in program.links():
        if target.core != core.core:
            continue
        layer = None if source is None else program.core(source).layer
        if layer is not None and layer not in spikes:
            return None
        sent = heard if layer is None else pooled(spikes[layer], program.layer(layer))
        total += _reached(sent, target, total.shape)
    return total


def _reached(sent: Events, target: Target, shape: tuple[int, ...]) -> NDArray[np.int64]:
    y, x, kept = _arriving(sent, target.pool)
    flat = y[kept].astype(np.int64) * shape[1] + x[kept]
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def _arriving(events: Events, pool: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.bool_]]:
    """Return pooled addresses, and which of the events fill a window."""
    _, height, width = events.shape
    y, x = np.right_shift(events.y, np.uint16(pool)), np.right_shift(events.x, np.uint16(pool))
    return y, x, (y < height >> pool) & (x < width >> pool)
