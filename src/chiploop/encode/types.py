"""Events on a clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiploop.digest import ByContent, read_only
from chiploop.errors import DataError
from chiploop.events.types import SensorShape

COUNT_LIMIT = 255
"""Largest count a window's pixel holds (uint8)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SpikeTrain(ByContent):
    """Counts of events in windows of `dt_us`, the first from `start_us`: `counts` uint8[T, C, H, W].

    `lost` is the number of events that are in no count: beyond COUNT_LIMIT in one window and pixel, or outside the
    windows. The counts sum to the events less `lost`.
    """

    counts: NDArray[np.uint8]
    dt_us: int
    start_us: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        if self.counts.ndim != 4:
            raise DataError(f"SpikeTrain.counts has shape {self.counts.shape}, expected [T, C, H, W]")
        if self.counts.dtype != np.uint8:
            raise DataError(f"SpikeTrain.counts has dtype {self.counts.dtype}, expected uint8")
        if self.dt_us < 1:
            raise DataError(f"SpikeTrain.dt_us = {self.dt_us} must be at least 1")
        if self.lost < 0:
            raise DataError(f"SpikeTrain.lost = {self.lost} must be at least 0")
        object.__setattr__(self, "counts", read_only(self.counts))

    @property
    def n_windows(self) -> int:
        """T, the number of windows."""
        return len(self.counts)

    @property
    def shape(self) -> SensorShape:
        """Channels, height, width."""
        return SensorShape(*self.counts.shape[1:])

    @property
    def edges_us(self) -> NDArray[np.int64]:
        """The T + 1 window edges; window k holds the events with edges[k] <= t < edges[k + 1]."""
        return self.start_us + self.dt_us * np.arange(self.n_windows + 1, dtype=np.int64)

    @property
    def n_events(self) -> int:
        """Number of events counted."""
        return int(self.counts.sum(dtype=np.int64))
