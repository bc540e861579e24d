"""The oracle: the chip contract in plain Python, one update at a time, sharing no code with the compiled core.

It is slow on purpose: each line can be held against the contract, and the compiled core is held against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from chiploop.chip.device import DEVICES, BatchTrace, DeviceInfo, Monitor, Trace
from chiploop.chip.oracle_chip import OracleChip, OracleRun, run_each
from chiploop.chip.oracle_core import Spike
from chiploop.chip.program import Program
from chiploop.errors import DeviceError
from chiploop.events.types import Events

INPUT = -1
"""Position of the input among the sources of a core: before every core."""
TICK = (0,)
EVENT = (1,)


@DEVICES.register("oracle")
class OracleDevice:
    """The chip contract, literally; for tests and for doubts, at some hundred thousand updates a second.

    Instant time: a spike carries the time of the event, or of the edge of the slow clock, that caused it. The cores run
    one after the other in the program's order, each with the whole sequence that it hears: events in the order of
    (time, position of the source with the input first, place in the source's stream), a clock edge before the events of
    its time.

    >>> import numpy as np
    >>> from chiploop.chip.program import CoreConfig, Target
    >>> from chiploop.events.types import SensorShape
    >>> pixel = SensorShape(1, 1, 1)
    >>> neuron = CoreConfig(core=0, layer="out", weight=np.full((1, 1, 1, 1), 3, np.int8), threshold=5, floor=0,
    ...     reset="subtract", spikes_per_update="one", stride=1, padding=0, pool=0, in_shape=pixel, neuron_shape=pixel,
    ...     targets=(), bias=np.array([-1], np.int16))
    >>> program = Program(profile_hash="", quant_hash="", cores=(neuron,), input_shape=pixel, inputs=(Target(0),),
    ...     outputs=(0,), clock_us=2)
    >>> device = OracleDevice()
    >>> device.load(program)
    >>> device.run(Events.from_columns([0, 1, 2, 3], [0] * 4, [0] * 4, [0] * 4, pixel)).outputs["out"].t_us.tolist()
    [1, 3]
    """

    def __init__(self) -> None:
        self._chip: OracleChip | None = None

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""
        return DeviceInfo(name="oracle", kind="simulated")

    def load(self, program: Program) -> None:
        """Take a program; the state is reset."""
        self._chip = OracleChip(program)

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state."""
        return _run(self._loaded(), events, monitor or Monitor())[1]

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state; the state of `run` is left alone."""
        return run_each(self._loaded().program, batch, monitor or Monitor(), _run)

    def reset(self) -> None:
        """Bring every state to zero."""
        self._loaded().reset()

    def close(self) -> None:
        """Forget the program."""
        self._chip = None

    def __enter__(self) -> OracleDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _loaded(self) -> OracleChip:
        if self._chip is None:
            raise DeviceError("the oracle holds no program: call load(program) first")
        return self._chip


Heard = tuple[int, tuple[int, ...], Spike]
"""What a core meets: time, order among what has the same time, address."""


def _run(chip: OracleChip, events: Events, monitor: Monitor) -> tuple[OracleRun, Trace]:
    stream = chip.begin(events, monitor)
    seen = OracleRun(chip, events, monitor)
    ticks = chip.ticks(events)
    inboxes: list[list[Heard]] = [[] for _ in chip.cores]

    def send(source: int, place: int, t: int, event: Spike) -> None:
        core = None if source == INPUT else chip.cores[source]
        for nth, (position, address) in enumerate(chip.ways(core, event)):
            inboxes[position].append((t, (*EVENT, source, place, nth), address))

    for place, (t, event) in enumerate(stream):
        send(INPUT, place, t, event)
    for position, core in enumerate(chip.cores):
        clocked: list[Heard] = [(t, TICK, (0, 0, 0)) for t in ticks] if core.has_bias else []
        _run_core(seen, position, sorted(clocked + inboxes[position]))
        for place, (t, spike) in enumerate(seen.spikes[position]):
            send(position, place, t, spike)
            leaving = chip.leaving(core, spike)
            if leaving is not None and chip.is_output(core):
                seen.outputs[position].append((t, leaving))
    return seen, seen.trace([core.counters() for core in chip.cores])


def _run_core(seen: OracleRun, position: int, heard: list[Heard]) -> None:
    """Run one core through all that it meets, in order."""
    core, spikes = seen.chip.cores[position], seen.spikes[position]
    edges = list(seen.monitor.window_edges_us[1:])
    for t, order, event in heard:
        while edges and edges[0] <= t:
            seen.snap(position, edges.pop(0))
        spikes += [(t, spike) for spike in (core.tick(t) if order == TICK else core.hear(t, event))]
    for edge in edges:
        seen.snap(position, edge)
