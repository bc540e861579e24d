"""What the far end does: the device's verbs as answers to messages."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from chiploop import tree
from chiploop.chip.device import BatchTrace, Device, DeviceInfo, Monitor, Trace
from chiploop.chip.program import Program
from chiploop.chip.remote import wire
from chiploop.chip.remote.lease import Lease
from chiploop.errors import ChiploopError, DataError, DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError

T = TypeVar("T")
Action = Callable[[wire.Parcel, "Call"], Mapping[str, Any]]
"""Answers one call: from the message to the fields of the reply."""

_MAX_TEXT = 4000
_DAY_S = 86_400.0
_log = logging.getLogger(__name__)


class Call(Protocol):
    """What gRPC tells of a call."""

    def time_remaining(self) -> float | None:
        """Return the seconds until the client gives up."""

    def is_active(self) -> bool:
        """Whether the client still waits."""


class Service:
    """A device's verbs for one session at a time, one call at a time."""

    def __init__(self, open_device: Callable[[], Device], lease: Lease) -> None:
        self._open_device, self._lease = open_device, lease
        self._device: Device | None = None
        self._busy = threading.Lock()
        self.actions: Mapping[str, Action] = {
            "Open": self._open,
            "Renew": self._renew,
            "Load": self._load,
            "Run": self._run,
            "RunBatch": self._run_batch,
            "Reset": self._reset,
            "Close": self._close,
        }

    def info(self) -> DeviceInfo:
        """Open the device if it is not open, and say what it is."""
        with self._busy:
            return self._opened().info

    def close(self, *, patience_s: float) -> bool:
        """Give the device back; False where it was still at work after `patience_s`, and was left so."""
        if not self._busy.acquire(timeout=patience_s):
            _log.warning("the device is still at work: it is left")
            return False
        try:
            self._drop()
        finally:
            self._busy.release()
        return True

    def _open(self, message: wire.Parcel, call: Call) -> Mapping[str, Any]:
        session = self._lease.take(str(_fields(message, owner=str)["owner"]))
        try:
            info = self._using(call, lambda device: device.info)
        except ChiploopError:
            self._lease.end(session)
            raise
        _log.info("a client has opened the device")
        return {"session": session, "lease_s": self._lease.seconds, "info": info}

    def _renew(self, message: wire.Parcel, _: Call) -> Mapping[str, Any]:
        self._lease.renew(_fields(message, session=str)["session"])
        return {}

    def _load(self, message: wire.Parcel, call: Call) -> Mapping[str, Any]:
        given = _fields(message, session=str, program=bytes)
        program = _read(given["program"], Program)

        def load(device: Device) -> None:
            device.load(program)
            self._lease.loaded(given["session"])

        self._using(call, load, check=lambda: self._lease.renew(given["session"]))
        return {}

    def _run(self, message: wire.Parcel, call: Call) -> Mapping[str, Any]:
        given = _fields(message, session=str, monitor=bytes, streams=wire.Streams)
        monitor = _read(given["monitor"], Monitor)
        (events,) = given["streams"].batch()

        def run(device: Device) -> Trace:
            return device.run(events, monitor=monitor)

        return {"trace": self._using(call, run, check=lambda: self._require_loaded(given["session"]))}

    def _run_batch(self, message: wire.Parcel, call: Call) -> Mapping[str, Any]:
        given = _fields(message, session=str, monitor=bytes, streams=wire.Streams)
        monitor, batch = _read(given["monitor"], Monitor), given["streams"].batch()

        def run(device: Device) -> BatchTrace:
            return device.run_batch(batch, monitor=monitor)

        return {"trace": self._using(call, run, check=lambda: self._require_loaded(given["session"]))}

    def _reset(self, message: wire.Parcel, call: Call) -> Mapping[str, Any]:
        session = _fields(message, session=str)["session"]

        self._using(call, lambda device: device.reset(), check=lambda: self._require_loaded(session))
        return {}

    def _close(self, message: wire.Parcel, call: Call) -> Mapping[str, Any]:
        session = _fields(message, session=str)["session"]

        def quieten(device: Device) -> None:
            with contextlib.suppress(DeviceError):  # nothing was loaded: nothing goes on
                device.reset()

        try:
            self._lease.renew(session)
            self._using(call, quieten)
        finally:
            if self._lease.end(session):
                _log.info("the client has closed the device")
        return {}

    def _require_loaded(self, session: str) -> None:
        self._lease.renew(session)
        self._lease.require_loaded(session)

    def _using(self, call: Call, use: Callable[[Device], T], *, check: Callable[[], None] = lambda: None) -> T:
        """Use the device alone; a client that has given up meanwhile gets nothing done any more.

        `check` raises where the session may not use it: a session that has ended is no loss of the device, which may be
        another client's by now.
        """
        left = call.time_remaining()
        if not self._busy.acquire(timeout=_DAY_S if left is None else min(left, _DAY_S)):
            raise DeviceTimeoutError("the remote device is still at work on an earlier call")
        try:
            if not call.is_active():
                raise DeviceTimeoutError("the client has given up")
            check()
            try:
                return use(self._opened())
            except DeviceLostError:
                self._drop()  # and the next call opens it anew
                raise
        finally:
            self._busy.release()

    def _opened(self) -> Device:
        if self._device is None:
            self._device = self._open_device()
        return self._device

    def _drop(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            with contextlib.suppress(ChiploopError):  # what is lost may not close
                device.close()


def answer(action: Action, request: bytes, call: Call) -> bytes:
    """Return the reply to a message; an error is a reply too, since gRPC's status holds little text."""
    try:
        reply = wire.pack(**action(_unpack(request), call))
        if len(reply) > wire.MAX_MESSAGE_BYTES:
            raise DeviceError(
                f"the answer takes {len(reply):,} bytes, more than the {wire.MAX_MESSAGE_BYTES:,} of a message: "
                "monitor less, or cut the recording"
            )
        return reply
    except ChiploopError as error:
        return _failure(error)
    except Exception as error:
        _log.exception("the device failed")
        return _failure(DeviceError(f"the remote device failed: {type(error).__name__}: {error}"))


def _failure(error: ChiploopError) -> bytes:
    return wire.pack(error=type(error).__name__, message=str(error)[:_MAX_TEXT])


def _unpack(request: bytes) -> wire.Parcel:
    try:
        return wire.unpack(request)
    except DataError as error:  # the link's fault: asking again may help
        raise ReadoutError(f"what reached the remote device is damaged: {error}") from error


def _fields(message: wire.Parcel, /, **hints: Any) -> dict[str, Any]:
    try:
        return message.take(**hints)
    except DataError as error:
        raise DeviceError(f"the remote device cannot read the call: {error}") from error


def _read(content: bytes, cls: type[T]) -> T:
    try:
        return tree.from_bytes(content, cls, where=f"the {cls.__name__.lower()}")
    except DataError as error:
        raise DeviceError(f"the remote device cannot take it: {error}; install the same chiploop on both") from error
