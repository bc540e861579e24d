"""N-MNIST: handwritten digits on a screen, seen by an event camera in three saccades.

G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor: Converting static image datasets to spiking neuromorphic datasets
using saccades. Frontiers in Neuroscience 9:437, 2015. Licence of the data: CC BY-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Collection
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
TEST_KEY = "test-"
DIGITS = 10
DURATION_US = 320_000
"""Recordings end at 297..315 ms; a common end lets them share windows."""


@dataclass(frozen=True, eq=False)
class NMNIST:
    """Recordings of one split in the order of their numbers; the key says which MNIST image is behind it.

    It is the image's number in the training split, "test-<number>" in the test split.
    """

    folder: Path
    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    keys: tuple[int | str, ...]
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


def numbers_left_out(exclude: Collection[int | str], split: str) -> set[int]:
    """Return the numbers of one split's images that the keys in `exclude` stand for.

    A key is a number for the training split and "test-<number>" for the test split, whose images are others. A bare
    number counts in both: too much left out does no harm.

    >>> sorted(numbers_left_out([7, "test-00003"], "test")), numbers_left_out([7, "test-00003"], "train")
    ([3, 7], {7})
    """
    of_test = {int(key.removeprefix(TEST_KEY)) for key in exclude if isinstance(key, str)}
    bare = {int(key) for key in exclude if not isinstance(key, str)}
    return bare | of_test if split == "test" else bare


@DATASETS.register("nmnist")
def open_nmnist(
    root: Path | str | None = None,
    *,
    split: str = "train",
    n: int | None = None,
    exclude: Collection[int | str] = (),
) -> NMNIST:
    """List the recordings of a split under root/N-MNIST: all that are there, or the first `n`, less those excluded.

    Raises MissingDataError when there is none, DataError when there are fewer than `n`.
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
    barred = numbers_left_out(exclude, split)
    kept = [entry for entry in found if entry[0] not in barred][:n]
    if not kept or (n is not None and len(kept) < n):
        raise DataError(f"N-MNIST: {n or 'some'} recordings are asked for, {folder} has {len(kept)} after exclusion")
    labels = np.array([digit for _, digit, _ in kept], np.int64)
    keys = tuple(f"{TEST_KEY}{number:05d}" if split == "test" else number for number, _, _ in kept)
    return NMNIST(folder, tuple(path for _, _, path in kept), labels, keys)
