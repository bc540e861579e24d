"""Real recordings beside simulated ones, for the eye."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chiploop import atomic
from chiploop.encode.raster import rasterize_batch
from chiploop.encode.saccade import SaccadeCamera
from chiploop.encode.saccade_fit import Pair
from chiploop.rng import stream

EDGES_US = np.array([0, 45_000, 95_000, 150_000, 220_000, 255_000, 320_000])
"""Each saccade in two halves."""
LIMIT = 8
"""Counts at which the colours saturate."""


def write_picture(path: Path, camera: SaccadeCamera, pairs: Sequence[Pair]) -> None:
    """Write a PNG: for each pair one row of real and one of simulated counts, ON red and OFF blue."""
    from matplotlib.figure import Figure  # no pyplot: its state is global, and nothing is to be shown

    rngs = [stream(0, "picture", k) for k in range(len(pairs))]
    simulated = camera.record_batch([pair.image for pair in pairs], rngs)
    columns = len(EDGES_US) - 1
    figure = Figure(figsize=(1.6 * columns, 3.3 * len(pairs)), layout="constrained")
    axes = figure.subplots(2 * len(pairs), columns, squeeze=False)
    for row, events in enumerate(e for pair in zip((p.events for p in pairs), simulated, strict=True) for e in pair):
        counts = rasterize_batch([events], EDGES_US).counts[:, 0].astype(float)
        for k, axis in enumerate(axes[row]):
            off, on = np.clip(counts[k] / LIMIT, 0, 1)
            axis.imshow(np.stack([1 - off, 1 - np.maximum(on, off), 1 - on], axis=-1), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if row == 0:
                axis.set_title(f"{EDGES_US[k] // 1000}-{EDGES_US[k + 1] // 1000} ms", fontsize=8)
        axes[row, 0].set_ylabel(("real", "simulated")[row % 2])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    atomic.write_bytes(path, buffer.getvalue())
