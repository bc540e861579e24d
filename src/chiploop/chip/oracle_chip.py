"""What the oracle's two models of time share: a program's cores, the ways between them, and what a run reports."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.device import COUNTER_NAMES, BatchTrace, Counters, Monitor, Trace
from chiploop.chip.oracle_core import OracleCore, Spike
from chiploop.chip.oracle_dvs import OracleDvs
from chiploop.chip.program import MAX_CLOCK_EDGES, MAX_TIME_US, Program, Target
from chiploop.chip.timing import TimingTrace
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape

COUNT_MAX = 65535
"""Most spikes that a window count (uint16) holds; the others are counted as lost."""

Timed = tuple[int, Spike]
"""Time in us and address."""

Potentials = list[list[list[int]]]
"""[F][H][W]"""


class OracleChip:
    """A program on cores that hold state."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.cores = [OracleCore(core) for core in program.cores]
        self.position = {core.core: i for i, core in enumerate(program.cores)}
        self._dvs = None if program.dvs is None else OracleDvs(program.dvs)

    def reset(self) -> None:
        """Bring every state to zero, at time zero."""
        for core in self.cores:
            core.reset()
        if self._dvs is not None:
            self._dvs.reset()

    def begin(self, events: Events, monitor: Monitor) -> list[Timed]:
        """Refuse what cannot run, with no state changed; else return the events as they leave for the cores."""
        self._require(events, monitor)
        for core in self.cores:
            core.forget()
        columns = (events.channel.tolist(), events.y.tolist(), events.x.tolist())
        stream = list(zip(events.t_us.tolist(), zip(*columns, strict=True), strict=True))
        if self._dvs is None:
            return stream
        self._dvs.dropped = 0
        heard = ((t, self._dvs.hear(t, event)) for t, event in stream)
        return [(t, event) for t, event in heard if event is not None]

    def ticks(self, events: Events) -> list[int]:
        """Return the edges of the slow clock within the bounds of the events."""
        period_us = self.program.clock_us
        if period_us is None:
            return []
        first = -(-events.start_us // period_us)
        return [k * period_us for k in range(first, -(-events.stop_us // period_us))]

    def ways(self, core: OracleCore | None, event: Spike) -> Iterator[tuple[int, Spike]]:
        """Yield (position, address) of every core that hears a core's spike (None: an event of the input)."""
        if core is None:
            yield from self._arrivals(self.program.inputs, event, self.program.heard_shape)
            return
        leaving = self.leaving(core, event)
        if leaving is not None:
            yield from self._arrivals(core.config.targets, leaving, core.config.out_shape)

    def leaving(self, core: OracleCore, spike: Spike) -> Spike | None:
        """Return the event as which a spike leaves its core's pooling, or None where it falls into no window."""
        return _pooled(spike, core.config.neuron_shape, core.config.pool)

    def is_output(self, core: OracleCore) -> bool:
        """Whether the core's events leave the chip."""
        return core.config.core in self.program.outputs

    @property
    def metrics(self) -> dict[str, float]:
        """What the device itself measured in the last run."""
        return {} if self._dvs is None else {"dvs_dropped": float(self._dvs.dropped)}

    def _arrivals(self, targets: Iterable[Target], event: Spike, shape: SensorShape) -> Iterator[tuple[int, Spike]]:
        for target in targets:
            pooled = _pooled(event, shape, target.pool)
            if pooled is not None:
                channel, y, x = pooled
                yield self.position[target.core], (channel + target.shift, y, x)

    def _require(self, events: Events, monitor: Monitor) -> None:
        program = self.program
        if events.shape != program.input_shape:
            raise DeviceError(
                f"events have shape {tuple(events.shape)}, the program takes {tuple(program.input_shape)}"
            )
        layers = {core.layer for core in program.cores}
        unknown = {*monitor.counts, *monitor.potentials, *monitor.spikes} - layers
        if unknown:
            raise DeviceError(f"the monitor names {sorted(unknown)}, the program has {sorted(layers)}")
        edges = monitor.window_edges_us
        if edges and any(not edges[0] <= t < edges[-1] for t in events.t_us.tolist()):
            raise DeviceError(
                f"windows from {edges[0]} to {edges[-1]} do not cover all events; widen the first or the last"
            )
        n_edges = program.n_clock_edges(events.start_us, events.stop_us)
        if program.clock_us is not None and (
            n_edges > MAX_CLOCK_EDGES or max(abs(events.start_us), abs(events.stop_us)) > MAX_TIME_US
        ):
            raise DeviceError(
                f"{n_edges:,} edges of the slow clock in one run, at most {MAX_CLOCK_EDGES:,} within {MAX_TIME_US} us "
                "of 0; let the recording's times begin near 0"
            )
        clocked = program.clock_us is not None and events.start_us < events.stop_us
        if edges and clocked and not (edges[0] <= events.start_us and events.stop_us <= edges[-1]):
            raise DeviceError(
                f"windows from {edges[0]} to {edges[-1]} do not cover the run from {events.start_us} to "
                f"{events.stop_us}, all of which a clocked program needs; widen the first or the last"
            )


def _pooled(event: Spike, shape: SensorShape, pool: int) -> Spike | None:
    """Return the address after pooling by 2^pool, or None where its row or column fills no window."""
    channel, y, x = event
    y, x = y >> pool, x >> pool
    return (channel, y, x) if y < shape.height >> pool and x < shape.width >> pool else None


@dataclass
class OracleRun:
    """What one run saw, by position of the core: spikes before pooling, events that left, potentials at edges."""

    chip: OracleChip
    events: Events
    monitor: Monitor
    spikes: list[list[Timed]] = field(init=False)
    outputs: list[list[Timed]] = field(init=False)
    potentials: list[list[Potentials]] = field(init=False)
    stop_us: int = field(init=False)  # of the events that are reported
    end_us: int = field(init=False)  # time of the last potentials: the last window edge, or the end of the events

    def __post_init__(self) -> None:
        self.spikes = [[] for _ in self.chip.cores]
        self.outputs = [[] for _ in self.chip.cores]
        self.potentials = [[] for _ in self.chip.cores]
        self.stop_us = self.events.stop_us
        self.end_us = self.monitor.window_edges_us[-1] if self.monitor.window_edges_us else self.events.stop_us

    def snap(self, position: int, at_us: int) -> None:
        """Keep the potentials of a core, where they are wanted."""
        core = self.chip.cores[position]
        if core.config.layer in self.monitor.potentials:
            self.potentials[position].append(core.potentials(at_us))

    def trace(self, counters: Sequence[Counters], *, timing: TimingTrace | None = None) -> Trace:
        """Return all that the monitor asked for; `counters` by position."""
        program, monitor = self.chip.program, self.monitor
        counts, lost = self._counts()
        return Trace(
            outputs={
                core.layer: self._to_events(self.outputs[i], core.out_shape)
                for i, core in enumerate(program.cores)
                if core.core in program.outputs
            },
            counters={core.layer: counted for core, counted in zip(program.cores, counters, strict=True)},
            span_us=self.events.stop_us - self.events.start_us,
            counts=counts,
            potentials={
                core.layer: np.array(self.potentials[i], np.int16)
                for i, core in enumerate(program.cores)
                if core.layer in monitor.potentials
            },
            spikes={
                core.layer: self._to_events(self.spikes[i], core.neuron_shape)
                for i, core in enumerate(program.cores)
                if core.layer in monitor.spikes
            },
            lost=lost,
            metrics=self.chip.metrics,
            timing=timing,
        )

    def totals(self, position: int) -> NDArray[np.int64]:
        """Return how often each neuron of a core fired, flat."""
        total = np.zeros(self.chip.cores[position].config.neuron_shape, np.int64)
        for _, address in self.spikes[position]:
            total[address] += 1
        return total.reshape(-1)

    def _to_events(self, rows: Sequence[Timed], shape: SensorShape) -> Events:
        table = np.array([(t, *address) for t, address in rows], np.int64).reshape(-1, 4)
        t, channel, y, x = table.T
        return Events.from_columns(t, channel, y, x, shape, start_us=self.events.start_us, stop_us=self.stop_us)

    def _counts(self) -> tuple[dict[str, NDArray[np.uint16]], int]:
        """Return spikes per window, and how many did not fit; what comes after the last edge is the last window's."""
        edges, n_windows, lost, counts = self.monitor.window_edges_us, self.monitor.n_windows, 0, {}
        for core, stream in zip(self.chip.program.cores, self.spikes, strict=True):
            if core.layer not in self.monitor.counts:
                continue
            exact = np.zeros((n_windows, *core.neuron_shape), np.int64)
            for t, address in stream:
                window = min(bisect_right(edges, t), n_windows) - 1
                exact[(window, *address)] += 1
            fits = np.minimum(exact, COUNT_MAX)
            lost += int((exact - fits).sum())
            counts[core.layer] = fits.astype(np.uint16)
        return counts, lost


def run_each(
    program: Program,
    batch: Sequence[Events],
    monitor: Monitor,
    run: Callable[[OracleChip, Events, Monitor], tuple[OracleRun, Trace]],
) -> BatchTrace:
    """Run every stream on a fresh chip."""
    if monitor.spikes:
        raise DeviceError(f"monitor.spikes = {monitor.spikes}: a batch reports no spike events; use run")
    traces, totals, finals = [], [], []
    for events in batch:
        chip = OracleChip(program)
        seen, trace = run(chip, events, monitor)
        last = chip.position[program.outputs[0]]
        traces.append(trace)
        totals.append(seen.totals(last))
        finals.append(np.array(chip.cores[last].potentials(seen.end_us), np.int16).reshape(-1))
    return _joined(program, monitor, traces, totals, finals)


def _joined(
    program: Program,
    monitor: Monitor,
    traces: list[Trace],
    totals: list[NDArray[Any]],
    finals: list[NDArray[Any]],
) -> BatchTrace:
    size = program.core(program.outputs[0]).neuron_shape
    neurons = size.channels * size.height * size.width

    def stacked(kind: str, layers: tuple[str, ...], dtype: type[np.generic]) -> dict[str, NDArray[Any]]:
        joined = {}
        for layer in layers:
            shape = (monitor.n_windows, len(traces), *program.layer(layer).neuron_shape)
            joined[layer] = np.zeros(shape, dtype)
            for sample, trace in enumerate(traces):
                joined[layer][:, sample] = getattr(trace, kind)[layer]
        return joined

    return BatchTrace(
        output_counts=np.array(totals, np.int64).reshape(-1, neurons),
        output_potentials=np.array(finals, np.int16).reshape(-1, neurons),
        counters={
            core.layer: np.array(
                [[getattr(trace.counters[core.layer], name) for name in COUNTER_NAMES] for trace in traces], np.int64
            ).reshape(-1, len(COUNTER_NAMES))
            for core in program.cores
        },
        counts=stacked("counts", monitor.counts, np.uint16),
        potentials=stacked("potentials", monitor.potentials, np.int16),
        lost=np.array([trace.lost for trace in traces], np.int64),
    )
