"""Sessions on paper: one that writes down what passes between a device and a board, one that plays it back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chiploop import atomic
from chiploop.chip.hardware.board_session import (
    Answer,
    BoardSession,
    Message,
    NeuronValue,
    Order,
    Other,
    ReadoutPin,
    Spike,
)
from chiploop.errors import DataError, DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError

T = TypeVar("T")
SCHEMA = "chiploop.board-session/1"
_ANSWERS: dict[str, Callable[..., Answer]] = {kind.__name__: kind for kind in (Spike, NeuronValue, ReadoutPin, Other)}
_ERRORS = {kind.__name__: kind for kind in (DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError)}
_SHOWN = 120
"""Letters of a call that an error shows."""


class RecordingSession:
    """A session that passes everything on to another and writes a file of it when it is closed.

    The file has one JSON object a line: the verb, what was given, and the answer or the error. It is written whole,
    also after an error; closing without a single call writes nothing.
    """

    def __init__(self, session: BoardSession, path: Path) -> None:
        self._session = session
        self._path = path
        self._lines: list[str] = []

    def open(self) -> str:
        """Open the other session."""
        return self._noted("open", None, self._session.open)

    def apply(self, configuration: Mapping[str, Any]) -> None:
        """Apply a configuration."""
        self._noted("apply", configuration, lambda: self._session.apply(configuration))

    def restart_clock(self) -> None:
        """Set the board's time to zero."""
        self._noted("restart_clock", None, self._session.restart_clock)

    def set_slow_clock(self, rate_hz: int | None) -> None:
        """Start or stop the slow clock."""
        self._noted("set_slow_clock", rate_hz, lambda: self._session.set_slow_clock(rate_hz))

    def write_events(self, orders: Sequence[Order]) -> None:
        """Send orders."""
        self._noted("write_events", _plain(orders), lambda: self._session.write_events(orders))

    def read_events(self, timeout_ms: int) -> list[Answer]:
        """Return what has arrived."""
        return self._noted("read_events", timeout_ms, lambda: self._session.read_events(timeout_ms), _plain)

    def now_ms(self) -> int:
        """Return the other session's time."""
        return self._noted("now_ms", None, self._session.now_ms)

    def close(self) -> None:
        """Close the other session and write the file."""
        self._noted("close", None, self._session.close)
        if len(self._lines) > 1:
            atomic.write_text(self._path, "\n".join([json.dumps({"schema": SCHEMA}), *self._lines]) + "\n")

    def _noted(self, verb: str, given: Any, call: Callable[[], T], plain: Callable[[T], Any] = lambda x: x) -> T:
        line: dict[str, Any] = {"verb": verb, "given": given}
        try:
            answer = call()
            line["answer"] = plain(answer)
            return answer
        except DeviceError as error:
            line["error"] = [type(error).__name__, str(error)]
            raise
        finally:
            self._lines.append(json.dumps(line, sort_keys=True, separators=(",", ":")))


class ReplaySession:
    """A session that answers as a recorded one did, as long as it is asked the same in the same order.

    The first call that differs raises DeviceError with the line of the file, what was recorded and what was asked.
    Recorded errors are raised again. Time is the recorded one, so nothing waits.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = _read(path)
        self._next = 0

    @property
    def is_over(self) -> bool:
        """Whether everything recorded has been asked for."""
        return self._next == len(self._lines)

    def open(self) -> str:
        """Return the recorded name."""
        return str(self._answer("open", None))

    def apply(self, configuration: Mapping[str, Any]) -> None:
        """Compare a configuration with the recorded one."""
        self._answer("apply", configuration)

    def restart_clock(self) -> None:
        """Compare with the record."""
        self._answer("restart_clock", None)

    def set_slow_clock(self, rate_hz: int | None) -> None:
        """Compare with the record."""
        self._answer("set_slow_clock", rate_hz)

    def write_events(self, orders: Sequence[Order]) -> None:
        """Compare orders with the recorded ones."""
        self._answer("write_events", _plain(orders))

    def read_events(self, timeout_ms: int) -> list[Answer]:
        """Return what had arrived."""
        try:
            return [_ANSWERS[kind](*fields) for kind, *fields in self._answer("read_events", timeout_ms)]
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"{self._path} line {self._next + 1}: no list of answers ({error})") from error

    def now_ms(self) -> int:
        """Return the recorded time."""
        return int(self._answer("now_ms", None))

    def close(self) -> None:
        """Compare with the record; when it is over, closing is free."""
        if not self.is_over:
            self._answer("close", None)

    def _answer(self, verb: str, given: Any) -> Any:
        at = f"{self._path} line {self._next + 2}"
        asked = json.loads(json.dumps(given))  # as the file has it: lists for tuples
        if self.is_over:
            raise DeviceError(f"{at}: the recorded session is over, asked was {_shown(verb, asked)}")
        line = self._lines[self._next]
        if (line["verb"], line["given"]) != (verb, asked):
            raise DeviceError(f"{at}: recorded is {_shown(line['verb'], line['given'])}, asked {_shown(verb, asked)}")
        self._next += 1
        if "error" in line:
            kind, message = line["error"]
            raise _ERRORS.get(kind, DeviceError)(message)
        return line["answer"]


def _plain(messages: Sequence[Message]) -> list[list[Any]]:
    return [[type(message).__name__, *message] for message in messages]


def _shown(verb: str, given: Any) -> str:
    text = f"{verb}({'' if given is None else json.dumps(given)})"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(first) != {"schema": SCHEMA}:
            raise DataError(f"{path} is no recorded session: it should begin with the schema {SCHEMA!r}")
        calls = [json.loads(line) for line in lines]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is no recorded session: {error}") from error
    for at, call in enumerate(calls, start=2):
        if not (isinstance(call, dict) and {"verb", "given"} <= call.keys() and {"answer", "error"} & call.keys()):
            raise DataError(f"{path} line {at} is no call of a session")
    return calls
