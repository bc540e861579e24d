"""A device in a process of its own, on whichever machine of a Ray cluster has room."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from chiploop.chip.device import DEVICES, BatchTrace, Device, DeviceInfo, Monitor, Trace
from chiploop.chip.profile import ChipProfile
from chiploop.chip.program import Program
from chiploop.cluster.session import connect
from chiploop.errors import ChiploopError, DeviceError, DeviceLostError, DeviceTimeoutError
from chiploop.events.types import Events

START_S, TIMEOUT_S, SHORT_S = 60.0, 60.0, 2.0
"""Deadlines of starting a process with the device in it, of a call, and of closing."""


class Host:
    """What runs in the process of its own: a device."""

    _device: Device

    def open(self, name: str, threads: int | None, profile: ChipProfile | None) -> DeviceInfo:
        """Open the device by its name, and say what it is; not in the constructor, whose errors Ray would wrap."""
        from chiploop.chip.open import open_named  # which knows this file in turn

        self._device = open_named(name, threads=threads, profile=profile)
        return self._device.info

    def load(self, program: Program) -> None:
        """Take a program."""
        self._device.load(program)

    def run(self, events: Events, monitor: Monitor | None) -> Trace:
        """Run one stream on from the present state."""
        return self._device.run(events, monitor=monitor)

    def run_batch(self, batch: Sequence[Events], monitor: Monitor | None) -> BatchTrace:
        """Run every stream from reset state."""
        return self._device.run_batch(batch, monitor=monitor)

    def reset(self) -> None:
        """Bring every state to zero."""
        self._device.reset()

    def close(self) -> None:
        """Give the device back."""
        self._device.close()


@DEVICES.register("ray")
class ActorDevice:
    """A device in a process of its own on a Ray cluster, named `ray:name`; `ray:4xname` is a pool of four.

    It does and reports what the named device does, bit for bit. Without a cluster ($RAY_ADDRESS, or one that this
    process is connected to), Ray is started on this machine, and ends with this process. The device takes no processor
    of those that Ray gives to tasks: a task that has one in its loop would wait for itself. `threads` bounds its own.

    Raises what the device raises; DeviceTimeoutError when `timeout_s` is up, DeviceLostError when its process or its
    machine is gone (open it anew), ClusterError when there is no Ray.
    """

    def __init__(
        self,
        name: str = "virtual",
        *,
        threads: int | None = 1,
        timeout_s: float = TIMEOUT_S,
        profile: ChipProfile | None = None,
    ) -> None:
        self._name, self._timeout_s = name, timeout_s
        self._ray, _ = connect()
        # Not restarted by Ray: a fresh process would have no program, and who holds the device must know.
        self._host: Any = self._ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy="SPREAD")(Host).remote()
        try:
            info: DeviceInfo = self._call("open", name, threads, profile, within_s=START_S)
            self._info = dataclasses.replace(info, elsewhere=True)
        except BaseException:
            self._end()
            raise

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""
        return self._info

    def load(self, program: Program) -> None:
        """Take a program; the state is reset."""
        self._call("load", program)

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state."""
        trace: Trace = self._call("run", events, monitor)
        return trace

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state."""
        trace: BatchTrace = self._call("run_batch", list(batch), monitor)
        return trace

    def reset(self) -> None:
        """Bring every state to zero."""
        self._call("reset")

    def close(self) -> None:
        """Give the device back and end its process; one that is gone is no error any more."""
        if self._host is None:
            return
        with contextlib.suppress(ChiploopError):
            self._call("close", within_s=SHORT_S)
        self._end()

    def __enter__(self) -> ActorDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self) -> None:
        host, self._host = self._host, None
        if host is not None and self._ray.is_initialized():
            self._ray.kill(host)

    def _call(self, method: str, *arguments: Any, within_s: float | None = None) -> Any:
        if self._host is None or not self._ray.is_initialized():
            raise DeviceError(f"the device ray:{self._name} is closed: open it anew and load(program) first")
        limit_s = self._timeout_s if within_s is None else within_s
        errors = self._ray.exceptions
        try:
            return self._ray.get(getattr(self._host, method).remote(*arguments), timeout=limit_s)
        except errors.GetTimeoutError as error:
            raise DeviceTimeoutError(f"ray:{self._name} did not answer {method} within {limit_s:g} s") from error
        except errors.RayTaskError as error:
            if isinstance(error.cause, ChiploopError):
                raise error.cause from None  # what went on in its process is no news to who calls
            raise DeviceError(f"ray:{self._name} failed in {method}: {error.cause!r}") from error
        except errors.RayError as error:
            raise DeviceLostError(f"the process of ray:{self._name} is gone in {method}: open it anew") from error
