"""Failures of the device in the loop: what is done about them, and what happened."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chiploop import atomic
from chiploop.errors import DataError, DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError, TrainingError

if TYPE_CHECKING:
    from chiploop.learn.distributed import Ranks

_log = logging.getLogger(__name__)

Done = Literal["retried", "reopened", "skipped", "stopped"]

DEVICE_FAILURES = (DeviceTimeoutError, DeviceLostError, ReadoutError)
"""What may pass by itself; any other error of a device is one of the program or of the set-up, and is not retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePolicy:
    """What is done when the device fails.

    A call that ran out of time or came back wrong is made again, a device that is lost is opened anew (unless `reopen`
    is off) and given its program; that at most `retries` times a call, after a pause of `wait_s`, doubled each time.
    If that does not help, training ends and its finished epochs are kept ("stop"), or the batch is left out ("skip"):
    at most a share `max_skipped` of an epoch's batches (but one, if it is not 0), and never all of them.
    """

    retries: int = 2
    reopen: bool = True
    then: Literal["stop", "skip"] = "stop"
    wait_s: float = 1.0
    max_skipped: float = 0.1

    def __post_init__(self) -> None:
        if self.retries < 0 or not (self.wait_s >= 0 and math.isfinite(self.wait_s)):
            raise TrainingError(f"failures: retries {self.retries} and wait_s {self.wait_s} must be at least 0")
        if self.then not in ("stop", "skip"):
            raise TrainingError(f"failures: then = {self.then!r} must be 'stop' or 'skip'")
        if not 0 <= self.max_skipped <= 1:
            raise TrainingError(f"failures: max_skipped {self.max_skipped} must be a share, 0 to 1")

    def most_skipped(self, n_batches: int) -> int:
        """Return how many batches of an epoch may be left out.

        >>> [FailurePolicy(max_skipped=0.1).most_skipped(n) for n in (1, 2, 10, 30, 59)]
        [0, 1, 1, 3, 5]
        """
        if not self.max_skipped:
            return 0
        share = math.floor(self.max_skipped * n_batches + 1e-9)  # 0.1 of 30 is 3.0000000000000004
        return min(max(1, share), n_batches - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure: where in training (`step` counts the epoch's batches, absent outside of them), and what was done."""

    epoch: int | None
    step: int | None
    kind: str
    message: str
    done: Done


class FailureLog:
    """The failures of one training, and the policy they are met with.

    With a `path`, each is written there at once, and those of a training that goes on (the same `identity`) are taken
    up again; raises DataError when that file is damaged.

    >>> log = FailureLog(FailurePolicy(then="skip"))
    >>> with log.epoch(0, n_batches=20):
    ...     log.at(3)
    ...     log.skips(ReadoutError("layer 'fc1' is missing"))
    True
    >>> log.entries
    (Failure(epoch=0, step=3, kind='ReadoutError', message="layer 'fc1' is missing", done='skipped'),)
    """

    def __init__(
        self, policy: FailurePolicy = FailurePolicy(), *, path: Path | None = None, identity: str = ""
    ) -> None:
        self.policy = policy
        self._path, self._identity = path, identity
        self._entries = [] if path is None else _read(path, identity)
        self._epoch: int | None = None
        self._step: int | None = None
        self._may_skip = 0
        self._told = len(self._entries)  # to other processes

    @property
    def entries(self) -> tuple[Failure, ...]:
        """All failures, in their order."""
        return tuple(self._entries)

    @contextmanager
    def epoch(self, number: int, *, n_batches: int) -> Iterator[None]:
        """Note the epoch that goes on, and that training stops when a failure ends it."""
        self._epoch, self._step = number, None
        self._may_skip = self.policy.most_skipped(n_batches)
        try:
            yield
        except DEVICE_FAILURES as error:
            raise self._stopped(error) from error
        self._epoch = self._step = None

    def at(self, step: int | None) -> None:
        """Note the batch that is next; None outside of the batches, as in validation."""
        self._step = step

    def add(self, error: DeviceError, done: Done) -> None:
        """Note a failure and what is done about it."""
        kind = type(error).__name__
        self._note(Failure(epoch=self._epoch, step=self._step, kind=kind, message=str(error), done=done))

    def take_from(self, ranks: Ranks) -> None:
        """Note on the first rank what the others' devices got over since this was called last; all ranks call it.

        What was skipped or ended training, all have noted.
        """
        if ranks.size == 1:
            return
        own = [asdict(entry) for entry in self._entries[self._told :] if entry.done in ("retried", "reopened")]
        for rank, text in enumerate(ranks.gather(json.dumps(own))):
            for entry in json.loads(text) if ranks.is_first and rank else ():
                self._note(Failure(**{**entry, "message": f"rank {rank}: {entry['message']}"}))
        self._told = len(self._entries)

    def _note(self, failure: Failure) -> None:
        self._entries.append(failure)
        _log.warning("%s (%s)", failure.message, failure.done)
        if self._path is not None:
            plain = {"identity": self._identity, "failures": [asdict(entry) for entry in self._entries]}
            atomic.write_text(self._path, json.dumps(plain, indent=2) + "\n")

    def skips(self, error: DeviceError) -> bool:
        """Whether the present batch is left out after a failure that stays; if so, it is noted."""
        if self.policy.then != "skip" or self._step is None or self._may_skip < 1:
            return False
        self._may_skip -= 1
        self.add(error, "skipped")
        return True

    def _stopped(self, error: DeviceError) -> DeviceError:
        """Note that training ends; return the error with its place and what to do."""
        self.add(error, "stopped")
        where = "validation" if self._step is None else f"batch {self._step}"
        return type(error)(
            f"epoch {self._epoch}, {where}: {error}; training stops here: finished epochs are kept, and the same "
            "training started again goes on from there"
        )


def _read(path: Path, identity: str) -> list[Failure]:
    if not path.exists():
        return []
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        entries = [Failure(**entry) for entry in plain["failures"]]
        return entries if plain["identity"] == identity else []
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it") from error
