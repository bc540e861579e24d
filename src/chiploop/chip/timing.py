"""What a timed run needs to know of a chip, and what it reports: constants, latencies and the load of each core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.profile import ChipProfile
from chiploop.digest import read_only
from chiploop.errors import DeviceError, nearest

Overflow = Literal["stall", "drop"]
_OVERFLOWS: tuple[str, ...] = ("stall", "drop")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long a core takes and how much it can hold; times in ns.

    Serving an event takes event_ns + n_updates * synop_ns; an event reaches the next core hop_ns after it left.
    `fifo_depth` bounds the events that wait for a core or are on their way to it, absent for no bound; what does not
    fit is dropped and counted ("drop"), or its sender waits ("stall").

    >>> Timing(event_ns=10, synop_ns=2, hop_ns=5).service_ns(9)
    28
    """

    event_ns: int
    synop_ns: int
    hop_ns: int
    fifo_depth: int | None = None
    overflow: Overflow = "stall"

    def __post_init__(self) -> None:
        for name in ("event_ns", "synop_ns", "hop_ns"):
            given = getattr(self, name)
            if not isinstance(given, int) or given < 0:
                raise DeviceError(f"timing.{name} = {given!r} must be a whole number of ns, at least 0")
        if self.fifo_depth is not None and (not isinstance(self.fifo_depth, int) or self.fifo_depth < 1):
            raise DeviceError(f"timing.fifo_depth = {self.fifo_depth!r} must be at least 1 event, or absent")
        if self.overflow not in _OVERFLOWS:
            raise DeviceError(f"timing.overflow = {self.overflow!r}: {nearest(str(self.overflow), _OVERFLOWS)}")

    @classmethod
    def of(cls, profile: ChipProfile) -> Timing:
        """Return the constants that a chip's profile states; DeviceError where it states none.

        >>> from chiploop.chip.profile import read_profile
        >>> Timing.of(read_profile("speck2f")).overflow
        'stall'
        """
        table = profile.timing
        if table is None:
            raise DeviceError(
                f"chip profile {profile.name!r} states no timing: add a [timing] table to it, or use the instant device"
            )
        return cls(
            event_ns=table.event_ns,
            synop_ns=table.synop_ns,
            hop_ns=table.hop_ns,
            fifo_depth=table.fifo_depth,
            overflow=table.overflow,
        )

    def service_ns(self, n_updates: int) -> int:
        """Return how long a core is busy with one event that updates `n_updates` neurons."""
        return self.event_ns + n_updates * self.synop_ns


@dataclass(frozen=True, kw_only=True)
class CoreLoad:
    """What one core, or the input, went through in a timed run; times in ns, all exact.

    `wait_ns`: start of service less arrival, summed over events. `stalls` and `stalled_ns`: how often and how long it
    could not send on. `dropped`: events that found no room here. `peak_synops`: most updates started within one
    millisecond, milliseconds counted from 0.
    """

    busy_ns: int = 0
    wait_ns: int = 0
    stalls: int = 0
    stalled_ns: int = 0
    dropped: int = 0
    fifo_peak: int = 0
    peak_synops: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class TimingTrace:
    """What a timed run adds to a trace; layers as in the program.

    `output_ns[layer]` int64[n]: when each output event left, in the order of the trace's outputs. `latency_ns[layer]`
    int64[n]: that time less the due time of the sensor event (or of the clock's tick) it descends from. `end_ns`: when
    the last work was done.
    """

    latency_ns: Mapping[str, NDArray[np.int64]]
    output_ns: Mapping[str, NDArray[np.int64]]
    load: Mapping[str, CoreLoad]
    input_load: CoreLoad
    end_ns: int

    def __post_init__(self) -> None:
        for name in ("latency_ns", "output_ns"):
            table = getattr(self, name)
            object.__setattr__(self, name, {layer: read_only(times, np.int64) for layer, times in table.items()})
        for layer in set(self.latency_ns) | set(self.output_ns):
            sizes = [len(table[layer]) if layer in table else None for table in (self.latency_ns, self.output_ns)]
            if sizes[0] != sizes[1]:
                raise DeviceError(f"layer {layer!r}: {sizes[0]} latencies for {sizes[1]} output times")
