"""The virtual device: the compiled event-driven chip simulator behind the device protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import ModuleType, TracebackType
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
from chiploop.chip.program import MAX_CLOCK_EDGES, MAX_TIME_US, CoreConfig, Program
from chiploop.errors import DeviceError, nearest
from chiploop.events.types import Events

if TYPE_CHECKING:
    from chiploop import _core

_NO_MONITOR = Monitor()
DVS_DROPPED = "dvs_dropped"
"""Name of the trace's metric that counts what the DVS layer kept back."""


@DEVICES.register("virtual")
class VirtualDevice:
    """An event-driven spiking-CNN chip in instant time: output events carry the time of their cause.

    `threads` bounds the workers of `run_batch` (None: one a processor); results do not depend
    on it, nor on `isa` ("auto": the fastest here; "avx512", "avx2", "neon", "portable"). Raises DeviceError when the
    compiled core is missing, and `load` does where this machine lacks the instruction set.

    >>> from chiploop.chip.program import CoreConfig, Program, Target
    >>> from chiploop.events.types import SensorShape
    >>> neuron = CoreConfig(core=0, layer="out", weight=np.full((1, 1, 1, 1), 3, np.int8), threshold=5, floor=0,
    ...     reset="subtract", spikes_per_update="one", stride=1, padding=0, pool=0, in_shape=SensorShape(1, 1, 1),
    ...     neuron_shape=SensorShape(1, 1, 1), targets=())
    >>> program = Program(profile_hash="", quant_hash="", cores=(neuron,), input_shape=neuron.in_shape,
    ...     inputs=(Target(0),), outputs=(0,))
    >>> three = Events.from_columns([1, 2, 3], [0, 0, 0], [0, 0, 0], [0, 0, 0], SensorShape(1, 1, 1))
    >>> with VirtualDevice() as device:
    ...     device.load(program)
    ...     trace = device.run(three)
    >>> trace.outputs["out"].t_us.tolist(), trace.counters["out"].synops
    ([2], 3)
    """

    def __init__(self, *, threads: int | None = None, isa: str = "auto") -> None:
        if threads is not None and threads < 1:
            raise DeviceError(f"threads = {threads} must be at least 1, or None for one a processor")
        self._threads = threads or os.cpu_count() or 1
        self._isa = isa
        self._module = import_core()
        self._program: Program | None = None
        self._chip: _core.Chip | None = None
        self._dvs: DvsState | None = None

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""
        return DeviceInfo(name="virtual", kind="simulated")

    @property
    def isa(self) -> str:
        """Instruction set that the compiled core uses: avx512, avx2, neon or portable."""
        return str(self._module.best_isa()) if self._isa == "auto" else self._isa

    def load(self, program: Program) -> None:
        """Take a program; the state is reset."""
        try:
            self._chip = self._module.Chip(
                [core_arguments(core) for core in program.cores],
                input=tuple(program.heard_shape),
                isa=self._isa,
                **wiring(program),
            )
        except ValueError as error:
            raise DeviceError(f"the compiled core refused the program: {error}") from error
        self._program = program
        self._dvs = None if program.dvs is None else DvsState(program.dvs)

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state."""
        program, chip = self._loaded()
        monitor = monitor or _NO_MONITOR
        require_runnable(program, events, monitor)
        heard, dropped = heard_events(program, events, self._dvs)
        sinks = _Observations(program, monitor, 1)
        wanted = [core.layer in monitor.spikes for core in program.cores]
        outputs, spikes = chip.run(stream_columns(heard), sinks.edges, sinks.to_core(self._module), wanted)
        bounds = (events.start_us, events.stop_us)
        return Trace(
            outputs={
                core.layer: Events(*columns, core.out_shape, *bounds)
                for core, columns in zip(program.cores, outputs, strict=True)
                if columns is not None
            },
            counters={
                core.layer: Counters(**dict(zip(COUNTER_NAMES, row[0].tolist(), strict=True)))
                for core, row in zip(program.cores, sinks.counters, strict=True)
            },
            span_us=events.duration_us,
            counts={layer: maps[:, 0] for layer, maps in sinks.counts.items()},
            potentials={layer: maps[:, 0] for layer, maps in sinks.potentials.items()},
            spikes={
                core.layer: Events(*columns, core.neuron_shape, *bounds)
                for core, columns in zip(program.cores, spikes, strict=True)
                if columns is not None
            },
            lost=int(sinks.lost[0]),
            metrics={} if program.dvs is None else {DVS_DROPPED: float(dropped)},
        )

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state, in parallel; the state of `run` is left alone."""
        program, chip = self._loaded()
        monitor = monitor or _NO_MONITOR
        require_no_spikes(monitor)
        for sample, events in enumerate(batch):
            require_runnable(program, events, monitor, where=f"stream {sample} of the batch: ")
        sinks = _Observations(program, monitor, len(batch))
        streams = [stream_columns(heard_events(program, events, None)[0]) for events in batch]
        chip.run_batch(streams, sinks.edges, sinks.to_core(self._module), self._threads)
        return BatchTrace(
            output_counts=flat_maps(sinks.totals),
            output_potentials=flat_maps(sinks.last),
            counters={core.layer: table for core, table in zip(program.cores, sinks.counters, strict=True)},
            counts=sinks.counts,
            potentials=sinks.potentials,
            lost=sinks.lost,
        )

    def reset(self) -> None:
        """Bring every state to zero."""
        self._loaded()[1].reset()
        if self._dvs is not None:
            self._dvs.reset()

    def close(self) -> None:
        """Forget the program."""
        self._program = self._chip = None

    def __enter__(self) -> VirtualDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _loaded(self) -> tuple[Program, _core.Chip]:
        if self._program is None or self._chip is None:
            raise DeviceError("the virtual device holds no program: call load(program) first")
        return self._program, self._chip


