"""One client at a time: who holds a device, and until when."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from chiploop.errors import DeviceError, DeviceLostError

LEASE_S = 30.0
"""Seconds after which a client that gives no sign of life can be replaced; live ones give one three times as often."""


@dataclass(slots=True)
class _Session:
    name: str
    owner: str
    ends: float
    loaded: bool = False


class Lease:
    """The device's one session. It ends when its client says so, or when it has run out and another client comes.

    A client that was cut off comes back with the same `owner` and takes its own place at once. Safe between threads.
    """

    def __init__(self, seconds: float = LEASE_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Session | None = None

    def take(self, owner: str) -> str:
        """Begin a session and return its name; DeviceError when another client holds the device."""
        with self._lock:
            left = 0.0 if self._held is None else self._held.ends - self._clock()
            if self._held is not None and left > 0 and self._held.owner != owner:
                raise DeviceError(
                    "the device is in use by another client; try again when that one has closed it "
                    f"(if it died, in at most {left:.0f} s)"
                )
            self._held = _Session(secrets.token_hex(16), owner, self._clock() + self.seconds)
            return self._held.name

    def renew(self, name: str) -> None:
        """Prolong a session; DeviceLostError when it is not the present one."""
        with self._lock:
            self._require(name).ends = self._clock() + self.seconds

    def loaded(self, name: str) -> None:
        """Note that the session has loaded a program."""
        with self._lock:
            self._require(name).loaded = True

    def require_loaded(self, name: str) -> None:
        """Raise DeviceError unless the session loaded a program itself: it must not meet that of another one."""
        with self._lock:
            if not self._require(name).loaded:
                raise DeviceError("the remote device holds no program of this session: call load(program) first")

    def end(self, name: str) -> bool:
        """End a session, if it is the present one; return whether it was."""
        with self._lock:
            if self._held is None or self._held.name != name:
                return False
            self._held = None
            return True

    def _require(self, name: str) -> _Session:
        if self._held is None or self._held.name != name:
            raise DeviceLostError(
                "the session on the remote device has ended: open the device anew and load the program"
            )
        return self._held
