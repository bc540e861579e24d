"""Decoded recordings that are kept, as many as fit so many bytes."""

from __future__ import annotations

from collections.abc import Callable

from chiploop.events.types import Events

CACHE_BYTES = 1 << 30
"""What one part of a data set keeps: some 18,000 recordings of N-MNIST."""

EVENT_BYTES = 8 + 3 * 2
OBJECT_BYTES = 1_000
"""What a recording's four arrays and the objects around them take, whatever it holds."""


class EventCache:
    """Keeps the first recordings that are asked for until `limit_bytes` are full; the rest is decoded each time.

    Nothing is ever put out for another: an epoch comes by every recording once, so that what was used last is what is
    needed last again, and a cache of the latest would be of no use to a set that is larger than it.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.n_bytes = 0
        self._kept: dict[int, Events] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, index: int, decode: Callable[[int], Events]) -> Events:
        """Return the recording of this number, decoded if it is not here."""
        found = self._kept.get(index)
        if found is not None:
            return found
        events = decode(index)
        size = EVENT_BYTES * len(events) + OBJECT_BYTES
        if self.n_bytes + size <= self.limit_bytes:
            self._kept[index] = events
            self.n_bytes += size
        return events
