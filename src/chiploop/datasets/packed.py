"""Many recordings in one file: the cache of simulated data.

The layout is safetensors (a length, a JSON header, raw arrays), so that other programs can read it, but the events are
mapped into memory rather than loaded: an epoch reads at the speed of the page cache, whatever the number of recordings.
An event is one word: time << address_bits | address, where address = (channel * height + y) * width + x.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop import atomic
from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape

SCHEMA = "1"
HEADER_BYTES = 1024
"""Room for the header, padded with spaces, so that the events can be written before their number is known."""
CHECK_BYTES = 1 << 24
WORD_BITS = 64


@dataclass(frozen=True, eq=False)
class Packed:
    """Recordings of one shape and one length: `words` uint64[n_events], `offsets` int64[n + 1]."""

    words: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    shape: SensorShape
    duration_us: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def events(self, index: int) -> Events:
        """Unpack one recording."""
        words = self.words[self.offsets[index] : self.offsets[index + 1]]
        bits = address_bits(self.shape)
        address = (words & np.uint64((1 << bits) - 1)).astype(np.int64)
        channel, y, x = self._columns
        t_us = (words >> np.uint64(bits)).astype(np.int64)
        return Events(t_us, channel[address], y[address], x[address], self.shape, 0, self.duration_us)

    @cached_property
    def _columns(self) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]:
        """Channel, y and x of every address: a look-up is faster than two divisions."""
        channel, y, x = (axis.reshape(-1).astype(np.uint16) for axis in np.indices(self.shape))
        return channel, y, x


def address_bits(shape: SensorShape) -> int:
    """Return how many bits an address of the sensor takes."""
    return int(shape.channels * shape.height * shape.width - 1).bit_length()


def write_packed(path: Path, recordings: Iterable[Events], shape: SensorShape, duration_us: int) -> None:
    """Write recordings as they come, atomically; nothing but one recording is held in memory.

    Raises DataError when a recording has another shape, or lies outside [0, duration_us).
    """
    if duration_us.bit_length() + address_bits(shape) > WORD_BITS:
        raise DataError(f"{duration_us} us of a {tuple(shape)} sensor do not fit words of {WORD_BITS} bits")
    ends, checksum = [0], 0
    with atomic.replacing(path) as out:
        out.write(b" " * HEADER_BYTES)
        for events in recordings:
            words = _pack(events, shape, duration_us).tobytes()
            checksum = zlib.crc32(words, checksum)
            out.write(words)
            ends.append(ends[-1] + len(events))
        offsets = np.array(ends, "<i8").tobytes()
        out.write(offsets)
        out.seek(0)
        out.write(_header(ends, zlib.crc32(offsets, checksum), shape, duration_us))


def read_packed(path: Path) -> Packed:
    """Map a file; raises DataError when it is truncated, of another schema, or fails its checksum."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, HEADER_BYTES)))
        meta = header["__metadata__"]
        if meta["schema"] != SCHEMA:
            raise DataError(f"{path}: schema {meta['schema']}, expected {SCHEMA}; delete the file to rebuild it")
        shape = SensorShape(*json.loads(meta["shape"]))
        n_events, n_offsets = header["words"]["shape"][0], header["offsets"]["shape"][0]
        if path.stat().st_size != HEADER_BYTES + 8 * (n_events + n_offsets):
            raise ValueError(f"{path.stat().st_size} bytes, expected {HEADER_BYTES + 8 * (n_events + n_offsets)}")
        body = np.asarray(np.memmap(path, "<u8", "r", offset=HEADER_BYTES))
        if _checksum(body) != int(meta["crc32"]):
            raise ValueError("the checksum differs")
        return Packed(body[:n_events], np.array(body[n_events:].view("<i8")), shape, int(meta["duration_us"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it to rebuild it") from error


def _pack(events: Events, shape: SensorShape, duration_us: int) -> NDArray[np.uint64]:
    if events.shape != shape or events.start_us < 0 or (len(events) and int(events.t_us[-1]) >= duration_us):
        raise DataError(
            f"cannot pack a recording of {tuple(events.shape)}, {events.start_us}..{events.stop_us} us, among those of "
            f"{tuple(shape)}, 0..{duration_us} us"
        )
    address = (events.channel.astype(np.int64) * shape.height + events.y) * shape.width + events.x
    return ((events.t_us << address_bits(shape)) | address).astype("<u8")


def _header(ends: list[int], checksum: int, shape: SensorShape, duration_us: int) -> bytes:
    split, end = 8 * ends[-1], 8 * (ends[-1] + len(ends))
    header = {
        "__metadata__": {
            "schema": SCHEMA,
            "shape": json.dumps(list(shape)),
            "duration_us": str(duration_us),
            "crc32": str(checksum),
        },
        "words": {"dtype": "U64", "shape": [ends[-1]], "data_offsets": [0, split]},
        "offsets": {"dtype": "I64", "shape": [len(ends)], "data_offsets": [split, end]},
    }
    text = json.dumps(header).encode().ljust(HEADER_BYTES - 8)
    return (HEADER_BYTES - 8).to_bytes(8, "little") + text


def _checksum(body: NDArray[np.uint64]) -> int:
    raw, total = body.view(np.uint8), 0
    for start in range(0, len(raw), CHECK_BYTES):
        total = zlib.crc32(raw[start : start + CHECK_BYTES].data, total)
    return total
