"""The oracle: the chip contract in plain Python, one update at a time, sharing no code with the compiled core.

It is slow on purpose: each line can be held against the contract, and the compiled core is held against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.device import DEVICES, BatchTrace, Counters, DeviceInfo, Monitor, Trace
from chiploop.chip.program import STATE_MAX, STATE_MIN, CoreConfig, Program
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape

COUNT_MAX = 65535
"""Most spikes that a window count (uint16) holds; the others are counted as lost."""

Address = tuple[int, int, int, int]
"""Time, channel, y, x."""


@dataclass
class _Core:
    """A core while it runs: plain lists, so that a step is the step of the contract and nothing else."""

    config: CoreConfig
    v: list[list[list[int]]] = field(init=False)  # [F][H][W]
    weight: list[list[list[list[int]]]] = field(init=False)  # [C][kh][kw][F]
    events_in: int = 0
    synops: int = 0
    high: int = 0
    low: int = 0
    floored: int = 0
    spikes: list[Address] = field(default_factory=list)  # before pooling

    def __post_init__(self) -> None:
        self.weight = self.config.weight.tolist()
        self.reset()

    def reset(self) -> None:
        features, height, width = self.config.neuron_shape
        self.v = [[[0] * width for _ in range(height)] for _ in range(features)]

    def forget(self) -> None:
        """Empty what was counted and seen, not the state."""
        self.events_in = self.synops = self.high = self.low = self.floored = 0
        self.spikes = []

    def hear(self, event: Address, send: Callable[[Address], None]) -> None:
        """Scatter one event; `send` takes every event that leaves, at once."""
        config = self.config
        t, channel, y, x = event
        features, height, width = config.neuron_shape
        _, out_height, out_width = config.out_shape
        _, kh, kw, _ = config.weight.shape
        self.events_in += 1
        for oy in range(height):
            ky = y - (oy * config.stride - config.padding)
            if not 0 <= ky < kh:
                continue
            for ox in range(width):
                kx = x - (ox * config.stride - config.padding)
                if not 0 <= kx < kw:
                    continue
                for f in range(features):
                    for _ in range(self.update(f, oy, ox, self.weight[channel][ky][kx][f])):
                        self.spikes.append((t, f, oy, ox))
                        py, px = oy >> config.pool, ox >> config.pool
                        if py < out_height and px < out_width:
                            send((t, f, py, px))

    def update(self, f: int, y: int, x: int, w: int) -> int:
        """Add one weight to one state: saturate, clamp at the floor, fire; returns the number of spikes."""
        config = self.config
        self.synops += 1
        v = self.v[f][y][x] + w
        if v > STATE_MAX:
            self.high += 1
            v = STATE_MAX
        if v < STATE_MIN:
            self.low += 1
            v = STATE_MIN
        if v < config.floor:
            self.floored += 1
            v = config.floor
        spikes = 0
        while v >= config.threshold:
            spikes += 1
            v = v - config.threshold if config.reset == "subtract" else 0
            if config.spikes_per_update == "one":
                break
        self.v[f][y][x] = v
        return spikes

    def counters(self) -> Counters:
        return Counters(
            events_in=self.events_in,
            synops=self.synops,
            spikes=len(self.spikes),
            saturated_high=self.high,
            saturated_low=self.low,
            floored=self.floored,
        )


@DEVICES.register("oracle")
class OracleDevice:
    """The chip contract, literally; for tests and for doubts, at some million updates a second.

    Programs must be chains. Every event runs through the whole chain before the next one enters it.
    """

    def __init__(self) -> None:
        self._program: Program | None = None
        self._cores: list[_Core] = []

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""
        return DeviceInfo(name="oracle", kind="simulated")

    def load(self, program: Program) -> None:
        """Take a program; the state is reset. Raises DeviceError unless the program is a chain."""
        if not program.is_chain:
            raise DeviceError("the oracle runs chains only: each core must be heard by the next one in the list")
        self._program = program
        self._cores = [_Core(core) for core in program.cores]

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state."""
        program = self._loaded()
        monitor = monitor or Monitor()
        _require(program, events, monitor)
        outputs, potentials = self._run(events, monitor)
        counts, lost = self._counts(monitor)
        last = program.cores[-1]
        return Trace(
            outputs={last.layer: _to_events(outputs, last.out_shape, events)},
            counters={core.config.layer: core.counters() for core in self._cores},
            span_us=events.stop_us - events.start_us,
            counts=counts,
            potentials=potentials,
            spikes={
                core.config.layer: _to_events(core.spikes, core.config.neuron_shape, events)
                for core in self._cores
                if core.config.layer in monitor.spikes
            },
            lost=lost,
        )

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state; the state of `run` is left alone."""
        program = self._loaded()
        monitor = monitor or Monitor()
        if monitor.spikes:
            raise DeviceError(f"monitor.spikes = {monitor.spikes}: a batch reports no spike events; use run")
        traces, totals, finals = [], [], []
        for events in batch:
            other = OracleDevice()
            other.load(program)
            traces.append(other.run(events, monitor=monitor))
            last = other._cores[-1]
            total = np.zeros(last.config.neuron_shape, np.int64)
            for _, f, y, x in last.spikes:
                total[f, y, x] += 1
            totals.append(total.reshape(-1))
            finals.append(np.array(last.v, np.int16).reshape(-1))
        return _joined(program, monitor, traces, totals, finals)

    def reset(self) -> None:
        """Bring every state to zero."""
        self._loaded()
        for core in self._cores:
            core.reset()

    def close(self) -> None:
        """Forget the program."""
        self._program, self._cores = None, []

    def __enter__(self) -> OracleDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _loaded(self) -> Program:
        if self._program is None:
            raise DeviceError("the oracle holds no program: call load(program) first")
        return self._program

    def _run(self, events: Events, monitor: Monitor) -> tuple[list[Address], dict[str, NDArray[Any]]]:
        """Run the stream depth first; returns what left the last core, and the potentials at the window edges."""
        outputs: list[Address] = []
        for core in self._cores:
            core.forget()

        def deliver(position: int, event: Address) -> None:
            if position == len(self._cores):
                outputs.append(event)
            else:
                self._cores[position].hear(event, lambda sent: deliver(position + 1, sent))

        snapshots: dict[str, list[list[list[list[int]]]]] = {layer: [] for layer in monitor.potentials}
        ends = list(monitor.window_edges_us[1:])

        def close_windows(until_us: int | None) -> None:
            while ends and (until_us is None or ends[0] <= until_us):
                ends.pop(0)
                for core in self._cores:
                    if core.config.layer in snapshots:
                        snapshots[core.config.layer].append([[list(row) for row in plane] for plane in core.v])

        columns = (events.t_us.tolist(), events.channel.tolist(), events.y.tolist(), events.x.tolist())
        for event in zip(*columns, strict=True):
            close_windows(event[0])
            deliver(0, event)
        close_windows(None)
        return outputs, {layer: np.array(maps, np.int16) for layer, maps in snapshots.items()}

    def _counts(self, monitor: Monitor) -> tuple[dict[str, NDArray[Any]], int]:
        edges, lost = monitor.window_edges_us, 0
        counts = {}
        for core in self._cores:
            if core.config.layer not in monitor.counts:
                continue
            exact = np.zeros((monitor.n_windows, *core.config.neuron_shape), np.int64)
            for t, f, y, x in core.spikes:
                window = next(k for k in range(monitor.n_windows) if edges[k] <= t < edges[k + 1])
                exact[window, f, y, x] += 1
            fits = np.minimum(exact, COUNT_MAX)
            lost += int((exact - fits).sum())
            counts[core.config.layer] = fits.astype(np.uint16)
        return counts, lost


def _require(program: Program, events: Events, monitor: Monitor) -> None:
    if events.shape != program.input_shape:
        raise DeviceError(f"events have shape {tuple(events.shape)}, the program takes {tuple(program.input_shape)}")
    layers = {core.layer for core in program.cores}
    unknown = {*monitor.counts, *monitor.potentials, *monitor.spikes} - layers
    if unknown:
        raise DeviceError(f"the monitor names {sorted(unknown)}, the program has {sorted(layers)}")
    edges = monitor.window_edges_us
    if edges and any(not edges[0] <= t < edges[-1] for t in events.t_us.tolist()):
        raise DeviceError(
            f"windows from {edges[0]} to {edges[-1]} do not cover all events; widen the first or the last"
        )


def _to_events(rows: list[Address], shape: SensorShape, like: Events) -> Events:
    table = np.array(rows, np.int64).reshape(-1, 4)
    t, channel, y, x = table.T
    return Events.from_columns(t, channel, y, x, shape, start_us=like.start_us, stop_us=like.stop_us)


def _joined(
    program: Program,
    monitor: Monitor,
    traces: list[Trace],
    totals: list[NDArray[Any]],
    finals: list[NDArray[Any]],
) -> BatchTrace:
    names = list(Counters.__dataclass_fields__)
    size = program.cores[-1].neuron_shape
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
                [[getattr(trace.counters[core.layer], name) for name in names] for trace in traces], np.int64
            ).reshape(-1, len(names))
            for core in program.cores
        },
        counts=stacked("counts", monitor.counts, np.uint16),
        potentials=stacked("potentials", monitor.potentials, np.int16),
        lost=np.array([trace.lost for trace in traces], np.int64),
    )
