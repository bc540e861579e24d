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
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from chiploop import atomic
from chiploop.digest import digest
from chiploop.errors import ChiploopError, DataError

T = TypeVar("T")
_Arrays = dict[str, NDArray[Any]]
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
    arrays: _Arrays = {}
    structure = _flatten(value, arrays, "")
    described = {"schema": SCHEMA, "type": type(value).__name__, "value": structure}
    header = json.dumps({**described, "digest": digest([described, arrays])}, sort_keys=True)
    content: bytes = save_arrays(arrays, metadata={"chiploop": header})
    return content


def from_bytes(content: bytes, cls: type[T], *, where: str = "bytes") -> T:
    """Read a dataclass from file content."""
    arrays, header = _load(content, where)
    if header.get("schema") != SCHEMA or header.get("type") != cls.__name__:
        raise DataError(
            f"{where} holds a {header.get('type')!r} of schema {header.get('schema')}, "
            f"expected {cls.__name__!r} of schema {SCHEMA}"
        )
    try:
        built: T = _build(header["value"], cls, arrays)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(f"{where} does not describe a {cls.__name__}: {error}") from error
    except ChiploopError as error:
        raise DataError(f"{where}: {error}") from error
    return built


def _load(content: bytes, where: str) -> tuple[_Arrays, dict[str, Any]]:
    """Return arrays and header of a file whose digest says that it is whole (safetensors itself has no checksum)."""
    try:
        arrays = load_arrays(content)
        size = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["chiploop"])
        promised = header.pop("digest")
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{where} is not a chiploop file, or is damaged: {error}") from error
    if promised != digest([header, arrays]):
        raise DataError(f"{where} is damaged: its content does not have the digest that it was written with")
    return arrays, header


def _flatten(value: Any, arrays: _Arrays, path: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: _flatten(getattr(value, f.name), arrays, f"{path}.{f.name}") for f in dataclasses.fields(value)
        }
        return {"type": type(value).__name__, **{f"_{name}": field for name, field in fields.items()}}
    if isinstance(value, np.ndarray):
        name = path if path not in arrays else f"{path}#{len(arrays)}"  # keys with dots can make two paths alike
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name}
    if isinstance(value, (tuple, list)):
        return [_flatten(item, arrays, f"{path}.{i}") for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {f"_{key}": _flatten(item, arrays, f"{path}.{key}") for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{path}: cannot write a {type(value).__name__}")


def _build(data: Any, hint: Any, arrays: _Arrays) -> Any:
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
        return _build_dataclass(data, hint, arrays)
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, hint) or (hint is int and isinstance(data, bool)):
        raise TypeError(f"{data!r} is not a {hint.__name__}")
    return data


def _build_dataclass(data: Any, cls: Any, arrays: _Arrays) -> Any:
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    if data["type"] != cls.__name__:
        raise ValueError(f"a {data['type']!r} stands where a {cls.__name__!r} belongs")
    if unknown := sorted(data.keys() - {"type", *(f"_{name}" for name in names)}):
        raise ValueError(f"{cls.__name__} has no field {unknown[0].removeprefix('_')!r}")
    return cls(**{name: _build(data[f"_{name}"], hints[name], arrays) for name in names if f"_{name}" in data})


def _build_union(data: Any, args: tuple[Any, ...], arrays: _Arrays) -> Any:
    if data is None and type(None) in args:
        return None
    named = {a.__name__: a for a in args if isinstance(a, type) and dataclasses.is_dataclass(a)}
    if isinstance(data, dict) and "type" in data:
        if data["type"] not in named:
            raise ValueError(f"unknown type {data['type']!r}")
        return _build(data, named[data["type"]], arrays)
    rest = [a for a in args if a is not type(None) and not dataclasses.is_dataclass(a)]
    return _build(data, rest[0], arrays)
