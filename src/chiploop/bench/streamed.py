"""Memory of a run over more recordings than it keeps: what the process holds of its own, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from chiploop.bench.benchmark import OURS, Row
from chiploop.datasets.base import Sample
from chiploop.datasets.pack import write_packed
from chiploop.datasets.packed import open_packed
from chiploop.datasets.packed_file import PackedInfo
from chiploop.errors import ChiploopError
from chiploop.events.types import Events, SensorShape
from chiploop.learn.batch import Samples
from chiploop.learn.prefetch import Prefetch
from chiploop.rng import stream

SHAPE, DURATION_US, N_WINDOWS, BATCH = SensorShape(2, 34, 34), 300_000, 10, 32
N_EVENTS = 1_500
STATUS = Path("/proc/self/status")
WARM = 16
"""Batches after which everything that is taken once has been taken."""


def anonymous_bytes() -> int:
    """Return the memory of this process that is no file's: pages of a mapped file can be dropped, these cannot."""
    try:
        return int(STATUS.read_text().partition("RssAnon:")[2].split()[0]) << 10
    except (OSError, IndexError) as error:
        raise ChiploopError(f"{STATUS} does not say what memory is the process's own: Linux is needed") from error


def noise(n: int) -> Iterator[Sample]:
    """Yield n recordings of events at random addresses, cheap to make."""
    rng = stream(0, "noise")
    t = np.sort(rng.integers(0, DURATION_US, N_EVENTS))
    for i in range(n):
        channel, y, x = (rng.integers(0, size, N_EVENTS, np.uint16) for size in SHAPE)
        yield Sample(Events.from_columns(t, channel, y, x, SHAPE, stop_us=DURATION_US), i % 10, i)


def streamed_growth(folder: Path, *, n: int = 20_000, epochs: int = 3) -> Row:
    """Pack n recordings, read them for some epochs, and return by how much the process has grown at the end of each."""
    path = folder / "streamed.packed"
    info = PackedInfo(name="noise", source="noise", split="train", n_classes=10, shape=SHAPE, duration_us=DURATION_US)
    write_packed(path, noise(n), info)
    samples, begun, growth = Samples.of(open_packed(path), np.arange(n), N_WINDOWS), 0, []
    for epoch in range(epochs):
        for i, _ in enumerate(Prefetch(samples.shuffled(BATCH, seed=0, epoch=epoch, transform=None))):
            if (epoch, i) == (0, WARM):
                begun = anonymous_bytes()
        growth.append((anonymous_bytes() - begun) / 1e6)
    setting = {"recordings": n, "file_mb": path.stat().st_size / 1e6, "decoded_mb": 14e-6 * N_EVENTS * n}
    path.unlink()
    return Row(
        what="memory, growth over an epoch", who=OURS, unit="MB", better="lower", values=tuple(growth), setting=setting
    )
