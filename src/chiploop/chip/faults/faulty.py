"""Any device, with faults."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from chiploop.chip.device import BatchTrace, Device, DeviceInfo, Monitor, Trace
from chiploop.chip.faults.fault import CallFault, Fault, ProgramFault, StreamFault
from chiploop.chip.program import Program
from chiploop.events.types import Events
from chiploop.rng import stream


class FaultyDevice:
    """A device behind its faults; `seed` is the individual chip.

    Faults of memory and neurons are drawn once a chip: every load meets the same. Faults of streams depend on the seed
    and on the stream's own events, so that a batch, its order and the number of threads change nothing. Faults of the
    link are drawn run by run since the device was made. Faults of one kind act in their order; those of other kinds
    beside them change nothing about what they draw.

    >>> from chiploop.chip.faults import FaultyDevice, make_faults
    >>> from chiploop.chip.virtual import VirtualDevice
    >>> FaultyDevice(VirtualDevice(), make_faults({"lost": {"share": 0.1}}), seed=1).info.name
    'virtual with LostEvents(share=0.1)'
    """

    def __init__(self, device: Device, faults: Sequence[Fault], *, seed: int) -> None:
        self._device = device
        self._faults = tuple(faults)
        self._seed = seed
        self._calls = 0

    @property
    def info(self) -> DeviceInfo:
        """What the device is, and what is wrong with it."""
        inner = self._device.info
        wrong = ", ".join(map(repr, self._faults)) or "no faults"
        return DeviceInfo(
            name=f"{inner.name} with {wrong}",
            kind=inner.kind,
            observes=inner.observes,
            deterministic=inner.deterministic,
            elsewhere=inner.elsewhere,
        )

    def load(self, program: Program) -> None:
        """Take a program, and change it as this chip's defects do."""
        for fault in self._faults:
            if isinstance(fault, ProgramFault):
                program = fault.apply(program, self._seed)
        self._device.load(program)

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one disturbed stream on from the present state."""
        self._call()
        return self._device.run(self.disturbed(events), monitor=monitor)

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every disturbed stream from reset state."""
        self._call()
        return self._device.run_batch([self.disturbed(events) for events in batch], monitor=monitor)

    def reset(self) -> None:
        """Bring every state to zero."""
        self._device.reset()

    def close(self) -> None:
        """Give the device back."""
        self._device.close()

    def __enter__(self) -> FaultyDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def disturbed(self, events: Events) -> Events:
        """Return what arrives of a stream."""
        for number, fault in enumerate(fault for fault in self._faults if isinstance(fault, StreamFault)):
            generator = stream(self._seed, "fault", number, type(fault).__name__, _fingerprint(events))
            events = fault.disturb(events, generator)
        return events

    def _call(self) -> None:
        call, self._calls = self._calls, self._calls + 1
        for number, fault in enumerate(fault for fault in self._faults if isinstance(fault, CallFault)):
            fault.before_call(call, stream(self._seed, "fault", number, type(fault).__name__, call))


def _fingerprint(events: Events) -> int:
    """Return a number that tells streams apart; a checksum will do, since it only seeds."""
    value = 0
    for column in (events.t_us, events.channel, events.y, events.x):
        value = zlib.crc32(np.ascontiguousarray(column).tobytes(), value)
    return value
