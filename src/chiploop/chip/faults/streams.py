"""Faults of events on their way from the sensor to the chip: lost, doubled, late, one too many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.faults.fault import FAULTS, require_at_least_0, require_share
from chiploop.errors import DeviceError
from chiploop.events.types import Events


@FAULTS.register("lost")
@dataclass(frozen=True, slots=True)
class LostEvents:
    """Each event is lost with probability `share`."""

    share: float

    def __post_init__(self) -> None:
        require_share(self, self.share)

    def disturb(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the events that arrive."""
        return _taken(events, np.flatnonzero(rng.random(len(events)) >= self.share))


@FAULTS.register("duplicated")
@dataclass(frozen=True, slots=True)
class DuplicatedEvents:
    """Each event is followed by a copy of itself, at once, with probability `share`."""

    share: float

    def __post_init__(self) -> None:
        require_share(self, self.share)

    def disturb(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the events that arrive."""
        return _taken(events, np.repeat(np.arange(len(events)), 1 + (rng.random(len(events)) < self.share)))


@FAULTS.register("jitter")
@dataclass(frozen=True, slots=True)
class TimeJitter:
    """Each event's time moves by a normal deviate of `sd_us`, held inside the recording; the order follows the times.

    Events that come to one time keep their order.
    """

    sd_us: float

    def __post_init__(self) -> None:
        require_at_least_0(self, "sd_us", self.sd_us)

    def disturb(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the events that arrive."""
        moved = events.t_us + np.rint(rng.normal(0.0, self.sd_us, len(events))).astype(np.int64)
        t_us = np.clip(moved, events.start_us, max(events.start_us, events.stop_us - 1))
        return _taken(events, np.argsort(t_us, kind="stable"), t_us)


@FAULTS.register("overflow")
@dataclass(frozen=True, slots=True)
class FifoOverflow:
    """The chip's input takes an event every `service_us`, has room for `depth` more, and drops what finds no room.

    `service_us` is the strength: at 0 nothing is ever dropped.
    """

    service_us: float
    depth: int = 16

    def __post_init__(self) -> None:
        require_at_least_0(self, "service_us", self.service_us)
        if self.depth < 1:
            raise DeviceError(f"FifoOverflow: depth = {self.depth} must be at least 1")

    def disturb(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the events that find room."""
        del rng  # the queue is deterministic
        kept = []
        free_at = -np.inf  # when the server has done all that was taken
        room_us = self.service_us * (self.depth + 1)  # one in service, `depth` behind it
        for i, t_us in enumerate(events.t_us.tolist()):
            begin = max(free_at, t_us)
            if begin + self.service_us - t_us <= room_us:
                kept.append(i)
                free_at = begin + self.service_us
        return _taken(events, np.array(kept, np.int64))


def _taken(events: Events, order: NDArray[np.int64], t_us: NDArray[np.int64] | None = None) -> Events:
    times = events.t_us if t_us is None else t_us
    columns = (times[order], events.channel[order], events.y[order], events.x[order])
    return Events.from_columns(*columns, events.shape, start_us=events.start_us, stop_us=events.stop_us)
