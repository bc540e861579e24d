"""Devices by name, as recipes and commands write them."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from chiploop.chip.device import DEVICES, Device
from chiploop.chip.profile import ChipProfile
from chiploop.chip.timing import Timing
from chiploop.errors import DeviceError, nearest

REMOTE = "remote"
"""Devices elsewhere are named `remote:host:port`."""


def split_name(name: str) -> tuple[str, str | None]:
    """Return a device's registered name and the address behind it, if it has one.

    Raises DeviceError with the nearest name.

    >>> split_name("virtual"), split_name("remote:lab.example:7070")
    (('virtual', None), ('remote', 'lab.example:7070'))
    """
    kind, sign, address = name.partition(":")
    if kind not in DEVICES.names():
        raise DeviceError(f"no device {kind!r}: {nearest(kind, DEVICES.names())}")
    if (kind == REMOTE) != bool(address) or (sign and not address):
        raise DeviceError(f"device {name!r}: a device elsewhere is remote:host:port, any other is its name alone")
    return kind, address or None


def device_opener(
    name: str,
    *,
    threads: int | None = None,
    timeout_s: float | None = None,
    profile: ChipProfile | None = None,
) -> Callable[[], Device]:
    """Return what opens a device, again and again if it is lost: a remote one takes its own session up again.

    `threads` bounds the workers of a compiled device (None: one a processor); a timed one takes its constants from the
    `profile`, where one is given; `timeout_s` is the deadline of each call to a remote one. Its token and certificate
    come from the environment, as `RemoteDevice` says.
    """
    kind, address = split_name(name)
    options: dict[str, object] = {}
    if kind in ("virtual", "timed"):
        options = {"threads": threads}
    if kind in ("timed", "timed-oracle") and profile is not None:
        options["timing"] = Timing.of(profile)
    if kind == "speck" and profile is not None:
        options["profile"] = profile
    if kind == REMOTE:
        options = {"address": address, "owner": secrets.token_hex(16)}
        if timeout_s is not None:
            options["timeout_s"] = timeout_s
    opened: Callable[..., Device] = DEVICES.get(kind)
    return lambda: opened(**options)


def open_named(
    name: str,
    *,
    threads: int | None = None,
    timeout_s: float | None = None,
    profile: ChipProfile | None = None,
) -> Device:
    """Open a device by its name: virtual, oracle, ..., or remote:host:port.

    >>> with open_named("oracle") as device:
    ...     device.info.kind
    'simulated'
    """
    return device_opener(name, threads=threads, timeout_s=timeout_s, profile=profile)()
