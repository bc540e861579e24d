from __future__ import annotations

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.events.adapt import from_mapping, from_structured
from chiploop.events.types import SensorShape

SHAPE = SensorShape(2, 4, 6)


@pytest.mark.parametrize(
    "dtype",
    [
        [("t", "<i8"), ("x", "u1"), ("y", "u1"), ("p", "?")],
        [("polarity", "i1"), ("y", ">u2"), ("timestamp", "<u8"), ("x", "i4")],
        [("x", "i8"), ("channel", "u4"), ("ts", "i4"), ("y", "i8")],
    ],
)
def test_names_order_and_widths_do_not_matter(dtype: list[tuple[str, str]]) -> None:
    kinds = {"t": [5, 6], "timestamp": [5, 6], "ts": [5, 6], "x": [4, 1], "y": [3, 2]}
    array = np.zeros(2, dtype)
    for name, _ in dtype:
        array[name] = kinds.get(name, [1, 0])
    events = from_structured(array, SHAPE)
    assert (events.t_us.tolist(), events.x.tolist(), events.y.tolist()) == ([5, 6], [4, 1], [3, 2])
    assert events.channel.tolist() == [1, 0]


def test_signed_polarity_becomes_channels() -> None:
    events = from_mapping({"t": [0, 1], "x": [0, 0], "y": [0, 0], "p": [-1, 1]}, SHAPE)
    assert events.channel.tolist() == [0, 1]


def test_one_dimensional_sensors_need_no_y() -> None:
    events = from_mapping({"t": [0, 3], "x": [63, 2]}, SensorShape(1, 1, 64))
    assert (events.y.tolist(), events.channel.tolist(), events.x.tolist()) == ([0, 0], [0, 0], [63, 2])
    with pytest.raises(DataError, match="no field for y"):
        from_mapping({"t": [0], "x": [1], "p": [0]}, SHAPE)


def test_unsorted_is_refused_with_a_cure_and_sorted_stably() -> None:
    columns = {"t": [5, 3, 5, 3], "x": [0, 1, 2, 3], "y": [0] * 4, "p": [0] * 4}
    with pytest.raises(DataError, match=r"t\[1\] = 3 comes after 5.*sort=True"):
        from_mapping(columns, SHAPE)
    assert from_mapping(columns, SHAPE, sort=True).x.tolist() == [1, 3, 0, 2]


def test_missing_and_ambiguous_fields_are_named() -> None:
    with pytest.raises(DataError, match=r"no field for x .*Choices: p, t, y"):
        from_mapping({"t": [0], "y": [0], "p": [0]}, SHAPE)
    with pytest.raises(DataError, match=r"'p', 'c'.* all mean channel"):
        from_mapping({"t": [0], "x": [0], "y": [0], "p": [0], "c": [0]}, SHAPE)
    with pytest.raises(DataError, match="named fields"):
        from_structured(np.zeros(3), SHAPE)


def test_float_columns_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="column t_us is float64"):
        from_mapping({"t": [0.5], "x": [0], "y": [0], "p": [0]}, SHAPE)
    with pytest.raises(DataError, match="1, 2, 1, 1 entries"):
        from_mapping({"t": [0], "x": [0, 1], "y": [0], "p": [0]}, SHAPE)
