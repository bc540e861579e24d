"""Recordings of any data set packed into files (chiploop pack), which are mapped into memory and not loaded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from chiploop.datasets.base import DATASETS, Sample, require_labels
from chiploop.datasets.locate import DATA_VARIABLE, resolve_root
from chiploop.datasets.packed_file import Keys, Packed, read_packed
from chiploop.errors import DataError, MissingDataError
from chiploop.events.types import SensorShape

SUFFIX = ".packed"
FOLDER = "packed"


class ChosenKeys(Sequence[int | str]):
    """Keys of the chosen recordings of several files, one after the other."""

    def __init__(self, parts: Sequence[Keys], chosen: NDArray[np.int64]) -> None:
        self._parts, self._chosen = parts, chosen
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> int | str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int | str]: ...
    def __getitem__(self, index: int | slice) -> int | str | Sequence[int | str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part, place = _locate(self._ends, int(self._chosen[index]))
        return self._parts[part][place]


@dataclass(frozen=True, eq=False)
class PackedDataset:
    """The recordings numbered `chosen` int64[n] of files of one data set and one split, counted through all files."""

    parts: tuple[Packed, ...]
    chosen: NDArray[np.int64]
    labels: NDArray[np.int64] = field(init=False)
    is_mapped: ClassVar[bool] = True
    """Recordings are as fast to read as to keep, so that nobody need keep them."""

    def __post_init__(self) -> None:
        labels = np.concatenate([part.labels for part in self.parts])[self.chosen]
        require_labels(labels, self.n_classes, self.name)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "_ends", np.cumsum([len(part) for part in self.parts]))

    @property
    def name(self) -> str:
        """Name of the data set that was packed."""
        return self.parts[0].info.name

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.parts[0].info.n_classes

    @property
    def shape(self) -> SensorShape:
        """Of every recording."""
        return self.parts[0].info.shape

    @property
    def duration_us(self) -> int:
        """Of every recording, or less where the recording itself is longer."""
        return self.parts[0].info.duration_us

    @property
    def keys(self) -> Sequence[int | str]:
        """Identities of the recordings, as the packed data set gave them."""
        return ChosenKeys([part.keys for part in self.parts], self.chosen)

    @property
    def content(self) -> tuple[int, ...]:
        """Checksums of the files, which two sets of recordings with equal keys tell apart."""
        return tuple(part.crc32 for part in self.parts)

    def __len__(self) -> int:
        return len(self.chosen)

    def sample(self, index: int) -> Sample:
        """Unpack one recording."""
        part, place = _locate(vars(self)["_ends"], int(self.chosen[index]))
        packed = self.parts[part]
        return Sample(packed.events(place), int(packed.labels[place]), packed.keys[place])


@DATASETS.register("packed")
def open_packed(
    root: Path | str | None = None,
    *,
    split: str = "train",
    n: int | None = None,
    exclude: Collection[int | str] = (),
) -> PackedDataset:
    """Open the packed files of a split: `root` itself, or all in root/packed (or, without such a folder, in root).

    All recordings, or the first `n`, less those whose keys are excluded. Raises MissingDataError when there is no file,
    DataError when files of the split are not of one data set, or when there are fewer than `n` recordings.
    """
    where = resolve_root(root)
    files = [read_packed(path) for path in _files(where)]
    splits = sorted({file.info.split for file in files})
    parts = tuple(file for file in files if file.info.split == split)
    if not parts:
        raise DataError(f"{where}: packed files have no split {split!r}; they have: {', '.join(splits)}")
    for file in files:
        # Keys of different data sets may be equal and mean different recordings: a test recording could be trained on.
        if file.info.source != parts[0].info.source or file.info.shape != parts[0].info.shape:
            raise DataError(
                f"{file.path} holds {file.info.source} {tuple(file.info.shape)}, {parts[0].path} holds "
                f"{parts[0].info.source} {tuple(parts[0].info.shape)}; keep each data set in a folder of its own"
            )
    first = parts[0].info
    for part in parts:
        if (part.info.n_classes, part.info.duration_us) != (first.n_classes, first.duration_us):
            raise DataError(
                f"{part.path} has {part.info.n_classes} classes and {part.info.duration_us} us, {parts[0].path} "
                f"{first.n_classes} and {first.duration_us}; files of one split must agree"
            )
    return PackedDataset(parts, _choose(parts, n, exclude, where))


def _choose(parts: Sequence[Packed], n: int | None, exclude: Collection[int | str], where: Path) -> NDArray[np.int64]:
    total = sum(len(part) for part in parts)
    chosen = np.arange(total)
    if exclude:
        barred = frozenset(exclude)
        kept = (key not in barred for part in parts for key in part.keys)
        chosen = np.flatnonzero(np.fromiter(kept, np.bool_, total))
    if not len(chosen) or (n is not None and len(chosen) < n):
        raise DataError(f"{where}: {n or 'some'} recordings are asked for, there are {len(chosen)} after exclusion")
    return chosen[:n]


def _files(where: Path) -> list[Path]:
    folder = where / FOLDER if (where / FOLDER).is_dir() else where
    files = [where] if where.is_file() else sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise MissingDataError(
            f"packed: no file {folder}/*{SUFFIX}. Make one with 'chiploop pack DATASET --out FILE{SUFFIX}', or name "
            f"another file or folder with --data or {DATA_VARIABLE}."
        )
    return files


def _locate(ends: NDArray[np.int64], index: int) -> tuple[int, int]:
    """Return the file, and the place in it, of a recording counted through all files."""
    part = int(np.searchsorted(ends, index, side="right"))
    return part, index - (int(ends[part - 1]) if part else 0)
