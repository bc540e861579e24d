"""What every device does: take a program, run events, report what was observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from types import TracebackType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.program import Program
from chiploop.chip.timing import TimingTrace
from chiploop.errors import DeviceError
from chiploop.events.types import Events
from chiploop.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """What a run reports beyond the output events; layers are named as in the program.

    Window t holds the events with edges[t] <= t_us < edges[t + 1]; the potential at the end of window t is the one
    after every event before edges[t + 1]. Edges must cover all events of the run.
    """

    counts: tuple[str, ...] = ()
    potentials: tuple[str, ...] = ()
    spikes: tuple[str, ...] = ()
    window_edges_us: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        edges = tuple(int(edge) for edge in self.window_edges_us)
        object.__setattr__(self, "window_edges_us", edges)
        if any(b <= a for a, b in pairwise(edges)) or len(edges) == 1:
            raise DeviceError(f"window edges {edges} must increase, and there must be at least two")
        if (self.counts or self.potentials) and not edges:
            raise DeviceError("counts and potentials need window edges")

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return max(0, len(self.window_edges_us) - 1)


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What one core counted in a run; all exact.

    `synops` is the number of synaptic updates: the sum over input events of the true fan-out at their address.
    `clocked` is the number of updates by the slow clock, which are no synops.
    """

    events_in: int = 0
    synops: int = 0
    spikes: int = 0
    saturated_high: int = 0
    saturated_low: int = 0
    floored: int = 0
    dropped: int = 0
    fifo_peak: int = 0
    clocked: int = 0

    def __add__(self, other: Counters) -> Counters:
        both = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Counters(**{**both, "fifo_peak": max(self.fifo_peak, other.fifo_peak)})


COUNTER_NAMES = tuple(f.name for f in fields(Counters))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """What one run of one event stream gave; everything is keyed by layer name.

    `outputs`: events of the output layers, after pooling. `spikes`: all spikes of monitored layers, before pooling.
    `counts[layer]`: uint16[T, C, H, W], spikes per window before pooling. `potentials[layer]`: int16[T, C, H, W] at
    the end of each window. `lost`: spikes that did not fit a count. `timing`: when things happened, from a device on
    which processing takes time.
    """

    outputs: Mapping[str, Events]
    counters: Mapping[str, Counters]
    span_us: int
    counts: Mapping[str, NDArray[np.uint16]] = field(default_factory=dict)
    potentials: Mapping[str, NDArray[np.int16]] = field(default_factory=dict)
    spikes: Mapping[str, Events] = field(default_factory=dict)
    lost: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    timing: TimingTrace | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchTrace:
    """What a batch gave, each stream from reset state; the batch axis comes second, as everywhere in torch.

    `output_counts` int64[B, C]: output spikes of the (first) output layer over the whole run, its map flattened.
    `output_potentials` int16[B, C]: that layer's potentials at the end of the run. `counts[layer]`
    uint16[T, B, C, H, W] and `potentials[layer]` int16[T, B, C, H, W], possibly with channel-last strides.
    `counters[layer]` int64[B, len(COUNTER_NAMES)] in the order of COUNTER_NAMES. `lost` int64[B].
    """

    output_counts: NDArray[np.int64]
    output_potentials: NDArray[np.int16]
    counters: Mapping[str, NDArray[np.int64]]
    counts: Mapping[str, NDArray[np.uint16]] = field(default_factory=dict)
    potentials: Mapping[str, NDArray[np.int16]] = field(default_factory=dict)
    lost: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def total(self, counter: str) -> int:
        """Return one counter summed over layers and samples."""
        column = COUNTER_NAMES.index(counter)
        return int(sum(table[:, column].sum() for table in self.counters.values()))


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """What a device is and can do.

    `elsewhere`: it computes on other processors than this process's, which is free to do something else meanwhile.
    """

    name: str
    kind: str  # simulated, accelerator or board
    observes: frozenset[str] = frozenset({"counts", "potentials", "spikes"})
    deterministic: bool = True
    elsewhere: bool = False


@runtime_checkable
class Device(Protocol):
    """A chip, a simulator of it, or an accelerator: four verbs, and a context manager.

    What a device cannot do is refused at `load`. Two `run`s in a row equal one run of the joined stream; after
    `reset` (and after `load`) a device is as freshly loaded. `run_batch` runs each stream from reset state and
    leaves the state of `run` alone.
    """

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""

    def load(self, program: Program) -> None:
        """Take a program; the state is reset."""

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state."""

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state."""

    def reset(self) -> None:
        """Bring every state to zero."""

    def close(self) -> None:
        """Give the device back."""

    def __enter__(self) -> Device:
        """Return the device."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the device."""


DEVICES: Registry[type[Device]] = Registry("device", "chiploop.chip")
"""Every kind of device; the files of `chiploop.chip` register theirs."""
