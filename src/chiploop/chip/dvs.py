"""The chip's sensor layer: what it does to a camera's raw events before the first core hears them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape

NEVER_US = -(1 << 62)
"""Stored time of a pixel without an event: too long ago for any window, and no difference from it overflows."""
NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


@dataclass(frozen=True, kw_only=True)
class NoiseFilter:
    """An event passes only if one of the pixel's 8 neighbours had one at most `window_us` ago (at least 1 us)."""

    window_us: int

    def __post_init__(self) -> None:
        if self.window_us < 1:
            raise DeviceError(f"dvs.noise.window_us = {self.window_us} must be at least 1 us, or the filter absent")


@dataclass(frozen=True, kw_only=True)
class DvsLayer:
    """What happens to each event of a sensor, in this order; addresses of (1) and (2) are the raw sensor's.

    1. events of `hot_pixels`, a tuple of (y, x), are dropped, whatever their channel;
    2. `noise`: an event passes only if an event (not hot, of any channel, passed or not) happened before it in the
       stream at one of its 8 neighbours, not itself, at t' with t - t' <= window_us. Every event that is not hot then
       leaves its time at its pixel: state, which a reset clears;
    3. `merge`: all channels become channel 0;
    4. `pool` p: y >> p, x >> p; what falls into rows or columns that fill no window of 2^p is dropped;
    5. `cut` (top, left, bottom, right), inclusive, in addresses after pooling: what lies outside is dropped, and
       addresses count from (top, left);
    6. `mirror_x`: x <- W - 1 - x, then `mirror_y`: y <- H - 1 - y, then `mirror_diagonal`: x and y change places.

    Raises DeviceError that names the field, the value and the bound.

    >>> layer = DvsLayer(in_shape=SensorShape(2, 128, 128), merge=True, pool=1, cut=(0, 10, 63, 49))
    >>> tuple(layer.out_shape)
    (1, 64, 40)
    """

    in_shape: SensorShape
    hot_pixels: tuple[tuple[int, int], ...] = ()
    noise: NoiseFilter | None = None
    merge: bool = False
    pool: int = 0
    cut: tuple[int, int, int, int] | None = None
    mirror_x: bool = False
    mirror_y: bool = False
    mirror_diagonal: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", SensorShape(*(int(n) for n in self.in_shape)))
        # Sorted and each once, so that layers that do the same are equal.
        object.__setattr__(self, "hot_pixels", tuple(sorted({(int(y), int(x)) for y, x in self.hot_pixels})))
        _, height, width = self.in_shape
        if min(self.in_shape) < 1:
            raise DeviceError(f"dvs.in_shape = {tuple(self.in_shape)}: every size must be at least 1")
        for y, x in self.hot_pixels:
            if not (0 <= y < height and 0 <= x < width):
                raise DeviceError(f"dvs.hot_pixels has (y, x) = ({y}, {x}), outside the {height}x{width} sensor")
        most = min(height, width).bit_length() - 1
        if not 0 <= self.pool <= most:
            raise DeviceError(
                f"dvs.pool = {self.pool} must be in 0..{most}: windows of 2^pool a side on a {height}x{width} sensor"
            )
        if self.cut is not None:
            object.__setattr__(self, "cut", _checked_cut(self.cut, height >> self.pool, width >> self.pool))

    @property
    def out_shape(self) -> SensorShape:
        """Shape of the events that leave."""
        channels = 1 if self.merge else self.in_shape.channels
        top, left, bottom, right = self._window
        height, width = bottom - top + 1, right - left + 1
        return SensorShape(channels, width, height) if self.mirror_diagonal else SensorShape(channels, height, width)

    @property
    def _window(self) -> tuple[int, int, int, int]:
        """The cut; without one, the whole map after pooling."""
        _, height, width = self.in_shape
        return self.cut or (0, 0, (height >> self.pool) - 1, (width >> self.pool) - 1)


class DvsState:
    """What a sensor layer remembers between events and between runs: when each pixel last had one.

    `last_us` int64[H + 2, W + 2] with a frame of one pixel around the sensor that never has an event.
    """

    def __init__(self, layer: DvsLayer) -> None:
        _, height, width = layer.in_shape
        self.last_us: NDArray[np.int64] = np.full((height + 2, width + 2), NEVER_US, np.int64)

    def reset(self) -> None:
        """Forget every event."""
        self.last_us.fill(NEVER_US)


def apply_dvs(layer: DvsLayer, events: Events, state: DvsState | None = None) -> tuple[Events, int]:
    """Return the events that leave the layer, with the bounds of the old ones, and how many were dropped.

    `state` is brought up to date in place, so that two calls in a row equal one of the joined stream; without it the
    layer begins anew. Raises DeviceError when the events are not of the layer's sensor.

    >>> layer = DvsLayer(in_shape=SensorShape(2, 4, 6), pool=1, mirror_x=True)
    >>> raw = Events.from_columns([5, 7], [1, 0], [0, 3], [1, 2], SensorShape(2, 4, 6))
    >>> out, dropped = apply_dvs(layer, raw)
    >>> out.y.tolist(), out.x.tolist(), dropped
    ([0, 1], [2, 1], 0)
    """
    if events.shape != layer.in_shape:
        raise DeviceError(
            f"events have shape {tuple(events.shape)}, the sensor layer takes {tuple(layer.in_shape)} "
            "(channels, height, width); give it raw events of that sensor"
        )
    kept = _clean(layer, events, DvsState(layer) if state is None else state)
    y, x, inside = _move(layer, events.y[kept], events.x[kept])
    kept = kept[inside]
    channel = np.zeros(len(kept), np.uint16) if layer.merge else events.channel[kept]
    moved = Events(events.t_us[kept], channel, y, x, layer.out_shape, events.start_us, events.stop_us)
    return moved, len(events) - len(moved)


