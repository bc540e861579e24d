"""What a data set is: samples with a label and an identity, decoded one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape
from chiploop.registry import Registry


class Sample(NamedTuple):
    """One recording, its class, and an identity that stays the same from run to run and from split to split."""

    events: Events
    label: int
    key: int | str


@runtime_checkable
class Dataset(Protocol):
    """Recordings of one split of one data set, decoded on demand: nothing but the index stays in memory.

    `labels` int64[n] and `keys` can be had without decoding; every recording has the shape `shape` and lasts
    `duration_us` (longer only where the file itself does).
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def n_classes(self) -> int: ...  # noqa: D102
    @property
    def shape(self) -> SensorShape: ...  # noqa: D102
    @property
    def duration_us(self) -> int: ...  # noqa: D102
    @property
    def labels(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def keys(self) -> Sequence[int | str]: ...  # noqa: D102
    def __len__(self) -> int: ...
    def sample(self, index: int) -> Sample:
        """Decode one recording."""
        ...


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Frames: `images` uint8[n, H, W, channels], `labels` int64[n]; a frame's identity is its number, from 1."""

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: NDArray[np.int64]
    n_classes: int

    def __post_init__(self) -> None:
        if self.images.ndim != 4:
            raise DataError(f"{self.name}: images are {self.images.shape}, expected [n, height, width, channels]")
        if not len(self.images) == len(self.labels) == len(self.keys):
            raise DataError(
                f"{self.name}: {len(self.images)} images, {len(self.labels)} labels, {len(self.keys)} keys must agree"
            )
        require_labels(self.labels, self.n_classes, self.name)

    def __len__(self) -> int:
        return len(self.images)


DATASETS: Registry[Callable[..., Any]] = Registry("data set", "chiploop.datasets")
"""Factories `open(root=None, *, split="train", **options)` that return a Dataset or an ImageDataset."""


def require_split(split: str, splits: Sequence[str], data_set: str) -> None:
    """Raise DataError unless the data set has the split."""
    if split not in splits:
        raise DataError(f"{data_set} has no split {split!r}; it has: {', '.join(splits)}")


def require_labels(labels: NDArray[np.int64], n_classes: int, data_set: str) -> None:
    """Raise DataError that names the first label outside 0..n_classes - 1."""
    outside = (labels < 0) | (labels >= n_classes)
    if outside.any():
        i = int(np.argmax(outside))
        raise DataError(f"{data_set}: label {labels[i]} of sample {i} is outside 0..{n_classes - 1}")


def samples(dataset: Dataset, indices: Sequence[int] | NDArray[np.int64] | None = None) -> Iterator[Sample]:
    """Stream samples in the order of `indices` (all, by default), holding one at a time."""
    for i in range(len(dataset)) if indices is None else indices:
        yield dataset.sample(int(i))


def batches(dataset: Dataset, size: int, indices: NDArray[np.int64] | None = None) -> Iterator[list[Sample]]:
    """Stream lists of `size` samples (the last may be shorter), holding one list at a time."""
    if size < 1:
        raise DataError(f"batch size {size} must be at least 1")
    order = np.arange(len(dataset)) if indices is None else np.asarray(indices)
    for start in range(0, len(order), size):
        yield [dataset.sample(int(i)) for i in order[start : start + size]]