class _Observations:
    """The arrays that a run writes into: made here, filled by the core, seen by the caller as [T, B, C, H, W]."""

    def __init__(self, program: Program, monitor: Monitor, batch: int) -> None:
        self._program = program
        self._windows = (monitor.n_windows, batch)
        self.edges = np.array(monitor.window_edges_us, np.int64)
        self.counters = np.zeros((len(program.cores), batch, len(COUNTER_NAMES)), np.int64)
        self.lost = np.zeros(batch, np.int64)
        last = _map_shape(program.layer(program.output_layer))
        self.totals = np.zeros((batch, *last), np.int64)
        self.last = np.zeros((batch, *last), np.int16)
        self.counts = {layer: self._maps(layer, np.uint16) for layer in monitor.counts}
        self.potentials = {layer: self._maps(layer, np.int16) for layer in monitor.potentials}

    def _maps(self, layer: str, dtype: type[np.generic]) -> NDArray[Any]:
        # Features last in memory, as the core writes them; torch takes such strides as its channels-last format.
        # Empty: the core writes every value of them.
        maps = np.empty((*self._windows, *_map_shape(self._program.layer(layer))), dtype)
        return maps.transpose(0, 1, 4, 2, 3)

    def to_core(self, module: ModuleType) -> _core.Sinks:
        sinks: _core.Sinks = module.Sinks(
            counters=self.counters,
            lost=self.lost,
            totals=self.totals,
            last=self.last,
            counts=[_as_written(self.counts.get(core.layer)) for core in self._program.cores],
            potentials=[_as_written(self.potentials.get(core.layer)) for core in self._program.cores],
        )
        return sinks


def require_no_spikes(monitor: Monitor) -> None:
    """Raise DeviceError when a batch is asked for spike events, which a BatchTrace does not hold."""
    if monitor.spikes:
        raise DeviceError(
            f"monitor.spikes = {monitor.spikes}: a batch reports no spike events; use run, or monitor counts"
        )


def require_runnable(program: Program, events: Events, monitor: Monitor, *, where: str = "") -> None:
    """Raise DeviceError unless the events fit the program and the monitor names its layers and covers the events."""
    if events.shape != program.input_shape:
        raise DeviceError(
            f"{where}events have shape {tuple(events.shape)}, the program takes {tuple(program.input_shape)} "
            "(channels, height, width); crop, pool or merge the recording first"
        )
    layers = [core.layer for core in program.cores]
    for kind, names in (("counts", monitor.counts), ("potentials", monitor.potentials), ("spikes", monitor.spikes)):
        for name in names:
            if name not in layers:
                raise DeviceError(f"monitor.{kind} names {name!r}, which the program lacks: {nearest(name, layers)}")
    edges = monitor.window_edges_us
    if edges and len(events) and not (edges[0] <= events.t_us[0] and events.t_us[-1] < edges[-1]):
        raise DeviceError(
            f"{where}windows cover [{edges[0]}, {edges[-1]}), but events lie in [{events.t_us[0]}, {events.t_us[-1]}]; "
            "widen the first or the last window, or crop the recording"
        )
    if program.clock_us is not None:
        n_edges = program.n_clock_edges(events.start_us, events.stop_us)
        if n_edges > MAX_CLOCK_EDGES or not -MAX_TIME_US <= events.start_us <= events.stop_us <= MAX_TIME_US:
            raise DeviceError(
                f"{where}{n_edges:,} edges of the slow clock fall into [{events.start_us}, {events.stop_us}), at most "
                f"{MAX_CLOCK_EDGES:,} are run, within {MAX_TIME_US} us of 0; let the recording's times begin near 0"
            )
    if edges and program.clock_us is not None and not (edges[0] <= events.start_us and events.stop_us <= edges[-1]):
        raise DeviceError(
            f"{where}windows cover [{edges[0]}, {edges[-1]}), but the slow clock ticks in [{events.start_us}, "
            f"{events.stop_us}); widen the first or the last window, or crop the recording"
        )


def _map_shape(core: CoreConfig) -> tuple[int, int, int]:
    channels, height, width = core.neuron_shape
    return height, width, channels


def _as_written(maps: NDArray[Any] | None) -> NDArray[Any] | None:
    return None if maps is None else maps.transpose(0, 1, 3, 4, 2)