def hot_pixels(recordings: Sequence[Events], *, n_sigma: float = 10.0) -> tuple[tuple[int, int], ...]:
    """Return (y, x) of the pixels that fire much more often than those around them: what `DvsLayer.hot_pixels` takes.

        r = sqrt(n) - median of sqrt(n) over the pixel's neighbours        s = max(1/2, 1.4826 median |r|)

    with n the events of a pixel in all recordings, of either polarity; hot is r > n_sigma s. The root has the same
    deviation for every rate of a Poisson pixel, 1/2, below which s never falls; a median is not moved by the hot pixels
    themselves. Whether a scene's own edges pass for hot depends on n_sigma: look at the list before dropping anything.
    Raises DeviceError when there is no recording, or sensors differ.
    """
    if not n_sigma > 0:
        raise DeviceError(f"hot_pixels: n_sigma = {n_sigma} must be positive")
    if not recordings:
        raise DeviceError("hot_pixels needs at least one recording")
    _, height, width = shape = recordings[0].shape
    total = np.zeros(height * width, np.int64)
    for i, events in enumerate(recordings):
        if events.shape != shape:
            raise DeviceError(f"recording {i} is {tuple(events.shape)}, the first {tuple(shape)}: give one sensor's")
        total += np.bincount(events.y.astype(np.int64) * width + events.x, minlength=height * width)
    if height * width == 1:
        return ()
    root = np.sqrt(total.reshape(height, width))
    framed = np.pad(root, 1, constant_values=np.nan)
    around = [framed[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in NEIGHBOURS]
    excess = root - np.nanmedian(np.stack(around), axis=0)
    # 1/2: deviation of the root of a Poisson count; 1.4826: from median absolute to standard deviation of a normal law
    spread = max(0.5, 1.4826 * float(np.median(np.abs(excess))))
    return tuple((int(y), int(x)) for y, x in np.argwhere(excess > n_sigma * spread))


def _checked_cut(cut: tuple[int, int, int, int], height: int, width: int) -> tuple[int, int, int, int]:
    top, left, bottom, right = checked = (int(cut[0]), int(cut[1]), int(cut[2]), int(cut[3]))
    if not (0 <= top <= bottom < height and 0 <= left <= right < width):
        raise DeviceError(
            f"dvs.cut = {checked} (top, left, bottom, right, inclusive) must lie in the {height}x{width} map that "
            "pooling leaves, top <= bottom and left <= right"
        )
    return checked


def _clean(layer: DvsLayer, events: Events, state: DvsState) -> NDArray[np.int64]:
    """Return the indices of the events that hot pixels and the noise filter let pass."""
    _, height, width = layer.in_shape
    kept = np.arange(len(events))
    if layer.hot_pixels:
        hot = np.zeros((height, width), np.bool_)
        hot[tuple(np.array(layer.hot_pixels).T)] = True
        kept = kept[~hot[events.y, events.x]]
    if layer.noise is None or not len(kept):
        return kept
    stride = width + 2  # of the framed map: off the sensor lies a pixel, without events
    address = (events.y[kept].astype(np.int64) + 1) * stride + events.x[kept] + 1
    passed = _has_recent_neighbour(address, events.t_us[kept], stride, state.last_us.reshape(-1), layer.noise.window_us)
    return kept[passed]


def _has_recent_neighbour(
    address: NDArray[np.int64], t: NDArray[np.int64], stride: int, last_us: NDArray[np.int64], window_us: int
) -> NDArray[np.bool_]:
    """Return which events follow one on a neighbouring pixel; `last_us` becomes the state after all of them.

    Events are sorted by address, then by place in the stream: one key each. The last event before event i at an
    address a is the one whose key stands before that of a made-up event (a, i); the made-up events of one neighbour
    are the real ones moved by a constant, and so sorted too.
    """
    n = len(t)
    fits = last_us.size <= 1 << 16  # sixteen bits are sorted in linear time
    order = np.argsort(address.astype(np.uint16) if fits else address, kind="stable")
    sorted_address, sorted_t = address[order], t[order]
    key = sorted_address * n + order
    passed = np.zeros(n, np.bool_)
    for dy, dx in NEIGHBOURS:
        left = np.flatnonzero(~passed)
        if not len(left):
            break
        neighbour = sorted_address[left] + (dy * stride + dx)
        before = np.searchsorted(key, neighbour * n + order[left]) - 1  # -1 is the last one, whose address is larger
        heard = sorted_address[before] == neighbour
        last = np.where(heard, sorted_t[before], last_us[neighbour])
        passed[left] = sorted_t[left] - last <= window_us
    final = np.append(np.flatnonzero(np.diff(sorted_address)), n - 1)  # the last event at each address
    last_us[sorted_address[final]] = sorted_t[final]
    result = np.empty(n, np.bool_)
    result[order] = passed
    return result


def _move(
    layer: DvsLayer, y: NDArray[np.uint16], x: NDArray[np.uint16]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.bool_]]:
    """Pool, cut and mirror addresses; returns those that are left, and the mask of which these are."""
    top, left, bottom, right = layer._window
    shift = np.uint16(layer.pool)
    y, x = np.right_shift(y, shift), np.right_shift(x, shift)
    inside = (y >= top) & (y <= bottom) & (x >= left) & (x <= right)  # without a cut: whole windows
    y, x = y[inside] - np.uint16(top), x[inside] - np.uint16(left)
    if layer.mirror_x:
        x = np.uint16(right - left) - x
    if layer.mirror_y:
        y = np.uint16(bottom - top) - y
    return (x, y, inside) if layer.mirror_diagonal else (y, x, inside)
