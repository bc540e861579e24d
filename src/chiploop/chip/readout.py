"""The chip's readout: a class at every tick of a slow clock, from the events that leave the output core."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DeviceError
from chiploop.events.ops import flat_address
from chiploop.events.types import Events

IDLE = -1
"""Value while no class is ahead."""
AVERAGES = (1, 16, 32)
"""Ticks that the chip can average over."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadoutTrace:
    """What a readout said at each of n ticks: `tick_us` int64[n], `averages` float64[n, classes], `values` int64[n]."""

    tick_us: NDArray[np.int64]
    averages: NDArray[np.float64]
    values: NDArray[np.int64]

    @property
    def pins(self) -> tuple[tuple[int, int], ...]:
        """(time in us, class) whenever the value changes to a class; a change to idle moves no pin."""
        before = np.concatenate([[IDLE], self.values[:-1]])
        rises = np.flatnonzero((self.values != before) & (self.values != IDLE))
        return tuple((int(self.tick_us[k]), int(self.values[k])) for k in rises)

    @property
    def decision(self) -> int:
        """The last value that was a class; IDLE when none was."""
        classes = self.values[self.values != IDLE]
        return int(classes[-1]) if len(classes) else IDLE


@dataclass(frozen=True, kw_only=True)
class Readout:
    """Moving average and threshold over the events of each class (an address of the output map, flattened).

        a_c(k) = n_c(k - average + 1 .. k) / average

    with n_c the events of class c in these ticks; tick k hears k tick_us <= t < (k + 1) tick_us and speaks at
    (k + 1) tick_us. The value is the class with the largest a_c when that is at least `threshold` and no other class
    has as much, else IDLE. Before the stream starts there was silence. Raises DeviceError.

    >>> from chiploop.events.types import SensorShape
    >>> spikes = Events.from_columns([1, 2, 12, 33], [1, 1, 0, 0], [0] * 4, [0] * 4, SensorShape(2, 1, 1), stop_us=40)
    >>> said = Readout(tick_us=10, average=1, threshold=1.0).read(spikes)
    >>> said.values.tolist(), said.pins, said.decision
    ([1, 0, -1, 0], ((10, 1), (20, 0), (40, 0)), 0)
    """

    tick_us: int
    average: Literal[1, 16, 32]
    threshold: float

    def __post_init__(self) -> None:
        if self.tick_us < 1:
            raise DeviceError(f"readout.tick_us = {self.tick_us} must be at least 1 us")
        if self.average not in AVERAGES:
            raise DeviceError(f"readout.average = {self.average} ticks must be one of {AVERAGES}")
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise DeviceError(f"readout.threshold = {self.threshold} must be positive and finite: spikes a tick")

    def read(self, outputs: Events) -> ReadoutTrace:
        """Return what the readout says of one output core's events, from the first tick to the one that ends them."""
        first, stop = outputs.start_us // self.tick_us, -(-outputs.stop_us // self.tick_us)
        n_ticks, n_classes = max(0, stop - first), math.prod(outputs.shape)
        cell = (outputs.t_us // self.tick_us - first) * n_classes + flat_address(outputs)
        counts = np.bincount(cell, minlength=n_ticks * n_classes).reshape(n_ticks, n_classes)
        total = np.concatenate([np.zeros((self.average, n_classes), np.int64), np.cumsum(counts, axis=0)])
        averages = (total[self.average :] - total[:n_ticks]) / self.average
        return ReadoutTrace(
            tick_us=(first + 1 + np.arange(n_ticks, dtype=np.int64)) * self.tick_us,
            averages=averages,
            values=_winners(averages, self.threshold),
        )


def decide(readout: Readout, outputs: Events) -> int:
    """Return the class that a sample is given: the readout's last value that is not idle, or IDLE without one."""
    return readout.read(outputs).decision


def _winners(averages: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Return the class that is alone at the top and over the threshold in each row, else IDLE."""
    if not len(averages):
        return np.zeros(0, np.int64)
    best = averages.max(axis=1)
    alone = (averages == best[:, None]).sum(axis=1) == 1  # exact: counts over a power of two
    winners: NDArray[np.int64] = np.where(alone & (best >= threshold), averages.argmax(axis=1), IDLE)
    return winners
