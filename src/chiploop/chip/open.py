"""Devices by name, as recipes and commands write them."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from functools import partial

from chiploop.chip.actors import ActorDevice
from chiploop.chip.device import DEVICES, Device
from chiploop.chip.pool import DevicePool
from chiploop.chip.profile import ChipProfile
from chiploop.chip.timing import Timing
from chiploop.errors import DeviceError, nearest

REMOTE, POOL, RAY = "remote", "pool", "ray"
"""Devices elsewhere are named `remote:host:port`, several as one `pool:name,name`, in processes on Ray `ray:name`."""

_TIMES = re.compile(r"([1-9][0-9]{0,3})x(.+)")


def split_name(name: str) -> tuple[str, str | None]:
    """Return a device's registered name and what stands behind it: an address, or the members of a pool.

    Raises DeviceError with the nearest name.

    >>> split_name("virtual"), split_name("remote:lab.example:7070")
    (('virtual', None), ('remote', 'lab.example:7070'))
    """
    kind, sign, behind = name.partition(":")
    if kind not in DEVICES.names():
        raise DeviceError(f"no device {kind!r}: {nearest(kind, DEVICES.names())}")
    if (kind in (REMOTE, POOL, RAY)) != bool(behind) or (sign and not behind):
        raise DeviceError(
            f"device {name!r}: a device elsewhere is remote:host:port, a pool is pool:2xvirtual or pool:name,name, "
            "one on Ray is ray:2xvirtual or ray:name; any other is its name alone"
        )
    if kind in (POOL, RAY):
        members_of(behind)
    return kind, behind or None


def members_of(listed: str) -> tuple[str, ...]:
    """Return the names of a pool's members, each of which may stand there as 2xname.

    Raises DeviceError for a name that is none, and for a pool in a pool.

    >>> members_of("2xvirtual,remote:lab:7070")
    ('virtual', 'virtual', 'remote:lab:7070')
    """
    found: list[str] = []
    for word in listed.split(","):
        times = _TIMES.fullmatch(word)
        member = times[2] if times else word
        if split_name(member)[0] in (POOL, RAY):
            raise DeviceError(f"device {member!r} stands in a pool already: write its members there by themselves")
        found += [member] * (int(times[1]) if times else 1)
    return tuple(found)


def simple_names(name: str) -> tuple[str, ...]:
    """Return the registered names of the devices that do the work behind a name.

    >>> simple_names("virtual"), simple_names("ray:2xvirtual,remote:lab:7070")
    (('virtual',), ('virtual', 'virtual', 'remote'))
    """
    kind, behind = split_name(name)
    if kind not in (POOL, RAY) or behind is None:
        return (kind,)
    return tuple(split_name(member)[0] for member in members_of(behind))


def device_opener(
    name: str,
    *,
    threads: int | None = None,
    timeout_s: float | None = None,
    profile: ChipProfile | None = None,
) -> Callable[[], Device]:
    """Return what opens a device, again and again if it is lost: a remote one takes its own session up again.

    `threads` bounds the workers of a compiled device (None: one a processor; members of a pool share them); a timed one
    takes its constants from the `profile`, where one is given; `timeout_s` is the deadline of each call to a remote one
    and to one on Ray. Token and certificate of a remote one come from the environment, as `RemoteDevice` says.
    """
    kind, behind = split_name(name)
    if kind in (POOL, RAY):
        assert behind is not None  # split_name saw to it
        return _pool_opener(kind, members_of(behind), threads, timeout_s, profile)
    options: dict[str, object] = {}
    if kind in ("virtual", "timed"):
        options = {"threads": threads}
    if kind in ("timed", "timed-oracle") and profile is not None:
        options["timing"] = Timing.of(profile)
    if kind == "speck" and profile is not None:
        options["profile"] = profile
    if kind == REMOTE:
        options = {"address": behind, "owner": secrets.token_hex(16)}
        if timeout_s is not None:
            options["timeout_s"] = timeout_s
    opened: Callable[..., Device] = DEVICES.get(kind)
    return lambda: opened(**options)


def _pool_opener(
    kind: str, members: tuple[str, ...], threads: int | None, timeout_s: float | None, profile: ChipProfile | None
) -> Callable[[], Device]:
    """Return what opens a pool; a single device on Ray needs none."""
    here = sum(split_name(member)[0] != REMOTE for member in members)
    share = max(1, (threads or os.cpu_count() or 1) // max(1, here))
    openers: list[Callable[[], Device]]
    if kind == RAY:
        limit = {} if timeout_s is None else {"timeout_s": timeout_s}
        openers = [partial(ActorDevice, member, threads=share, profile=profile, **limit) for member in members]
    else:
        openers = [device_opener(member, threads=share, timeout_s=timeout_s, profile=profile) for member in members]
    if kind == RAY and len(members) == 1:
        return openers[0]
    names = [f"{RAY}:{member}" if kind == RAY else member for member in members]
    return lambda: DevicePool(openers, names=names)


def open_named(
    name: str,
    *,
    threads: int | None = None,
    timeout_s: float | None = None,
    profile: ChipProfile | None = None,
) -> Device:
    """Open a device by its name: virtual, oracle, ..., remote:host:port, or pool:2xvirtual.

    >>> with open_named("oracle") as device:
    ...     device.info.kind
    'simulated'
    """
    return device_opener(name, threads=threads, timeout_s=timeout_s, profile=profile)()
