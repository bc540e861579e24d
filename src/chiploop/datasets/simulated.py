"""Recordings that a simulated camera makes of images, when asked for, or read back from a cache of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop.datasets.base import Sample
from chiploop.datasets.locate import cache_directory
from chiploop.datasets.pack import write_packed
from chiploop.datasets.packed_file import Packed, PackedInfo, read_packed
from chiploop.digest import digest
from chiploop.encode.saccade import BATCH, SaccadeCamera
from chiploop.events.types import SensorShape
from chiploop.rng import stream

BLOCK = 1_000
"""Images in one file of the cache."""
VERSION = 2
"""Of the cache; a change of the simulation that no parameter shows must raise it."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulatedDataset:
    """A camera's view of images uint8[n, H, W]; sample i is the image numbered keys[i] (from 1) in `images`.

    A recording depends on the camera, the seed, the image and its number, and on nothing else.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: tuple[int, ...]
    n_classes: int
    camera: SaccadeCamera
    seed: int = 0
    cache: bool = True
    progress: Progress | None = None

    @property
    def is_mapped(self) -> bool:
        """Whether recordings are as fast to read as to keep, so that nobody need keep them."""
        return self.cache

    @property
    def shape(self) -> SensorShape:
        """Of the camera."""
        return self.camera.shape

    @property
    def duration_us(self) -> int:
        """Of every recording."""
        return self.camera.duration_us

    def __len__(self) -> int:
        return len(self.keys)

    def sample(self, index: int) -> Sample:
        """Simulate one recording, or read it from the cache, whose block is built first if it is not there."""
        key = self.keys[index]
        if self.cache:
            block, place = divmod(key - 1, BLOCK)
            events = _open_block(self._block(block)).events(place)
        else:
            events = self.camera.record(self.images[key - 1], stream(self.seed, "saccade", key))
        return Sample(events, int(self.labels[index]), key)

    def build(self) -> None:
        """Build every block of the cache that is needed and not there."""
        for block in sorted({(key - 1) // BLOCK for key in self.keys}):
            self._block(block)

    def _block(self, block: int) -> Path:
        """Return the file of a block; two processes that build it at once write the same bytes, each atomically."""
        numbers = range(block * BLOCK + 1, min((block + 1) * BLOCK, len(self.images)) + 1)
        path = self._folder() / f"{numbers[0]:05d}-{numbers[-1]:05d}.packed"
        if not path.is_file():
            write_packed(path, self._simulate(numbers), self._info())
        return path

    def _folder(self) -> Path:
        return _cache_folder(self.name, self.camera, self.seed, _fingerprint(self))

    def _info(self) -> PackedInfo:
        """What a block says of itself; it holds images whose labels are not known here, so all are called 0."""
        return PackedInfo(
            name=self.name,
            source="simulated",
            split="",
            n_classes=1,
            shape=self.shape,
            duration_us=self.duration_us,
        )

    def _simulate(self, numbers: range) -> Iterator[Sample]:
        for start in range(0, len(numbers), BATCH):
            some = numbers[start : start + BATCH]
            rngs = [stream(self.seed, "saccade", key) for key in some]
            recordings = self.camera.record_batch(self.images[some[0] - 1 : some[-1]], rngs)
            yield from (Sample(events, 0, key) for events, key in zip(recordings, some, strict=True))
            if self.progress is not None:
                self.progress(some[-1], len(self.images))


@lru_cache(maxsize=8)
def _fingerprint(data: SimulatedDataset) -> str:
    return digest(data.images)


@lru_cache(maxsize=8)
def _cache_folder(name: str, camera: SaccadeCamera, seed: int, images: str) -> Path:
    identity = digest((VERSION, camera, seed, images))[:16]
    return cache_directory() / "simulated" / f"{name}-v{VERSION}-{identity}"


@lru_cache(maxsize=128)
def _open_block(path: Path) -> Packed:
    return read_packed(path)
