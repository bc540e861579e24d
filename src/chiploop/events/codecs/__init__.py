"""Event formats, one a file; each registers a Codec under the name of its format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chiploop.events.types import Events, SensorShape
from chiploop.registry import Registry

ReadEvents = Callable[[Path, SensorShape | None], Events]
WriteEvents = Callable[[Path, Events], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One event format: `read(path, shape)` with shape None for the format's own, and `write(path, events)`.

    Reading raises DataError with the place of the damage: a byte offset, or a line for text.
    """

    read: ReadEvents
    write: WriteEvents
    suffix: str
    summary: str


CODECS: Registry[Codec] = Registry("event format", "chiploop.events.codecs")
