"""The pixels of an event camera: thresholds on the change of log luminance since the last event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Fired = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]
"""Flat indices of pixels, times, and whether the event is ON."""


@dataclass(slots=True)
class Pixels:
    """What the pixels of a batch remember, flat over recordings and pixels."""

    on: NDArray[np.float32]  # threshold, as a change of L
    off: NDArray[np.float32]
    upper: NDArray[np.float32]  # the L at which the next ON event comes; infinite while the pixel is blind
    lower: NDArray[np.float32]
    blind: NDArray[np.int64]  # indices of blind pixels
    until: NDArray[np.float64]  # when each of them sees again

    def look(self, where: NDArray[np.int64], reference: NDArray[np.float32]) -> None:
        """Set the references of some pixels."""
        self.upper[where] = reference + self.on[where]
        self.lower[where] = reference - self.off[where]


def new_pixels(
    seen: NDArray[np.float32],
    rngs: Sequence[np.random.Generator],
    *,
    threshold_on: float,
    threshold_off: float,
    mismatch: float,
) -> Pixels:
    """Return the pixels of a batch that sees `seen` at the start, each recording drawing from its own generator."""
    n = seen.size // len(rngs)
    draw = np.stack([rng.standard_normal((2, n), dtype=np.float32) for rng in rngs], axis=1)
    # A pixel ten times as sensitive as its neighbours would be a defect, not a mismatch.
    factor = np.maximum(1 + np.float32(mismatch) * draw, np.float32(0.1)).reshape(2, -1)
    on, off = np.float32(threshold_on) * factor[0], np.float32(threshold_off) * factor[1]
    # Where between its two thresholds a pixel stands when the recording begins is anybody's guess.
    phase = np.concatenate([rng.random(n, dtype=np.float32) for rng in rngs])
    reference = seen + phase * (on + off) - on
    none = np.zeros(0, np.int64)
    return Pixels(on, off, reference + on, reference - off, none, none.astype(np.float64))


def advance(
    pixels: Pixels,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    t0: float,
    t1: float,
    *,
    refractory_us: float,
) -> Fired:
    """Advance from t0 to t1, L changing linearly; a pixel that sees again within the step may fire again."""
    due = pixels.until < t1
    waking, release = pixels.blind[due], pixels.until[due]
    pixels.blind, pixels.until = pixels.blind[~due], pixels.until[~due]
    pixels.look(waking, _between(before, after, waking, (release - t0) / (t1 - t0)))
    where = np.flatnonzero((after >= pixels.upper) | (after <= pixels.lower))
    fired: list[Fired] = [(where[:0], np.zeros(0), np.zeros(0, np.bool_))]
    while where.size:
        rising = after[where] >= pixels.upper[where]
        level = np.where(rising, pixels.upper[where], pixels.lower[where])
        change = after[where] - before[where]
        # A pixel past its threshold without any change (rounding of a waking reference) fires at the step's start.
        share = np.divide(level - before[where], change, out=np.zeros_like(level), where=change != 0)
        t = t0 + np.clip(share, 0, 1).astype(np.float64) * (t1 - t0)
        fired.append((where, t, rising))
        pixels.upper[where], pixels.lower[where] = np.inf, -np.inf
        until = t + refractory_us
        again = until < t1
        pixels.blind = np.concatenate([pixels.blind, where[~again]])
        pixels.until = np.concatenate([pixels.until, until[~again]])
        waking, release = where[again], until[again]
        pixels.look(waking, _between(before, after, waking, (release - t0) / (t1 - t0)))
        where = waking[(after[waking] >= pixels.upper[waking]) | (after[waking] <= pixels.lower[waking])]
    where, t, rising = (np.concatenate(column) for column in zip(*fired, strict=True))
    return where, t, rising


def _between(
    before: NDArray[np.float32], after: NDArray[np.float32], where: NDArray[np.int64], share: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return L of some pixels at a share of the step."""
    start = before[where]
    return start + np.maximum(share, 0).astype(np.float32) * (after[where] - start)
