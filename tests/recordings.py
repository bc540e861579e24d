"""A small N-MNIST of moving bars, and a recipe for it, so that whole runs can be tested without the real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chiploop.events.codecs.nmnist import SHAPE, write_nmnist
from chiploop.events.types import Events
from chiploop.rng import stream

DIGITS, STEPS, STEP_US, PER_STEP = 10, 30, 10_000, 40

TINY_RECIPE = """
name = "tiny"
notes = "Moving bars, in a second."
threads = 1

[data]
dataset = "nmnist"
validation = 0.2
test = 0.3

[encode]
n_windows = 4

[network]
layers = "4c5s4-10"

[chip]
threads = 1

[learn.cnn]
method = "ann"
epochs = 2
batch_size = 8

[learn.bptt]
method = "bptt"
epochs = 2
batch_size = 8

[learn.cil-bptt]
method = "cil-bptt"
warm_start = "bptt"
epochs = 1
batch_size = 8
"""


SHAPES_RECIPE = """
name = "tiny-shapes"
threads = 1

[data]
dataset = "shapes"
n = 60

[encode]
n_windows = 4

[network]
layers = "4c3p1-P2-3"
activity = 4.0

[chip]
threads = 1

[learn.bptt]
method = "bptt"
epochs = 1
batch_size = 8

[learn.cil]
method = "cil-bptt"
warm_start = "bptt"
epochs = 2
batch_size = 8
"""
"""A recipe that needs no data and trains in half a second."""


def write_bars(root: Path, *, per_digit: int = 4, split: str = "Train") -> Path:
    """Write recordings in which digit d is a bar of that slope that runs over the sensor; return the root."""
    for digit in range(DIGITS):
        for i in range(per_digit):
            number = digit * per_digit + i
            write_nmnist(root / "N-MNIST" / split / str(digit) / f"{number + 1:05d}.bin", bar(digit, number))
    return root


def bar(digit: int, number: int) -> Events:
    """Return one recording of 1,200 events, less than 320 ms long."""
    rng, angle = stream(number, "bar"), np.pi * digit / DIGITS
    t, channel, y, x = [], [], [], []
    for step in range(STEPS):
        along = rng.uniform(-16, 16, PER_STEP)
        across = step - STEPS / 2
        px = np.clip(17 + along * np.cos(angle) - across * np.sin(angle), 0, 33).astype(int)
        py = np.clip(17 + along * np.sin(angle) + across * np.cos(angle), 0, 33).astype(int)
        t.append(np.sort(rng.integers(step * STEP_US, (step + 1) * STEP_US, len(along))))
        channel.append(rng.integers(0, 2, len(along)))
        y.append(py)
        x.append(px)
    return Events.from_columns(*(np.concatenate(part) for part in (t, channel, y, x)), SHAPE)
