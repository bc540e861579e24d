"""N-MNIST: handwritten digits on a screen, seen by an event camera in three saccades.

G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor: Converting static image datasets to spiking neuromorphic datasets
using saccades. Frontiers in Neuroscience 9:437, 2015. Licence of the data: CC BY-SA 4.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop.datasets.base import DATASETS, Sample, require_split
from chiploop.datasets.locate import DATA_VARIABLE, resolve_root
from chiploop.errors import DataError, MissingDataError
from chiploop.events.codecs.nmnist import SHAPE, decode_nmnist
from chiploop.events.types import SensorShape

FOLDERS = {"train": "Train", "test": "Test"}
DIGITS = 10
DURATION_US = 320_000
"""Recordings end at 297..315 ms; a common end lets them share windows."""


@dataclass(frozen=True, eq=False)
class NMNIST:
    """Recordings of one split in the order of their numbers; the key is the number of the MNIST image behind it."""

    folder: Path
    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    keys: tuple[int, ...]
    name: str = "nmnist"
    n_classes: int = DIGITS
    shape: SensorShape = SHAPE
    duration_us: int = DURATION_US

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, index: int) -> Sample:
        """Decode one recording; it starts at 0 and stops at `duration_us`, or after its last event if that is later."""
        path = self.files[index]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        events = decode_nmnist(content, self.shape, where=str(path), stop_us=self.duration_us)
        return Sample(events, int(self.labels[index]), self.keys[index])


@DATASETS.register("nmnist")
def open_nmnist(root: Path | str | None = None, *, split: str = "train") -> NMNIST:
    """List the recordings of a split under root/N-MNIST, as many as are there.

    Raises MissingDataError when there is none.
    """
    require_split(split, tuple(FOLDERS), "N-MNIST")
    folder = resolve_root(root) / "N-MNIST" / FOLDERS[split]
    found = sorted(
        (int(path.stem), int(path.parent.name), path) for path in folder.glob("[0-9]/*.bin") if path.stem.isdigit()
    )
    if not found:
        raise MissingDataError(
            f"N-MNIST: no recording {folder}/<digit>/<nnnnn>.bin. The data set is published by its authors (Orchard et "
            f"al. 2015) as Train.zip and Test.zip: unpack {FOLDERS[split]}.zip into {folder.parent}, or name another "
            f"root with --data or {DATA_VARIABLE}."
        )
    labels = np.array([digit for _, digit, _ in found], np.int64)
    return NMNIST(folder, tuple(path for _, _, path in found), labels, tuple(number for number, _, _ in found))
