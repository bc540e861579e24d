"""Devices behind a server of this process, and devices that fail when a test says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from chiploop.chip.device import DEVICES, BatchTrace, Device, DeviceInfo, Monitor, Trace
from chiploop.chip.open import open_named
from chiploop.chip.program import Program
from chiploop.chip.remote import RemoteDevice
from chiploop.chip.remote.server import DeviceServer
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceLostError
from chiploop.events.types import Events

TOKEN = "a-token-for-tests-only"


@contextmanager
def remote(open_device: Callable[[], Device] = VirtualDevice, **options: Any) -> Iterator[RemoteDevice]:
    """Serve a device on this machine and open it as a remote one."""
    with DeviceServer(open_device, token=TOKEN) as server, RemoteDevice(server.address, TOKEN, **options) as device:
        yield device


@contextmanager
def opened(name: str) -> Iterator[Device]:
    """Open a registered device; `remote` is the virtual one behind a server, `pool` and `ray` are two virtual ones.

    Ray must run already: a device that has to start it takes seconds.
    """
    if name in ("pool", "ray"):
        with open_named(f"{name}:2xvirtual") as device:
            yield device
        return
    if name == "remote":
        with remote() as device:
            yield device
        return
    with DEVICES.get(name)() as device:
        yield device


Fault = Exception | Callable[[BatchTrace], BatchTrace]
"""What befalls a call: an error, or an answer that is spoilt."""


class Script:
    """Which calls of `run_batch` fail and how, numbered from 0 over all devices that were opened.

    A device that was lost stays lost: only a newly opened one works.
    """

    def __init__(self, faults: Mapping[int, Fault] | None = None, *, refuse_opening: int = 0) -> None:
        self.faults = dict(faults or {})
        self.refuse_opening = refuse_opening
        self.calls = self.opened = self.closed = self.loads = self.resets = 0

    def open(self) -> Device:
        """Open a device that follows the script."""
        self.opened += 1
        if 1 < self.opened <= 1 + self.refuse_opening:
            raise DeviceLostError("nobody answers")
        return ScriptedDevice(self)


class ScriptedDevice:
    """The virtual device, but for what its script says."""

    def __init__(self, script: Script) -> None:
        self._script, self._inner, self._lost = script, VirtualDevice(threads=1), False

    @property
    def info(self) -> DeviceInfo:
        return self._inner.info

    def load(self, program: Program) -> None:
        self._require_there()
        self._script.loads += 1
        self._inner.load(program)

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        fault = self._fault()
        if isinstance(fault, Exception):
            raise fault
        return self._inner.run(events, monitor=monitor)

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        fault = self._fault()
        if isinstance(fault, Exception):
            raise fault
        trace = self._inner.run_batch(batch, monitor=monitor)
        return trace if fault is None else fault(trace)

    def reset(self) -> None:
        self._require_there()
        self._script.resets += 1
        self._inner.reset()

    def close(self) -> None:
        self._script.closed += 1
        self._inner.close()

    def __enter__(self) -> ScriptedDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fault(self) -> Fault | None:
        self._require_there()
        number, self._script.calls = self._script.calls, self._script.calls + 1
        fault = self._script.faults.get(number)
        self._lost = isinstance(fault, DeviceLostError)
        return fault

    def _require_there(self) -> None:
        if self._lost:
            raise DeviceLostError("it is still gone")


def without(kind: str, layer: str) -> Callable[[BatchTrace], BatchTrace]:
    """Return the fault that leaves a layer out of an answer."""

    def spoil(trace: BatchTrace) -> BatchTrace:
        table = {name: array for name, array in getattr(trace, kind).items() if name != layer}
        return dataclasses.replace(trace, **{kind: table})

    return spoil
