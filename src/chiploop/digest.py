"""Content digests: equality and hash of data by what it holds."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _chunks(value: object) -> Iterator[bytes]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield f"<{type(value).__name__}".encode()
        for field in dataclasses.fields(value):
            yield f".{field.name}=".encode()
            yield from _chunks(getattr(value, field.name))
        yield b">"
    elif isinstance(value, np.ndarray):
        yield f"[{value.dtype.str}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
        yield b"]"
    elif isinstance(value, Mapping):
        yield b"{"
        for key in sorted(value):
            yield f"{key!r}:".encode()
            yield from _chunks(value[key])
        yield b"}"
    elif isinstance(value, (tuple, list)):
        yield b"("
        for item in value:
            yield from _chunks(item)
            yield b","
        yield b")"
    elif isinstance(value, enum.Enum):
        yield repr(value.value).encode()
    elif value is None or isinstance(value, (str, int, float, bool)):
        yield json.dumps(value).encode()
    else:
        raise TypeError(f"cannot digest a {type(value).__name__}")


def digest(value: object) -> str:
    """Return the SHA-256 of plain data: dataclasses, arrays, mappings, sequences, numbers, text.

    >>> digest({"a": 1, "b": (2, 3)}) == digest({"b": (2, 3), "a": 1})
    True
    """
    total = hashlib.sha256()
    for chunk in _chunks(value):
        total.update(chunk)
    return total.hexdigest()


class ByContent:
    """Equality and hash by content, for frozen dataclasses that hold arrays (declare them with eq=False)."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the type and every field."""
        return digest(self)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, ByContent)
        return self.digest == other.digest

    def __hash__(self) -> int:
        return int(self.digest[:15], 16)


def read_only(array: NDArray[Any], dtype: np.dtype[Any] | type | None = None) -> NDArray[Any]:
    """Return a contiguous array nobody can write to; the caller's own array is copied unless it is frozen already."""
    frozen = np.ascontiguousarray(array, dtype=dtype)
    if frozen.flags.writeable:
        if frozen is array or frozen.base is not None:
            frozen = frozen.copy()
        frozen.flags.writeable = False
    return frozen
