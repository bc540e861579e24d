"""The timed oracle: the chip contract in plain Python where processing takes time."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from chiploop.chip.device import DEVICES, BatchTrace, DeviceInfo, Monitor, Trace
from chiploop.chip.oracle_agenda import Simulation
from chiploop.chip.oracle_chip import OracleChip, OracleRun, run_each
from chiploop.chip.profile import read_profile
from chiploop.chip.program import Program
from chiploop.chip.timing import Timing
from chiploop.errors import DeviceError
from chiploop.events.types import Events

_DEFAULT_PROFILE = "speck2f"


@DEVICES.register("timed-oracle")
class TimedOracle:
    """The timed model of the chip, literally: cores that take time, queues that fill, latencies in ns.

    A spike happens when the update that causes it is through. Runs in a row keep the states; each goes on until all
    work is done, so that one run is two only where the chip had come to rest in between. Without a `timing`, the
    constants are those of speck2f.

    >>> import numpy as np
    >>> from chiploop.chip.program import CoreConfig, Target
    >>> from chiploop.events.types import SensorShape
    >>> pixel = SensorShape(1, 1, 1)
    >>> neuron = CoreConfig(core=0, layer="out", weight=np.full((1, 1, 1, 1), 5, np.int8), threshold=5, floor=0,
    ...     reset="subtract", spikes_per_update="one", stride=1, padding=0, pool=0, in_shape=pixel, neuron_shape=pixel,
    ...     targets=())
    >>> program = Program(profile_hash="", quant_hash="", cores=(neuron,), input_shape=pixel, inputs=(Target(0),),
    ...     outputs=(0,))
    >>> device = TimedOracle(Timing(event_ns=800, synop_ns=100, hop_ns=50))
    >>> device.load(program)
    >>> timing = device.run(Events.from_columns([0, 0, 1], [0] * 3, [0] * 3, [0] * 3, pixel)).timing
    >>> timing.latency_ns["out"].tolist(), timing.load["out"].wait_ns
    ([900, 1800, 1700], 1700)
    """

    def __init__(self, timing: Timing | None = None) -> None:
        self._timing = timing or Timing.of(read_profile(_DEFAULT_PROFILE))
        self._chip: OracleChip | None = None

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""
        return DeviceInfo(name="timed-oracle", kind="simulated")

    def load(self, program: Program) -> None:
        """Take a program; the state is reset."""
        self._chip = OracleChip(program)

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state, until all its work is done."""
        return self._run(self._loaded(), events, monitor or Monitor())[1]

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state; the state of `run` is left alone."""
        return run_each(self._loaded().program, batch, monitor or Monitor(), self._run)

    def reset(self) -> None:
        """Bring every state to zero."""
        self._loaded().reset()

    def close(self) -> None:
        """Forget the program."""
        self._chip = None

    def __enter__(self) -> TimedOracle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, chip: OracleChip, events: Events, monitor: Monitor) -> tuple[OracleRun, Trace]:
        stream = chip.begin(events, monitor)
        seen = OracleRun(chip, events, monitor)
        return seen, Simulation(seen, self._timing, stream).run()

    def _loaded(self) -> OracleChip:
        if self._chip is None:
            raise DeviceError("the timed oracle holds no program: call load(program) first")
        return self._chip
