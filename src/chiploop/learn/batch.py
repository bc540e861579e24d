"""A batch: the same samples as event streams, as counts on a clock, and as labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chiploop.datasets.base import Dataset
from chiploop.datasets.split import split_indices
from chiploop.encode.raster import rasterize_batch, window_edges
from chiploop.events.types import Events
from chiploop.learn.cache import EventCache
from chiploop.rng import stream

Transform = Callable[[Events, np.random.Generator], Events]

Share = Callable[[Sequence[int]], Sequence[int]]
"""From a batch's positions to those of one process."""


def _all(positions: Sequence[int]) -> Sequence[int]:
    return positions


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples in three forms: `events` for devices, `x` [T, B, C, H, W] for torch, `labels` int64[B].

    `edges_us` are the T + 1 edges of the windows; every event of every sample lies between the first and the last.
    """

    events: tuple[Events, ...]
    x: Tensor
    labels: Tensor
    edges_us: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples of a data set on a common clock: the training, validation or test part.

    Events at or past the end of the last window are cut off, for the device and the clock alike.
    """

    dataset: Dataset
    indices: NDArray[np.int64]
    n_windows: int
    cache: EventCache

    @classmethod
    def of(cls, dataset: Dataset, indices: NDArray[np.int64], n_windows: int) -> Samples:
        """Return the samples at `indices`; each is decoded when it is first asked for.

        Those of a data set that is mapped into memory are as fast to read as to keep, and are not kept.
        """
        cache = EventCache(0) if getattr(dataset, "is_mapped", False) else EventCache()
        return cls(dataset, np.asarray(indices, np.int64), n_windows, cache)

    def __len__(self) -> int:
        return len(self.indices)

    def some(self, n: int) -> Samples:
        """Return n of the samples, every class in its proportion (all of them where there are no more)."""
        if n >= len(self):
            return self
        chosen = split_indices(self.labels, [n], seed=0)[0]
        return Samples(self.dataset, self.indices[chosen], self.n_windows, self.cache)

    def part(self, share: Share) -> Samples:
        """Return the samples at the positions that a process takes."""
        return Samples(self.dataset, self.indices[list(share(range(len(self))))], self.n_windows, self.cache)

    def places_of(self, some: Samples) -> list[int]:
        """Return where samples taken from these stand among them."""
        order = np.argsort(self.indices)
        places: list[int] = order[np.searchsorted(self.indices, some.indices, sorter=order)].tolist()
        return places

    @cached_property
    def edges_us(self) -> NDArray[np.int64]:
        """Edges of the windows."""
        return window_edges(0, self.dataset.duration_us, self.n_windows)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels in the order of the samples."""
        return np.asarray(self.dataset.labels)[self.indices]

    def events(self, position: int) -> Events:
        """Return one sample's events, cut at the last window's end."""
        return self.cache.get(int(self.indices[position]), self._decode)

    def _decode(self, index: int) -> Events:
        return _cut(self.dataset.sample(index).events, int(self.edges_us[-1]))

    def batch(self, positions: Sequence[int], transform: Callable[[int, Events], Events] | None = None) -> Batch:
        """Return the samples at these positions as one batch."""
        events = [self.events(p) for p in positions]
        if transform is not None:
            events = [transform(p, e) for p, e in zip(positions, events, strict=True)]
        threads = torch.get_num_threads()
        counts = rasterize_batch(events, self.edges_us, dtype=np.float32, threads=threads).counts
        labels = torch.from_numpy(np.asarray(self.dataset.labels)[self.indices[list(positions)]])
        return Batch(tuple(events), torch.from_numpy(counts), labels, tuple(self.edges_us.tolist()))

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Yield all samples in order."""
        for first in range(0, len(self), batch_size):
            yield self.batch(range(first, min(first + batch_size, len(self))))

    def shuffled(
        self, batch_size: int, *, seed: int, epoch: int, transform: Transform | None, share: Share = _all
    ) -> Iterator[Batch]:
        """Yield all samples in the order of (seed, epoch), each transformed by a stream of its own.

        `share` takes its part of each batch's positions.

        Nothing depends on what was drawn before, so that training resumed at an epoch sees the same batches.
        """
        order = stream(seed, "order", epoch).permutation(len(self))

        def changed(position: int, events: Events) -> Events:
            assert transform is not None
            generator = stream(seed, "augment", epoch, int(self.indices[position]))
            return _cut(transform(events, generator), int(self.edges_us[-1]))

        for first in range(0, len(order), batch_size):
            positions = share(order[first : first + batch_size].tolist())
            yield self.batch(positions, None if transform is None else changed)

    def n_batches(self, batch_size: int) -> int:
        """Number of batches of one pass."""
        return -(-len(self) // batch_size)


def _cut(events: Events, stop_us: int) -> Events:
    if events.stop_us == stop_us and events.start_us == 0:
        return events
    n = int(np.searchsorted(events.t_us, stop_us))
    columns = (events.t_us[:n], events.channel[:n], events.y[:n], events.x[:n])
    if events.start_us < 0:
        return Events.from_columns(*columns, events.shape, start_us=0, stop_us=stop_us)
    return Events.from_checked(*columns, events.shape, 0, stop_us)
