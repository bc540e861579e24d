"""One generic writer and reader for trees of frozen dataclasses with arrays: safetensors, with the structure as JSON.

The reader walks the dataclass's own fields and type hints, so a type added later needs no code here, and nothing in
a file can name a class that the hints don't (no pickling, no dotted paths).
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from chiploop import atomic
from chiploop.errors import ChiploopError, DataError

T = TypeVar("T")
SCHEMA = 1


def write(path: Path, value: Any) -> None:
    """Write a frozen dataclass atomically; `read` gives back an equal one."""
    atomic.write_bytes(path, to_bytes(value))


def read(path: Path, cls: type[T]) -> T:
    """Read a dataclass of type `cls`; raises DataError that names the file when it is damaged or holds another type."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return from_bytes(content, cls, where=str(path))


def to_bytes(value: Any) -> bytes:
    """Return the file content of a frozen dataclass; equal values give equal bytes."""
    arrays: dict[str, np.ndarray] = {}  # type: ignore[type-arg]
    structure = _flatten(value, arrays, "")
    header = json.dumps({"schema": SCHEMA, "type": type(value).__name__, "value": structure}, sort_keys=True)
    content: bytes = save_arrays(arrays, metadata={"chiploop": header})
    return content


def from_bytes(content: bytes, cls: type[T], *, where: str = "bytes") -> T:
    """Read a dataclass from file content."""
    try:
        arrays = load_arrays(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["chiploop"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where} is not a chiploop file, or is damaged: {error}") from error
    if header.get("schema") != SCHEMA or header.get("type") != cls.__name__:
        raise DataError(
            f"{where} holds a {header.get('type')!r} of schema {header.get('schema')}, expected {cls.__name__!r} of schema {SCHEMA}"
        )
    try:
        built: T = _build(header["value"], cls, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where} does not describe a {cls.__name__}: {error}") from error
    except ChiploopError as error:
        raise DataError(f"{where}: {error}") from error
    return built


def _flatten(value: Any, arrays: dict[str, np.ndarray], path: str) -> Any:  # type: ignore[type-arg]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _flatten(getattr(value, f.name), arrays, f"{path}.{f.name}") for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **{f"_{name}": field for name, field in fields.items()}}
    if isinstance(value, np.ndarray):
        arrays[path] = np.ascontiguousarray(value)
        return {"array": path}
    if isinstance(value, (tuple, list)):
        return [_flatten(item, arrays, f"{path}.{i}") for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {f"_{key}": _flatten(item, arrays, f"{path}.{key}") for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{path}: cannot write a {type(value).__name__}")


def _build(data: Any, hint: Any, arrays: dict[str, np.ndarray]) -> Any:  # type: ignore[type-arg]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _build_union(data, args, arrays)
    if origin is typing.Literal:
        if data not in args:
            raise ValueError(f"{data!r} is none of {args}")
        return data
    if origin is np.ndarray or hint is np.ndarray:
        return arrays[data["array"]]
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_build(item, args[0], arrays) for item in data)
        return tuple(_build(item, arg, arrays) for item, arg in zip(data, args, strict=True))
    if origin is dict:
        return {key[1:]: _build(item, args[1], arrays) for key, item in data.items()}
    if isinstance(hint, type) and issubclass(hint, tuple):  # a NamedTuple
        hints = typing.get_type_hints(hint)
        return hint(*(_build(item, hints[name], arrays) for item, name in zip(data, hints, strict=True)))
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        names = [f.name for f in dataclasses.fields(hint)]
        return hint(**{name: _build(data[f"_{name}"], hints[name], arrays) for name in names if f"_{name}" in data})  # type: ignore[operator]
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, hint) or (hint is int and isinstance(data, bool)):
        raise TypeError(f"{data!r} is not a {hint.__name__}")
    return data


def _build_union(data: Any, args: tuple[Any, ...], arrays: dict[str, np.ndarray]) -> Any:  # type: ignore[type-arg]
    if data is None and type(None) in args:
        return None
    named = {a.__name__: a for a in args if dataclasses.is_dataclass(a)}
    if isinstance(data, dict) and "type" in data:
        if data["type"] not in named:
            raise ValueError(f"unknown type {data['type']!r}")
        return _build(data, named[data["type"]], arrays)
    rest = [a for a in args if a is not type(None) and not dataclasses.is_dataclass(a)]
    return _build(data, rest[0], arrays)
