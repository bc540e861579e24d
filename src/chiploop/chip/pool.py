"""Several devices as one: a batch is divided among them, and a device that fails is taken out."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Literal

import numpy as np

from chiploop.chip.device import DEVICES, BatchTrace, Device, DeviceInfo, Monitor, Trace
from chiploop.chip.program import Program
from chiploop.chip.remote.pieces import joined
from chiploop.errors import DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError
from chiploop.events.types import Events

_log = logging.getLogger(__name__)

COMEBACKS = 2
"""How often a device that was taken out is opened anew; without a bound, a dead one would cost every load its wait."""
_FAILURES = (DeviceLostError, DeviceTimeoutError, ReadoutError)
"""What is the device's own fault; any other error is one of the program or of the events, and every device has it."""


@dataclass(slots=True, eq=False)
class _Member:
    """One place in a pool: who opens its device, the device (None while it is out), and how it fared."""

    name: str
    open: Callable[[], Device]
    device: Device | None = None
    failures: int = 0
    comebacks: int = COMEBACKS

    @property
    def present(self) -> Device:
        """The device of a member that is in."""
        assert self.device is not None  # only members that are in are asked
        return self.device


@DEVICES.register("pool")
class DevicePool:
    """Several devices of one kind: a batch is divided among them, and gives the bits that one of them would give.

    `openers` open the members, all at once; names tell them apart in messages. Parts of a batch are contiguous, hold
    about the same number of events, and run at the same time, each on a thread. A member that is lost, late or
    contradicts itself is taken out, and its part goes to the others; at the next `load` it is opened anew, at most
    `COMEBACKS` times. `info.name` says how many are out and how often members failed, and the log what happened.

    A single stream (`run`) has its states on one member, and goes on there; only from reset state can another take its
    place. Raises DeviceLostError when no member is left, DeviceError when there is none or their kinds differ.

    >>> from chiploop.chip.virtual import VirtualDevice
    >>> with DevicePool([VirtualDevice, VirtualDevice], names=("left", "right")) as pool:
    ...     pool.info.name
    'pool of left, right'
    """

    def __init__(self, openers: Sequence[Callable[[], Device]], *, names: Sequence[str] = ()) -> None:
        if not openers:
            raise DeviceError("a pool needs at least one device")
        called = names or [f"device {number}" for number in range(len(openers))]
        self._members = [_Member(name, opener) for name, opener in zip(called, openers, strict=True)]
        self._threads: ThreadPoolExecutor | None = ThreadPoolExecutor(len(openers), thread_name_prefix="chiploop pool")
        self._program: Program | None = None
        self._runner: _Member | None = None  # who has the states of a single stream
        self._state: Literal["fresh", "used", "unknown"] = "fresh"
        try:
            self._on_each(self._members, _open)
            self._info = _common_info([member.present.info for member in self._members_in()])
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> DeviceInfo:
        """What the members are, and how they fare."""
        failures, out = self.failures, sum(member.device is None for member in self._members)
        alike = Counter(member.name for member in self._members)
        name = f"pool of {', '.join(name if n == 1 else f'{n} x {name}' for name, n in alike.items())}"
        return DeviceInfo(
            name=f"{name} ({out} out, failures: {failures})" if failures else name,
            kind=self._info.kind,
            observes=self._info.observes,
            deterministic=self._info.deterministic,
            elsewhere=self._info.elsewhere,
        )

    @property
    def failures(self) -> int:
        """How often members failed since the pool was opened."""
        return sum(member.failures for member in self._members)

    def load(self, program: Program) -> None:
        """Take a program on every member, also on those that were taken out and can be opened anew."""
        self._require_open()
        back = [member for member in self._members if member.device is None and member.comebacks > 0]
        for member in back:
            member.comebacks -= 1
        self._program = None  # what some may have refused, all have to be given again
        self._on_each(back, _open)
        self._on_each(self._members_in(), lambda member: member.present.load(program))
        self._members_in()
        self._program, self._runner, self._state = program, None, "fresh"

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state, on one member."""
        self._require_loaded()
        if self._state == "unknown":
            raise DeviceError("the device failed in mid-stream and its states are gone: call reset() or load(program)")
        fresh = self._state == "fresh"
        while True:
            self._runner = member = self._runner or self._members_in()[0]
            try:
                trace = member.present.run(events, monitor=monitor)
            except _FAILURES as error:
                self._take_out(member, error)
                if not fresh:
                    raise
                continue  # from reset state another can take its place
            self._state = "used"
            return trace

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state, a part on each member; what a failed one leaves goes to the others."""
        self._require_loaded()
        done: dict[int, BatchTrace] = {}
        whole = [range(len(batch))]
        while whole:
            members = self._members_in()
            parts = [part for one in whole for part in divided(batch, one, len(members))]
            self._run_parts(members, parts, batch, monitor, done)
            whole = [part for part in parts if part.start not in done]
        return joined([done[start] for start in sorted(done)])

    def reset(self) -> None:
        """Bring every state to zero."""
        self._require_loaded()
        if self._runner is not None:
            self._on_each([self._runner], lambda member: member.present.reset())
        self._members_in()
        self._runner, self._state = None, "fresh"

    def close(self) -> None:
        """Give all devices back."""
        threads, self._threads, self._program = self._threads, None, None
        for member in self._members:
            device, member.device = member.device, None
            if device is not None:
                with contextlib.suppress(*_FAILURES):  # what is lost is gone already
                    device.close()
        if threads is not None:
            threads.shutdown()

    def __enter__(self) -> DevicePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run_parts(
        self,
        members: Sequence[_Member],
        parts: Sequence[range],
        batch: Sequence[Events],
        monitor: Monitor | None,
        done: dict[int, BatchTrace],
    ) -> None:
        """Run a part on each member, and what more there is on whoever is ready first; enter the traces in `done`."""
        own = {id(member): part for member, part in zip(members, parts, strict=False)}
        more = deque(parts[len(members) :])

        def work(member: _Member) -> None:
            part = own[id(member)]
            while True:
                done[part.start] = _run_part(member.present, batch, part, monitor)
                try:
                    part = more.popleft()
                except IndexError:  # another took the last one
                    return

        self._on_each([member for member in members if id(member) in own], work)

    def _on_each(self, members: Iterable[_Member], action: Callable[[_Member], None]) -> None:
        """Do something on members at once; take out those that fail, and raise the first error that is not theirs."""
        futures = [(member, self._require_open().submit(action, member)) for member in members]
        wait(future for _, future in futures)  # all, so that no thread is in a device that is used next
        refused: BaseException | None = None
        for member, future in futures:
            error = future.exception()
            if isinstance(error, _FAILURES):
                self._take_out(member, error)
            else:
                refused = refused or error
        if refused is not None:
            raise refused

    def _take_out(self, member: _Member, error: DeviceError) -> None:
        member.failures += 1
        device, member.device = member.device, None
        _log.warning(
            "%s is taken out of the pool, %d of %d stay: %s",
            member.name, sum(one.device is not None for one in self._members), len(self._members), error,
        )  # fmt: skip
        if self._runner is member:
            self._runner, self._state = None, "fresh" if self._state == "fresh" else "unknown"
        if device is not None:
            with contextlib.suppress(DeviceError):
                device.close()

    def _members_in(self) -> list[_Member]:
        """Return the members that are in; raise DeviceLostError where there is none."""
        there = [member for member in self._members if member.device is not None]
        if not there:
            raise DeviceLostError(
                f"all {len(self._members)} devices of the pool are lost ({self.failures} failures): open it anew"
            )
        return there

    def _require_open(self) -> ThreadPoolExecutor:
        if self._threads is None:
            raise DeviceError("the pool is closed: open it anew and load(program) first")
        return self._threads

    def _require_loaded(self) -> None:
        self._require_open()
        if self._program is None:
            raise DeviceError("the pool holds no program: call load(program) first")


