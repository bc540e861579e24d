"""Many recordings in one file, which is mapped into memory and not loaded: the form that any data set can be kept in.

The layout is safetensors (a length, a JSON header, raw arrays), so that other programs can read it. An event is one
word of 32 or 64 bits: from its highest bits to its lowest the time since the recording's start, channel, y, x. Every
MiB of words has a checksum of its own, looked at when one of its events is first asked for, so that a file larger than
memory is opened at once and yet no damaged event is ever given out; the index is checked when the file is opened.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DataError
from chiploop.events.compiled import unpack_compiled
from chiploop.events.types import Events, SensorShape

FORMAT = "chiploop-packed"
SCHEMA = "2"
HEADER_BYTES = 4096
"""Room for the header, padded with spaces, so that words can be written before their number is known: a page."""
CHECK_BYTES = 1 << 20
WORD_DTYPES = {32: "U32", 64: "U64"}
_NUMPY = {"U8": "<u1", "U32": "<u4", "U64": "<u8", "I64": "<i8"}


@dataclass(frozen=True, kw_only=True)
class PackedInfo:
    """What the recordings of a file are; `name` is the data set's own, `source` the one that it is registered under."""

    name: str
    source: str
    split: str
    n_classes: int
    shape: SensorShape
    duration_us: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Sizes, from which every array's place in the file follows."""

    n_recordings: int
    n_events: int
    key_bytes: int
    word_bits: int

    def arrays(self) -> dict[str, tuple[str, list[int]]]:
        """Return dtype and shape of each array in the order of the file; those of 8 bytes a number are aligned."""
        n, per_8_bytes = self.n_recordings, 64 // self.word_bits
        n_words = -(-self.n_events // per_8_bytes) * per_8_bytes  # the last may belong to no recording
        n_checks = -(-n_words * self.word_bits // 8 // CHECK_BYTES)
        return {
            "words": (WORD_DTYPES[self.word_bits], [n_words]),
            "offsets": ("I64", [n + 1]),
            "bounds": ("I64", [n, 2]),
            "labels": ("I64", [n]),
            "key_ends": ("I64", [n + 1]),
            "checks": ("U32", [n_checks]),
            "key_text": ("U8", [self.key_bytes]),
        }


class Keys(Sequence[int | str]):
    """Keys of recordings, read from their text when they are asked for."""

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._text, self._ends = text, ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> int | str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int | str]: ...
    def __getitem__(self, index: int | slice) -> int | str | Sequence[int | str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # negative ones, and IndexError
        key: int | str = json.loads(self._text[self._ends[place] : self._ends[place + 1]].tobytes())
        return key


@dataclass(frozen=True, eq=False, kw_only=True)
class Packed:
    """A mapped file: `words` of all recordings, `offsets` int64[n + 1] of each, `bounds` int64[n, 2] start and stop.

    `labels` int64[n]; `sound` says which blocks of words have been found to have their checksum; `crc32` is that of the
    header and the index, the checksums of the words included.
    """

    path: Path
    info: PackedInfo
    words: NDArray[Any]
    offsets: NDArray[np.int64]
    bounds: NDArray[np.int64]
    labels: NDArray[np.int64]
    keys: Keys
    checks: NDArray[np.uint32]
    sound: NDArray[np.bool_]
    crc32: int

    def __len__(self) -> int:
        return len(self.labels)

    def events(self, index: int) -> Events:
        """Unpack one recording; raises DataError when its words are not those that were written."""
        first, last = int(self.offsets[index]), int(self.offsets[index + 1])
        self._require_sound(first, last)
        start, stop = self.bounds[index].tolist()
        words, bits = self.words[first:last], field_bits(self.info.shape)
        found = unpack_compiled(words, bits, self.info.shape, start, stop)
        if found is None:
            return unpack_plain(words, self.info.shape, start, stop)
        if isinstance(found, int):
            raise _damaged(self.path, f"event {found} of recording {index} is out of order, time or sensor")
        return found

    def verify(self) -> None:
        """Read every word once; raises DataError at the first block whose checksum differs."""
        self._require_sound(0, len(self.words))

    def _require_sound(self, first: int, last: int) -> None:
        size = self.words.itemsize
        for block in range(first * size // CHECK_BYTES, -(-last * size // CHECK_BYTES)):
            if not self.sound[block]:
                words = self.words[block * CHECK_BYTES // size : (block + 1) * CHECK_BYTES // size]
                if zlib.crc32(words.data) != self.checks[block]:
                    raise _damaged(self.path, f"the checksum of its MiB {block} differs")
                self.sound[block] = True


def field_bits(shape: SensorShape) -> tuple[int, int, int]:
    """Return the bits that channel, y and x take in a word.

    >>> field_bits(SensorShape(2, 34, 34))
    (1, 6, 6)
    """
    channel, y, x = (int(n - 1).bit_length() for n in shape)
    return channel, y, x


def unpack_plain(words: NDArray[Any], shape: SensorShape, start_us: int, stop_us: int) -> Events:
    """Unpack words with NumPy; raises DataError where they are no recording of the sensor."""
    of_channel, of_y, of_x = field_bits(shape)
    wide = words.astype(np.uint64)
    x, y, channel = (
        (wide >> np.uint64(at)) & np.uint64((1 << bits) - 1)
        for at, bits in ((0, of_x), (of_x, of_y), (of_x + of_y, of_channel))
    )
    t = (wide >> np.uint64(of_x + of_y + of_channel)).astype(np.int64) + start_us
    return Events.from_columns(t, channel, y, x, shape, start_us=start_us, stop_us=stop_us)


def read_packed(path: Path) -> Packed:
    """Map a file; raises DataError when it is foreign, truncated, of another schema, or when its index is damaged."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size != HEADER_BYTES - 8:
                raise DataError(f"{path} is no packed file: its header has {size} bytes, not {HEADER_BYTES - 8}")
            header = json.loads(file.read(size))
        meta = header["__metadata__"]
        if meta["format"] != FORMAT or meta["schema"] != SCHEMA:
            raise DataError(
                f"{path}: format {meta['format']}, schema {meta['schema']}, expected {FORMAT}, {SCHEMA}; delete the "
                "file and pack the data set again"
            )
        layout, plain = Layout(**json.loads(meta["layout"])), json.loads(meta["info"])
        info = PackedInfo(**plain | {"shape": SensorShape(*plain["shape"])})
        if header != header_of(info, layout, int(meta["crc32"])):
            raise ValueError("its header contradicts itself")
        expected = HEADER_BYTES + max(entry["data_offsets"][1] for key, entry in header.items() if key[0] != "_")
        if path.stat().st_size != expected:
            raise ValueError(f"{path.stat().st_size} bytes, expected {expected}")
        mapped = np.asarray(np.memmap(path, np.uint8, "r"))
        arrays = {name: _view(mapped, header[name]) for name in layout.arrays()}
        index = mapped[HEADER_BYTES + header["offsets"]["data_offsets"][0] :]
        if zlib.crc32(index.data, describe(info, layout)) != int(meta["crc32"]):
            raise ValueError("the checksum of its index differs")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    text, ends = arrays.pop("key_text"), arrays.pop("key_ends")
    sound = np.zeros(len(arrays["checks"]), np.bool_)
    return Packed(path=path, info=info, keys=Keys(text, ends), sound=sound, crc32=int(meta["crc32"]), **arrays)


def header_of(info: PackedInfo, layout: Layout, crc32: int) -> dict[str, Any]:
    """Return the header of a file, as plain data."""
    meta = {
        "format": FORMAT,
        "schema": SCHEMA,
        "info": json.dumps(asdict(info)),
        "layout": json.dumps(asdict(layout)),
        "crc32": str(crc32),
    }
    return {"__metadata__": meta, **dict(_places(layout.arrays()))}


def describe(info: PackedInfo, layout: Layout) -> int:
    """Return a checksum of what the header says; that of the index goes on from it."""
    return zlib.crc32(json.dumps([asdict(info), asdict(layout)]).encode())


def _places(arrays: Mapping[str, tuple[str, list[int]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    at = 0
    for name, (dtype, shape) in arrays.items():
        end = at + int(np.prod(shape)) * np.dtype(_NUMPY[dtype]).itemsize
        yield name, {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end


def _view(mapped: NDArray[np.uint8], entry: Mapping[str, Any]) -> NDArray[Any]:
    first, last = (HEADER_BYTES + at for at in entry["data_offsets"])
    return mapped[first:last].view(_NUMPY[entry["dtype"]]).reshape(entry["shape"])


def _damaged(path: Path, how: str) -> DataError:
    return DataError(f"{path} is damaged ({how}); delete it and pack the data set again")
