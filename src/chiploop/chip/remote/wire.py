"""What crosses the wire: values and arrays in a frame with version and checksum, built back from type hints.

    frame = "CHLP", version (2 bytes), CRC-32 of the body (4 bytes), body
    body  = arrays as safetensors, with the structure as JSON in its metadata

Unlike a file (`chiploop.tree`), a message keeps the order in which an array lies in memory: torch takes another
algorithm, with other last bits, for another order, and training must not depend on where the device is.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import types
import typing
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from chiploop.errors import ChiploopError, DataError, DeviceError
from chiploop.events.types import Events, SensorShape

SERVICE = "chiploop.Device"
VERSION = 1
"""Version of the messages; both ends must have the same."""

MAX_MESSAGE_BYTES = 1 << 28
"""Bound of one message, 256 MiB; larger batches go in several."""

_MAGIC = b"CHLP"
_HEAD = struct.Struct("<4sHI")
_SCALARS = (bool, int, float, str)
_Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Parcel:
    """A message that arrived whole: fields by name, not yet of any type."""

    structure: Mapping[str, Any]
    arrays: _Arrays

    def take(self, /, **hints: Any) -> dict[str, Any]:
        """Return the fields, each as the type it is asked for; DataError for what is missing, too much or of another.

        >>> unpack(pack(n=3, name="a")).take(n=int, name=str)
        {'n': 3, 'name': 'a'}
        """
        if self.structure.keys() != hints.keys():
            raise DataError(f"a message has the fields {sorted(self.structure)}, expected {sorted(hints)}")
        found = {}
        for name, hint in hints.items():
            try:
                found[name] = _build(self.structure[name], hint, self.arrays)
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
                raise DataError(f"field {name!r} of a message is damaged: {error}") from error
            except DataError:
                raise
            except ChiploopError as error:
                raise DataError(f"field {name!r} of a message: {error}") from error
        return found


def pack(**fields: Any) -> bytes:
    """Return the frame of a message: fields of numbers, text, bytes, arrays, frozen dataclasses, tables and tuples."""
    arrays: dict[str, NDArray[Any]] = {}
    structure = json.dumps({name: _flatten(value, arrays) for name, value in fields.items()})
    body: bytes = save_arrays(arrays, metadata={"message": structure})
    return _HEAD.pack(_MAGIC, VERSION, zlib.crc32(body)) + body


def unpack(frame: bytes) -> Parcel:
    """Return a message; DataError when it is damaged, DeviceError when the other end speaks another version."""
    if len(frame) < _HEAD.size:
        raise DataError(f"a message of {len(frame)} bytes is cut short")
    magic, version, checksum = _HEAD.unpack_from(frame)
    if magic != _MAGIC:
        raise DataError("a message does not begin as chiploop's do")
    if version != VERSION:
        raise DeviceError(
            f"the other end speaks version {version} of the protocol, this one {VERSION}: install the same chiploop on "
            "both ends"
        )
    body = frame[_HEAD.size :]
    if zlib.crc32(body) != checksum:
        raise DataError("a message was damaged on its way: its checksum differs")
    try:
        arrays = load_arrays(body)
        size = int.from_bytes(body[:8], "little")
        structure = json.loads(json.loads(body[8 : 8 + size])["__metadata__"]["message"])
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"a message cannot be read: {error}") from error
    if not isinstance(structure, dict):
        raise DataError("a message is no table of fields")
    return Parcel(structure, arrays)


@dataclass(frozen=True, eq=False)
class Streams:
    """A batch of event streams in few arrays: columns joined, `lengths` [B], `shapes` [B, 3], `bounds_us` [B, 2]."""

    t_us: NDArray[np.int64]
    channel: NDArray[np.uint16]
    y: NDArray[np.uint16]
    x: NDArray[np.uint16]
    lengths: NDArray[np.int64]
    shapes: NDArray[np.int64]
    bounds_us: NDArray[np.int64]

    @classmethod
    def of(cls, batch: Sequence[Events]) -> Streams:
        """Join streams."""
        columns = {
            name: np.concatenate([getattr(e, name) for e in batch] or [np.zeros(0, dtype)])
            for name, dtype in (("t_us", np.int64), ("channel", np.uint16), ("y", np.uint16), ("x", np.uint16))
        }
        return cls(
            **columns,
            lengths=np.array([len(e) for e in batch], np.int64),
            shapes=np.array([e.shape for e in batch], np.int64).reshape(-1, 3),
            bounds_us=np.array([(e.start_us, e.stop_us) for e in batch], np.int64).reshape(-1, 2),
        )

    def batch(self) -> tuple[Events, ...]:
        """Return the streams; DataError unless the parts make them up."""
        n, total = len(self.lengths), int(self.lengths.sum())
        sizes = {len(column) for column in (self.t_us, self.channel, self.y, self.x)}
        fits = self.shapes.shape == (n, 3) and self.bounds_us.shape == (n, 2) and self.lengths.ndim == 1
        if not fits or sizes != {total} or (n and int(self.lengths.min()) < 0):
            raise DataError("the event streams of a message do not fit together")
        batch, begin = [], 0
        for length, shape, bounds in zip(
            self.lengths.tolist(), self.shapes.tolist(), self.bounds_us.tolist(), strict=True
        ):
            one = slice(begin, begin + length)
            columns = (self.t_us[one], self.channel[one], self.y[one], self.x[one])
            batch.append(Events(*columns, SensorShape(*shape), bounds[0], bounds[1]))
            begin += length
        return tuple(batch)


def _flatten(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        # Axes from the slowest to the fastest in memory. Where strides tie, an axis of size 1 lies inside.
        axes = sorted(range(value.ndim), key=lambda axis: (-value.strides[axis], -value.shape[axis]))
        lying = value.transpose(axes)
        if not lying.flags.c_contiguous:
            axes, lying = list(range(value.ndim)), np.ascontiguousarray(value)
        name = str(len(arrays))
        arrays[name] = lying
        return {"array": name, "axes": axes}
    if isinstance(value, bytes):
        return _flatten(np.frombuffer(value, np.uint8), arrays)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _flatten(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _flatten(item, arrays) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_flatten(item, arrays) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, _SCALARS):
        return value
    raise TypeError(f"cannot send a {type(value).__name__}")


def _build(data: Any, hint: Any, arrays: _Arrays) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):  # of one type and None
        (inner,) = (arg for arg in args if arg is not type(None))
        return None if data is None else _build(data, inner, arrays)
    if origin is np.ndarray:
        return _array(data, np.dtype(typing.get_args(args[1])[0]), arrays)
    if hint is bytes:
        return _array(data, np.dtype(np.uint8), arrays).tobytes()
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _build(item, args[1], arrays) for key, item in data.items()}
    if origin in (tuple, frozenset):
        return origin(_build(item, args[0], arrays) for item in _list(data))
    if isinstance(hint, type) and issubclass(hint, tuple):  # a NamedTuple
        hints = typing.get_type_hints(hint)
        return hint(*(_build(item, hints[name], arrays) for item, name in zip(_list(data), hints, strict=True)))
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        names = [f.name for f in dataclasses.fields(hint)]
        if data.keys() != set(names):
            raise ValueError(f"{getattr(hint, '__name__', hint)} with the fields {sorted(data)}")
        return typing.cast(Any, hint)(**{name: _build(data[name], hints[name], arrays) for name in names})
    if hint is float and type(data) is int:
        return float(data)
    if type(data) is not hint:
        raise TypeError(f"{data!r:.60} is not a {getattr(hint, '__name__', hint)}")
    return data


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise TypeError(f"{data!r:.60} is not a list")
    return data


def _array(data: Any, dtype: np.dtype[Any], arrays: _Arrays) -> NDArray[Any]:
    array, axes = arrays[data["array"]], _list(data["axes"])
    if array.dtype != dtype:
        raise TypeError(f"an array of {array.dtype} stands where {dtype} belongs")
    if sorted(axes) != list(range(array.ndim)):
        raise ValueError(f"axes {axes} of an array with {array.ndim}")
    return array.transpose(np.argsort(axes)) if axes else array
