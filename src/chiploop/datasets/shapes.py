"""Shapes: bars, squares and crosses that move over a small sensor, computed and not recorded.

A task that needs no file and that a small network learns in seconds: for tests, demonstrations and first steps. It has
no author and no licence; every recording is drawn from (seed, split, number) alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop.datasets.base import DATASETS, Sample, require_split
from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream

CLASSES = ("bar", "square", "cross")
SIZES = {"train": 600, "test": 300}
SHAPE = SensorShape(2, 8, 8)
REACH = 2
"""Shapes fill a square of 2 REACH + 1 pixels a side."""

N_STEPS, STEP_US = 16, 1_000
NOISE_EVENTS = 4.0
"""Mean number of events of a recording that nothing moved for."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Recordings of one split; classes take turns, and the key is the split with the number.

    Every STEP_US the shape moves by one pixel along a diagonal and turns back at the borders. A pixel newly covered
    gives an event of channel 1, one newly uncovered an event of channel 0, at a random time of the step.
    """

    split: str
    n: int
    seed: int
    name: str = "shapes"
    n_classes: int = len(CLASSES)
    shape: SensorShape = SHAPE
    duration_us: int = N_STEPS * STEP_US
    labels: NDArray[np.int64] = field(init=False)
    keys: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.arange(self.n, dtype=np.int64) % len(CLASSES))
        object.__setattr__(self, "keys", tuple(f"{self.split}-{i}" for i in range(self.n)))

    def __len__(self) -> int:
        return self.n

    def sample(self, index: int) -> Sample:
        """Draw one recording."""
        rng = stream(self.seed, "shapes", self.split, int(index))
        label = int(self.labels[index])
        t, where = _moving(_mask(CLASSES[label], rng), rng)
        n_noise = int(rng.poisson(NOISE_EVENTS))
        t = np.concatenate([t, rng.integers(0, self.duration_us, n_noise)])
        where = np.concatenate([where, rng.integers(0, self.shape, (n_noise, len(self.shape)))])
        order = np.argsort(t, kind="stable")
        channel, y, x = where[order].T
        events = Events.from_columns(t[order], channel, y, x, self.shape, stop_us=self.duration_us)
        return Sample(events, label, self.keys[index])


def _mask(name: str, rng: np.random.Generator) -> NDArray[np.bool_]:
    side = 2 * REACH + 1
    mask = np.zeros((side, side), bool)
    if name == "bar":
        mask[REACH] = True
        return mask.T if rng.integers(2) else mask
    if name == "cross":
        mask[REACH] = mask[:, REACH] = True
        return mask
    mask[[0, -1]] = mask[:, [0, -1]] = True
    return mask


def _moving(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return times, and rows (channel, y, x), of a shape that moves from a random place along a random diagonal."""
    _, height, width = SHAPE
    free = np.array([height - len(mask), width - len(mask)])  # corners lie in 0..free
    corner, step = rng.integers(0, free + 1), rng.choice([-1, 1], 2)
    times, rows, before = [], [], None
    for k in range(N_STEPS):
        step = np.where((corner + step < 0) | (corner + step > free), -step, step)
        corner = corner + step
        now = np.zeros((height, width), np.int64)
        now[corner[0] : corner[0] + len(mask), corner[1] : corner[1] + len(mask)] = mask
        changed = now if before is None else now - before
        y, x = np.nonzero(changed)
        rows.append(np.stack([(changed[y, x] > 0).astype(np.int64), y, x], axis=1))
        times.append(k * STEP_US + rng.integers(0, STEP_US, len(y)))
        before = now
    return np.concatenate(times), np.concatenate(rows)


@DATASETS.register("shapes")
def open_shapes(root: Path | str | None = None, *, split: str = "train", n: int | None = None, seed: int = 0) -> Shapes:
    """Return `n` recordings of a split (600 for training and 300 for testing by default); no file is read.

    >>> data = open_shapes(split="test", n=3)
    >>> [CLASSES[label] for label in data.labels], len(data.sample(0).events) > 50
    (['bar', 'square', 'cross'], True)
    """
    del root
    require_split(split, tuple(SIZES), "shapes")
    if n is not None and n < 1:
        raise DataError(f"shapes: n = {n} must be at least 1")
    return Shapes(split, SIZES[split] if n is None else n, seed)
