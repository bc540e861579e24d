"""The timed device: the compiled chip with cores that take time, queues that fill, and hops."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.compiled import (
    core_arguments,
    flat_maps,
    heard_events,
    import_core,
    stream_columns,
    wiring,
)
from chiploop.chip.device import COUNTER_NAMES, DEVICES, BatchTrace, Counters, DeviceInfo, Monitor, Trace
from chiploop.chip.dvs import DvsState
from chiploop.chip.profile import ChipProfile, read_profile
from chiploop.chip.program import CoreConfig, Program
from chiploop.chip.timing import CoreLoad, Timing, TimingTrace
from chiploop.chip.virtual import DVS_DROPPED, require_no_spikes, require_runnable
from chiploop.errors import DeviceError
from chiploop.events.types import Events

if TYPE_CHECKING:
    from chiploop import _core

DEFAULT_PROFILE = "speck2f"
MAX_QUEUED = 1 << 24
"""Events in all queues of one run before it is given up: some 400 MB of them."""
_NO_MONITOR = Monitor()
_LOAD_NAMES = tuple(field.name for field in fields(CoreLoad))


@DEVICES.register("timed")
class TimedDevice:
    """The chip in time: each core serves one event after another, out of a queue that may be bounded.

    The constants are `timing`, or those of a `profile` (without either: of speck2f). A core is busy for event_ns +
    updates * synop_ns with an event, and only then are its states updated; its spikes reach the next core hop_ns
    later. What finds a queue full is dropped, or its sender waits, as `timing.overflow` says; a tick of the slow clock
    is served before the events that wait. Of what happens at the same ns, ticks come first, then the input,
    completions and arrivals, each in the order of cores, then of their making.

    `Trace.timing` says when output events left and how long after their cause, and how busy each core was. Event times
    of outputs and spikes, windows and a neuron's leak go by the time of completion, in whole us; their streams end
    when the chip comes to rest, if that is later than the recording's end. The last window takes all that completes
    after it. A run goes on until every queue is empty: unlike on a device in instant time, two runs in a row equal one
    only where the first had come to rest before the second began.

    `threads` bounds the workers of `run_batch` and `run_many` (None: one a processor); results do not depend on it.
    Raises DeviceError when a run holds more than `max_queued` events in its queues; its states are then those after a
    reset.

    >>> from chiploop.chip.program import Target
    >>> from chiploop.events.types import SensorShape
    >>> pixel = SensorShape(1, 1, 1)
    >>> relays = tuple(CoreConfig(core=n, layer=f"relay{n}", weight=np.ones((1, 1, 1, 1), np.int8), threshold=1,
    ...     floor=0, reset="subtract", spikes_per_update="one", stride=1, padding=0, pool=0, in_shape=pixel,
    ...     neuron_shape=pixel, targets=(Target(n + 1),) if n < 8 else ()) for n in range(9))
    >>> chain = Program(profile_hash="", quant_hash="", cores=relays, input_shape=pixel, inputs=(Target(0),),
    ...     outputs=(8,))
    >>> with TimedDevice() as device:
    ...     device.load(chain)
    ...     trace = device.run(Events.from_columns([5], [0], [0], [0], pixel))
    >>> trace.timing.latency_ns["relay8"].tolist(), trace.outputs["relay8"].t_us.tolist()
    ([3360], [8])
    """

    def __init__(
        self,
        timing: Timing | None = None,
        profile: ChipProfile | None = None,
        *,
        threads: int | None = None,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        if timing is not None and profile is not None:
            raise DeviceError("a timed device takes its constants from `timing` or from `profile`: give one of them")
        if threads is not None and threads < 1:
            raise DeviceError(f"threads = {threads} must be at least 1, or None for one a processor")
        if max_queued < 1:
            raise DeviceError(f"max_queued = {max_queued} must be at least 1 event")
        self.timing = timing or Timing.of(profile or read_profile(DEFAULT_PROFILE))
        self._threads = threads or os.cpu_count() or 1
        self._max_queued = max_queued
        self._module = import_core()
        self._program: Program | None = None
        self._chip: _core.TimedChip | None = None
        self._dvs: DvsState | None = None

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""
        return DeviceInfo(name="timed", kind="simulated")

    def load(self, program: Program) -> None:
        """Take a program; the state is reset."""
        try:
            cores = self._module.Chip(
                [core_arguments(core) for core in program.cores], input=tuple(program.heard_shape), **wiring(program)
            )
            self._chip = self._module.TimedChip(
                cores,
                event_ns=self.timing.event_ns,
                synop_ns=self.timing.synop_ns,
                hop_ns=self.timing.hop_ns,
                fifo_depth=self.timing.fifo_depth,
                drops=self.timing.overflow == "drop",
                most_queued=self._max_queued,
            )
        except ValueError as error:
            raise DeviceError(f"the compiled core refused the program: {error}") from error
        self._program = program
        self._dvs = None if program.dvs is None else DvsState(program.dvs)

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state, until the chip is at rest."""
        program, chip = self._loaded()
        monitor = monitor or _NO_MONITOR
        require_runnable(program, events, monitor)
        heard, dropped = heard_events(program, events, self._dvs)
        try:
            run = chip.run(stream_columns(heard), _edges(monitor), _watched(program, monitor))
        except (ValueError, OverflowError) as error:
            self.reset()
            raise self._failure(error) from error
        return _trace(program, events, run, dropped)

    def run_many(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> list[Trace]:
        """Run every stream from reset state, in parallel; the state of `run` is left alone."""
        program, _ = self._loaded()
        runs = self._runs(batch, monitor or _NO_MONITOR)
        return [_trace(program, events, run, dropped) for events, (run, dropped) in zip(batch, runs, strict=True)]

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state, in parallel; the state of `run` is left alone."""
        program, _ = self._loaded()
        monitor = monitor or _NO_MONITOR
        require_no_spikes(monitor)
        runs = [run for run, _ in self._runs(batch, monitor)]
        answers = program.layer(program.output_layer)
        return BatchTrace(
            output_counts=flat_maps(_stacked([run["totals"] for run in runs], answers, np.int64)),
            output_potentials=flat_maps(_stacked([run["last"] for run in runs], answers, np.int16)),
            counters={
                core.layer: np.array([run["counters"][i] for run in runs], np.int64).reshape(-1, len(COUNTER_NAMES))
                for i, core in enumerate(program.cores)
            },
            counts=_batched(program, [run["counts"] for run in runs], monitor.counts, monitor.n_windows, np.uint16),
            potentials=_batched(
                program, [run["potentials"] for run in runs], monitor.potentials, monitor.n_windows, np.int16
            ),
            lost=np.array([run["lost"] for run in runs], np.int64),
        )

    def reset(self) -> None:
        """Bring every state to zero."""
        self._loaded()[1].reset()
        if self._dvs is not None:
            self._dvs.reset()

    def close(self) -> None:
        """Forget the program."""
        self._program = self._chip = self._dvs = None

    def __enter__(self) -> TimedDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _runs(self, batch: Sequence[Events], monitor: Monitor) -> list[tuple[_core.TimedRun, int]]:
        """Run a batch; returns what each stream gave, and how many of its events the DVS layer dropped."""
        program, chip = self._loaded()
        for sample, events in enumerate(batch):
            require_runnable(program, events, monitor, where=f"stream {sample} of the batch: ")
        heard = [heard_events(program, events, None) for events in batch]
        streams = [stream_columns(events) for events, _ in heard]
        try:
            runs = chip.run_batch(streams, _edges(monitor), _watched(program, monitor), self._threads)
        except (ValueError, OverflowError) as error:
            raise self._failure(error) from error
        return list(zip(runs, (dropped for _, dropped in heard), strict=True))

    @staticmethod
    def _failure(error: Exception) -> DeviceError:
        cure = "give the queues a fifo_depth, or run a shorter or sparser recording"
        if isinstance(error, OverflowError):
            cure = "move the recording's times nearer to 0, or make the constants of time shorter"
        return DeviceError(f"the timed run was given up: {error}; {cure}")

    def _loaded(self) -> tuple[Program, _core.TimedChip]:
        if self._program is None or self._chip is None:
            raise DeviceError("the timed device holds no program: call load(program) first")
        return self._program, self._chip


def _edges(monitor: Monitor) -> NDArray[np.int64]:
    return np.array(monitor.window_edges_us, np.int64)


def _watched(program: Program, monitor: Monitor) -> list[_core.Watched]:
    return [
        (core.layer in monitor.counts, core.layer in monitor.potentials, core.layer in monitor.spikes)
        for core in program.cores
    ]


def _trace(program: Program, events: Events, run: _core.TimedRun, dropped: int) -> Trace:
    layers = [core.layer for core in program.cores]
    worked = run["end_ns"] > 1000 * events.start_us
    bounds = (events.start_us, max(events.stop_us, run["end_ns"] // 1000 + 1) if worked else events.stop_us)

    def by_layer(rows: Sequence[Any]) -> dict[str, Any]:
        return {layer: row for layer, row in zip(layers, rows, strict=True) if row is not None}

    def streams(columns: Sequence[_core.Columns | None], shapes: list[Any]) -> dict[str, Events]:
        kept = zip(layers, columns, shapes, strict=True)
        return {layer: Events(*column, shape, *bounds) for layer, column, shape in kept if column is not None}

    def maps(rows: Sequence[NDArray[Any] | None]) -> dict[str, NDArray[Any]]:
        return {layer: row.transpose(0, 3, 1, 2) for layer, row in by_layer(rows).items()}

    outputs = [core.layer for core in program.cores if core.core in program.outputs]
    load = [CoreLoad(**dict(zip(_LOAD_NAMES, row, strict=True))) for row in run["load"].tolist()]
    return Trace(
        outputs=streams(run["outputs"], [core.out_shape for core in program.cores]),
        counters={
            layer: Counters(**dict(zip(COUNTER_NAMES, row, strict=True)))
            for layer, row in zip(layers, run["counters"].tolist(), strict=True)
        },
        span_us=events.duration_us,
        counts=maps(run["counts"]),
        potentials=maps(run["potentials"]),
        spikes=streams(run["spikes"], [core.neuron_shape for core in program.cores]),
        lost=run["lost"],
        metrics={} if program.dvs is None else {DVS_DROPPED: float(dropped)},
        timing=TimingTrace(
            latency_ns={layer: by_layer(run["latency_ns"])[layer] for layer in outputs},
            output_ns={layer: by_layer(run["output_ns"])[layer] for layer in outputs},
            load=by_layer(load[:-1]),
            input_load=load[-1],
            end_ns=run["end_ns"],
        ),
    )


def _stacked(maps: Sequence[NDArray[Any]], core: CoreConfig, dtype: type[np.generic]) -> NDArray[Any]:
    """Return [B, H, W, C] maps as one array, also where there is none."""
    channels, height, width = core.neuron_shape
    return np.array(maps, dtype).reshape(-1, height, width, channels)


def _batched(
    program: Program, runs: Sequence[list[Any]], layers: Sequence[str], n_windows: int, dtype: type[np.generic]
) -> dict[str, NDArray[Any]]:
    """Return each layer's maps as [T, B, C, H, W], features last in memory."""
    place = {core.layer: i for i, core in enumerate(program.cores)}
    batched = {}
    for layer in layers:
        channels, height, width = program.layer(layer).neuron_shape
        maps = np.zeros((n_windows, len(runs), height, width, channels), dtype)
        for b, run in enumerate(runs):
            maps[:, b] = run[place[layer]]
        batched[layer] = maps.transpose(0, 1, 4, 2, 3)
    return batched