def divided(batch: Sequence[Events], whole: range, n: int) -> list[range]:
    """Return a range of a batch in at most n contiguous parts with about the same number of events, none empty.

    An empty range is one empty part.

    >>> from chiploop.events.types import SensorShape
    >>> shape = SensorShape(1, 1, 1)
    >>> long, short = (Events.from_columns(range(k), [0] * k, [0] * k, [0] * k, shape) for k in (30, 10))
    >>> divided([long, short, short, short], range(4), 2)
    [range(0, 1), range(1, 4)]
    """
    if not whole:
        return [whole]
    costs = np.array([len(batch[at]) + 1 for at in whole])  # a stream costs something even without events
    ends = np.cumsum(costs)
    # A stream goes to the part in which its middle lies.
    cuts = np.searchsorted(ends - costs / 2, ends[-1] * np.arange(1, n) / n)
    edges = [whole.start, *(whole.start + cuts).tolist(), whole.stop]
    return [range(a, b) for a, b in pairwise(edges) if a < b]


def _run_part(device: Device, batch: Sequence[Events], part: range, monitor: Monitor | None) -> BatchTrace:
    try:
        return device.run_batch(batch[part.start : part.stop], monitor=monitor)
    except _FAILURES:
        raise
    except DeviceError as error:
        if not part.start:
            raise
        raise type(error)(f"{error} (in the part of the batch from stream {part.start} on)") from error


def _open(member: _Member) -> None:
    member.device = member.open()


def _common_info(infos: Sequence[DeviceInfo]) -> DeviceInfo:
    """Return what holds for all members; raise DeviceError where a batch would depend on who runs which part."""
    if len({info.kind for info in infos}) > 1:
        kinds = ", ".join(f"{info.name} ({info.kind})" for info in infos)
        raise DeviceError(f"a pool needs devices of one kind, these differ: {kinds}")
    return DeviceInfo(
        name="pool",
        kind=infos[0].kind,
        observes=frozenset.intersection(*(info.observes for info in infos)),
        deterministic=all(info.deterministic for info in infos),
        elsewhere=all(info.elsewhere for info in infos),
    )
