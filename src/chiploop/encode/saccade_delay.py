"""When each movement of a real recording began, against the camera's clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chiploop.encode.raster import rasterize_batch
from chiploop.encode.saccade import SaccadeCamera, delayed
from chiploop.encode.saccade_fit import Pair
from chiploop.events.ops import flat_address
from chiploop.events.types import Events
from chiploop.rng import stream

BIN_US = 500
LAGS = np.arange(-20, 21)
"""Candidate delays in bins: beyond 10 ms a movement would leave its pause."""
SMOOTH_BINS = 9
"""Width of the triangle that smooths the simulated rate: about the time between two events of a pixel."""
SIMULATIONS = 2
CHUNK = 25
"""Recordings handled together: a fine map of one takes 6 MB."""


def estimate_delays(camera: SaccadeCamera, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Return the delay in us of each movement of each recording, float64[n, movements], in steps of BIN_US.

    A delay is where the recording, read against the smoothed rate that the camera without jitter gives for the same
    image, scores highest.
    """
    steady = dataclasses.replace(camera, onset_spread_us=(0.0,) * len(camera.pauses_us))
    edges = np.arange(0, camera.duration_us + BIN_US, BIN_US)
    middles = [(start + stop) // 2 // BIN_US for start, stop in camera.pauses_us]
    bounds = [0, *middles, len(edges) - 1]
    rows = []
    for first in range(0, len(pairs), CHUNK):
        some = pairs[first : first + CHUNK]
        rate = _smooth(_expected(steady, some, edges, first))
        for pair, expected in zip(some, rate, strict=True):
            best = [LAGS[np.argmax(_scores(pair.events, expected, a, b))] for a, b in pairwise(bounds)]
            rows.append(np.array(best) * float(BIN_US))
    return np.stack(rows)


def align(camera: SaccadeCamera, pairs: Sequence[Pair], delays: NDArray[np.float64]) -> list[Pair]:
    """Return the recordings with the delays of all movements but the first taken out."""
    aligned = []
    for pair, row in zip(pairs, delays, strict=True):
        t_us = delayed(camera, pair.events.t_us.astype(np.float64), (-row[1:]).tolist())
        aligned.append(Pair(dataclasses.replace(pair.events, t_us=t_us), pair.image))
    return aligned


def _expected(
    camera: SaccadeCamera, pairs: Sequence[Pair], edges: NDArray[np.int64], first: int
) -> NDArray[np.float32]:
    images = [pair.image for pair in pairs]
    return sum(
        (
            _maps(camera.record_batch(images, [stream(0, "delay", k, first + j) for j in range(len(pairs))]), edges)
            for k in range(SIMULATIONS)
        ),
        start=np.zeros((), np.float32),
    )


def _maps(recordings: Sequence[Events], edges: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return counts [n, bins, addresses]."""
    counts = rasterize_batch(recordings, edges).counts.swapaxes(0, 1)
    return counts.reshape(len(recordings), len(edges) - 1, -1).astype(np.float32)


def _smooth(rate: NDArray[np.float32]) -> NDArray[np.float32]:
    triangle = SMOOTH_BINS // 2 + 1 - np.abs(np.arange(SMOOTH_BINS) - SMOOTH_BINS // 2)
    total = np.zeros_like(rate)
    for k, weight in enumerate(triangle):
        total += np.float32(weight) * np.roll(rate, k - SMOOTH_BINS // 2, axis=1)
    return total


def _scores(events: Events, rate: NDArray[np.float32], first: int, last: int) -> NDArray[np.float64]:
    """Return for each lag how well the events of the bins first..last - 1 match the rate [bins, addresses]."""
    when, where = events.t_us // BIN_US, flat_address(events)
    own = (when >= first) & (when < last)
    when, where = when[own], where[own]
    power = np.einsum("tp,tp->t", rate, rate, dtype=np.float64)
    bins = np.arange(first, last)
    agreement = np.array([rate[(when - lag) % len(rate), where].sum() for lag in LAGS])
    size = np.array([power[(bins - lag) % len(rate)].sum() for lag in LAGS])
    return np.asarray(agreement / np.sqrt(np.maximum(size, np.finfo(np.float32).tiny)))
