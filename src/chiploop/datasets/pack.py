"""Pack recordings into one file, as they come: nothing but one recording and the index is held in memory."""

from __future__ import annotations

import json
import operator
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from chiploop import atomic
from chiploop.datasets.base import Dataset, Sample
from chiploop.datasets.packed_file import (
    CHECK_BYTES,
    HEADER_BYTES,
    Layout,
    PackedInfo,
    describe,
    field_bits,
    header_of,
    read_packed,
)
from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape

NARROW, WIDE = 32, 64
Progress = Callable[[int], None]
"""Told the number of recordings that are done."""


class TooLongError(DataError):
    """A recording's times need wider words."""


def pack_dataset(dataset: Dataset, path: Path, *, source: str, split: str, progress: Progress | None = None) -> bool:
    """Write all recordings of a data set to a file; return whether it was written, or was there already.

    Several processes may do so at once: each writes a file of its own, and puts it in place when it is whole. Raises
    DataError when there is a file of something else at `path`, or a damaged one; it stays.
    """
    info = info_of(dataset, source=source, split=split)
    if path.exists():
        _require_same(path, dataset, info)
        return False

    def watched() -> Iterator[Sample]:
        for index in range(len(dataset)):
            yield dataset.sample(index)
            if progress is not None:
                progress(index + 1)

    try:
        write_packed(path, watched(), info)
    except TooLongError:  # recordings may be longer than the data set says that they are
        write_packed(path, watched(), info, word_bits=WIDE)
    return True


def info_of(dataset: Dataset, *, source: str, split: str) -> PackedInfo:
    """Return what a file says of a data set's recordings."""
    return PackedInfo(
        name=dataset.name,
        source=source,
        split=split,
        n_classes=int(dataset.n_classes),
        shape=SensorShape(*map(int, dataset.shape)),
        duration_us=int(dataset.duration_us),
    )


def write_packed(path: Path, samples: Iterable[Sample], info: PackedInfo, *, word_bits: int | None = None) -> None:
    """Write samples as they come, atomically; words are as narrow as `info.duration_us` allows, or as they are said.

    Raises DataError when a recording has another shape or a label that is none, and TooLongError when its times do not
    fit the words.
    """
    if word_bits is None:
        fits = info.duration_us.bit_length() + sum(field_bits(info.shape)) <= NARROW
        word_bits = NARROW if fits else WIDE
    with atomic.replacing(path) as out:
        out.write(b" " * HEADER_BYTES)
        writer = _Writer(out, info, word_bits)
        for sample in samples:
            writer.add(sample)
        writer.finish()


class _Writer:
    """The arrays of a file: words go out a block at a time, the index is gathered."""

    def __init__(self, out: BinaryIO, info: PackedInfo, word_bits: int) -> None:
        self._out, self._info, self._bits = out, info, word_bits
        self._pending = bytearray()
        self._offsets, self._key_ends, self._checks = array("q", [0]), array("q", [0]), array("q")
        self._bounds, self._labels = array("q"), array("q")
        self._keys = bytearray()

    def add(self, sample: Sample) -> None:
        events, label = sample.events, operator.index(sample.label)
        if not 0 <= label < self._info.n_classes:
            raise DataError(f"cannot pack {sample.key!r}: its label {label} is outside 0..{self._info.n_classes - 1}")
        self._pending += pack_words(events, self._info.shape, self._bits).tobytes()
        while len(self._pending) >= CHECK_BYTES:
            self._write_block(CHECK_BYTES)
        self._offsets.append(self._offsets[-1] + len(events))
        self._bounds.extend((events.start_us, events.stop_us))
        self._labels.append(label)
        key = sample.key if isinstance(sample.key, str) else operator.index(sample.key)
        self._keys += json.dumps(key).encode()
        self._key_ends.append(len(self._keys))

    def finish(self) -> None:
        """Write what is left, the index, and the header in its place."""
        self._pending += bytes(-len(self._pending) % 8)
        if self._pending:
            self._write_block(len(self._pending))
        layout = Layout(
            n_recordings=len(self._labels),
            n_events=self._offsets[-1],
            key_bytes=len(self._keys),
            word_bits=self._bits,
        )
        checksum = describe(self._info, layout)
        numbers = [np.asarray(part, "<i8") for part in (self._offsets, self._bounds, self._labels, self._key_ends)]
        for plain in (*numbers, np.asarray(self._checks).astype("<u4"), np.frombuffer(self._keys, np.uint8)):
            checksum = zlib.crc32(plain.data, checksum)
            self._out.write(plain.data)
        text = json.dumps(header_of(self._info, layout, checksum)).encode()
        if len(text) > HEADER_BYTES - 8:
            raise DataError(f"the names {self._info.name!r}, {self._info.source!r} are too long for a packed file")
        self._out.seek(0)
        self._out.write((HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8))

    def _write_block(self, size: int) -> None:
        block = self._pending[:size]
        self._checks.append(zlib.crc32(block))
        self._out.write(block)
        del self._pending[:size]


def pack_words(events: Events, shape: SensorShape, word_bits: int) -> NDArray[Any]:
    """Return a recording as words; raises DataError when it is of another sensor or too long for them."""
    if events.shape != shape:
        raise DataError(f"cannot pack a recording of {tuple(events.shape)} among those of {tuple(shape)}")
    of_channel, of_y, of_x = field_bits(shape)
    time_bits = word_bits - of_channel - of_y - of_x
    if len(events) and int(events.t_us[-1] - events.start_us).bit_length() > time_bits:
        raise TooLongError(
            f"an event {events.t_us[-1] - events.start_us} us after its recording's start does not fit the {time_bits} "
            f"bits that a {tuple(shape)} sensor leaves of {word_bits}"
        )
    words = (events.t_us - events.start_us).astype(np.uint64) << np.uint64(of_channel + of_y + of_x)
    words |= events.channel.astype(np.uint64) << np.uint64(of_y + of_x)
    words |= events.y.astype(np.uint64) << np.uint64(of_x)
    words |= events.x
    return words.astype("<u4" if word_bits == NARROW else "<u8")


def _require_same(path: Path, dataset: Dataset, info: PackedInfo) -> None:
    """Raise DataError unless the file holds this data set's recordings, as far as its index says."""
    there = read_packed(path)
    if there.info != info or len(there) != len(dataset) or list(there.keys) != [*dataset.keys]:
        raise DataError(
            f"{path} is there already and holds something else: {len(there)} recordings of {there.info.source}, split "
            f"{there.info.split}; delete it, or choose another file"
        )
