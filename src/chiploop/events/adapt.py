"""Arrays from elsewhere: structured arrays, data frames' columns, dictionaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DataError, nearest
from chiploop.events.types import Events, SensorShape

SYNONYMS = {
    "t_us": ("t_us", "t", "ts", "timestamp"),
    "x": ("x",),
    "y": ("y",),
    "channel": ("channel", "p", "polarity", "pol", "feature", "c"),
}


def from_structured(
    array: NDArray[Any],
    shape: SensorShape,
    *,
    sort: bool = False,
    start_us: int | None = None,
    stop_us: int | None = None,
) -> Events:
    """Return the events of a structured array, found by field names in any order and any integer or boolean width.

    Names: t (t_us, ts, timestamp), x, y, p (channel, polarity, pol, feature, c). A sensor of one row may have no y, one
    of one channel no p. Polarities -1 and 1 become 0 and 1. Unsorted times are refused unless `sort` asks for a stable
    sort. `start_us` defaults to the earlier of 0 and the first time, `stop_us` to just after the last.

    >>> a = np.array([(7, 1, 2, True)], dtype=[("t", "i8"), ("y", "u1"), ("x", "u1"), ("p", "?")])
    >>> from_structured(a, SensorShape(2, 3, 4)).channel.tolist()
    [1]
    """
    if array.dtype.names is None:
        raise DataError(f"from_structured needs an array with named fields; this one has dtype {array.dtype}")
    columns = {name: array[name] for name in array.dtype.names}
    return from_mapping(columns, shape, sort=sort, start_us=start_us, stop_us=stop_us)


def from_mapping(
    columns: Mapping[str, Any],
    shape: SensorShape,
    *,
    sort: bool = False,
    start_us: int | None = None,
    stop_us: int | None = None,
) -> Events:
    """Return the events of a mapping of columns, as `from_structured` does."""
    shape = SensorShape(*shape)
    found = {name: _find(columns, name) for name in SYNONYMS}
    for name, size in (("y", shape.height), ("channel", shape.channels)):
        if found[name] is None and size > 1:
            raise _missing(name, columns, f"the sensor has {size} of them")
    for name in ("t_us", "x"):
        if found[name] is None:
            raise _missing(name, columns, "every event needs one")
    t = _integers("t_us", found["t_us"])
    nothing = np.zeros(len(t), np.int64)
    x, y, channel = (nothing if found[name] is None else _integers(name, found[name]) for name in ("x", "y", "channel"))
    if channel.size and channel.min() == -1 and not (channel == 0).any():
        channel = (channel > 0).astype(np.int64)
    if len({len(t), len(x), len(y), len(channel)}) > 1:
        sizes = f"{len(t)}, {len(x)}, {len(y)}, {len(channel)}"
        raise DataError(f"columns t, x, y, p have {sizes} entries; they must have as many")
    t, channel, y, x = _in_order(t, channel, y, x, sort=sort)
    start = min(0, int(t[0]) if t.size else 0) if start_us is None else start_us
    return Events.from_columns(t, channel, y, x, shape, start_us=start, stop_us=stop_us)


def _in_order(t: NDArray[np.int64], *others: NDArray[np.int64], sort: bool) -> tuple[NDArray[np.int64], ...]:
    backwards = t[1:] < t[:-1]
    if not backwards.any():
        return (t, *others)
    if not sort:
        i = int(np.argmax(backwards)) + 1
        raise DataError(f"t[{i}] = {t[i]} comes after {t[i - 1]}: times must not decrease; pass sort=True to sort them")
    order = np.argsort(t, kind="stable")
    return tuple(column[order] for column in (t, *others))


def _find(columns: Mapping[str, Any], name: str) -> Any:
    present = [synonym for synonym in SYNONYMS[name] if synonym in columns]
    if len(present) > 1:
        raise DataError(f"fields {present} all mean {name}; keep one")
    return columns[present[0]] if present else None


def _missing(name: str, columns: Iterable[str], why: str) -> DataError:
    return DataError(f"no field for {name} ({', '.join(SYNONYMS[name])}), and {why}; {nearest(name, columns)}")


def _integers(name: str, column: Any) -> NDArray[np.int64]:
    values = np.asarray(column)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iub"):
        raise DataError(f"column {name} is {values.dtype}{list(values.shape)}; expected one row of integers")
    if values.dtype == np.uint64 and values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise DataError(f"column {name} holds {values.max()}, past the largest 64-bit integer")
    return values.astype(np.int64)
