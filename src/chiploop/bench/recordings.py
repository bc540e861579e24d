"""Recordings to measure on: real N-MNIST where there are any, simulated digits otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chiploop.datasets.base import Dataset
from chiploop.datasets.mnist5k import open_mnist5k
from chiploop.datasets.nmnist import open_nmnist
from chiploop.errors import MissingDataError
from chiploop.events.types import Events


def open_recordings(root: Path | None) -> tuple[Dataset, str]:
    """Return a data set of digits and what it is."""
    try:
        return open_nmnist(root, split="train"), "real N-MNIST recordings"
    except MissingDataError:
        return open_mnist5k(split="test", cache=False), "simulated recordings of digits"


def some_events(dataset: Dataset, n: int) -> list[Events]:
    """Return n recordings spread evenly over a data set, all of them where it has fewer."""
    indices = np.linspace(0, len(dataset) - 1, min(n, len(dataset))).astype(int)
    return [dataset.sample(int(index)).events for index in indices]
