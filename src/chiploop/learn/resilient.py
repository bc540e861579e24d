"""A device that outlives its failures: calls are made again, a lost device is opened anew."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, TypeVar

from chiploop.chip.device import BatchTrace, Device, DeviceInfo, Monitor, Trace
from chiploop.chip.plausible import require_plausible
from chiploop.chip.program import Program
from chiploop.errors import DeviceError, DeviceLostError
from chiploop.events.types import Events
from chiploop.learn.failure import DEVICE_FAILURES, FailureLog

T = TypeVar("T")

LONGEST_PAUSE_S = 60.0
"""Longest pause before a call is made again; pauses double up to it."""


class ResilientDevice:
    """A device behind a policy for its failures (`log.policy`); all that happens is noted in the log.

    The device is opened at its first use. Batches, loading and resetting are retried, with the program loaded again
    before; so is a `run` from reset state. A failure in a later `run` is raised, since the states before it are gone:
    `reset` or `load` comes first then. Every batch's trace must be plausible (`chiploop.chip.plausible`), else the
    call has failed.

    When nothing fails, and when a retry helps, a batch gives the same bits as on the device itself.
    """

    def __init__(
        self,
        open_device: Callable[[], Device],
        log: FailureLog | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._open_device, self._sleep = open_device, sleep
        self.log = FailureLog() if log is None else log
        self._device: Device | None = None
        self._program: Program | None = None
        self._stale = False  # whether the program must be loaded before anything else
        self._state: Literal["fresh", "used", "unknown"] = "fresh"

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""
        return self._attempt(lambda device: device.info)

    def load(self, program: Program) -> None:
        """Take a program; the state is reset."""
        before, self._program, self._stale = self._program, program, True
        try:
            self._attempt(lambda _: None)
        except BaseException:
            self._program, self._stale = before, True
            raise
        self._state = "fresh"

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state; retried from reset state only."""
        if self._state == "unknown":
            raise DeviceError("the device failed in mid-stream and its states are gone: call reset() or load(program)")
        retries = self.log.policy.retries if self._state == "fresh" else 0
        trace = self._attempt(lambda device: device.run(events, monitor=monitor), retries)
        self._state = "used"
        return trace

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state."""

        def run(device: Device) -> BatchTrace:
            trace = device.run_batch(batch, monitor=monitor)
            if self._program is not None:
                require_plausible(self._program, monitor or Monitor(), trace, len(batch), kind=device.info.kind)
            return trace

        return self._attempt(run)

    def reset(self) -> None:
        """Bring every state to zero."""
        self._attempt(lambda device: device.reset())
        self._state = "fresh"

    def close(self) -> None:
        """Give the device back; one that is lost is gone already."""
        device, self._device, self._program, self._stale = self._device, None, None, False
        self._state = "fresh"
        if device is not None:
            with contextlib.suppress(*DEVICE_FAILURES):
                device.close()

    def __enter__(self) -> ResilientDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self, action: Callable[[Device], T], retries: int | None = None) -> T:
        policy = self.log.policy
        most = policy.retries if retries is None else retries
        for attempt in itertools.count():
            try:
                return action(self._ready())
            except DEVICE_FAILURES as error:
                lost = isinstance(error, DeviceLostError)
                self._distrust(lost and policy.reopen)
                if attempt == most or (lost and not policy.reopen):
                    raise
                self.log.add(error, "reopened" if lost else "retried")
                self._sleep(min(policy.wait_s * 2.0 ** min(attempt, 60), LONGEST_PAUSE_S))
        raise AssertionError("unreachable: the loop returns or raises")

    def _ready(self) -> Device:
        """Return the device, open and with its program."""
        if self._device is None:
            self._device, self._stale = self._open_device(), True
        if self._stale and self._program is not None:
            self._device.load(self._program)
        self._stale = False
        return self._device

    def _distrust(self, lost: bool) -> None:
        """After a failure: what the device holds is not to be relied on."""
        self._stale = True
        if self._state == "used":
            self._state = "unknown"
        if lost and self._device is not None:
            device, self._device = self._device, None
            with contextlib.suppress(DeviceError):
                device.close()
