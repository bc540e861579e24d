from __future__ import annotations

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape

SHAPE = SensorShape(2, 4, 5)


def test_times_must_not_decrease() -> None:
    with pytest.raises(DataError, match=r"t_us\[2\] = 3 comes after 7.*sort"):
        Events.from_columns([1, 7, 3], [0, 0, 0], [0, 0, 0], [0, 0, 0], SHAPE, stop_us=10)


@pytest.mark.parametrize(("column", "bound"), [("channel", 1), ("y", 3), ("x", 4)])
def test_address_outside_the_sensor_is_named(column: str, bound: int) -> None:
    columns = {"channel": [0, 0], "y": [0, 0], "x": [0, 0]} | {column: [0, bound + 1]}
    with pytest.raises(DataError, match=rf"events.{column}\[1\] = {bound + 1} is outside the sensor \(0..{bound}\)"):
        Events.from_columns([0, 1], columns["channel"], columns["y"], columns["x"], SHAPE)


def test_bounds_are_half_open() -> None:
    assert len(Events.from_columns([0, 9], [0, 0], [0, 0], [0, 0], SHAPE, stop_us=10)) == 2
    with pytest.raises(DataError, match="holds 10, outside"):
        Events.from_columns([0, 10], [0, 0], [0, 0], [0, 0], SHAPE, stop_us=10)


def test_columns_are_frozen_and_own_their_memory() -> None:
    t = np.array([1, 2], np.int64)
    events = Events.from_columns(t, [0, 1], [0, 1], [0, 1], SHAPE)
    t[0] = 99
    assert events.t_us.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        events.t_us[0] = 5


def test_equality_is_by_content_and_order() -> None:
    one = Events.from_columns([1, 1], [0, 1], [0, 0], [0, 0], SHAPE)
    same = Events.from_columns([1, 1], [0, 1], [0, 0], [0, 0], SHAPE)
    swapped = Events.from_columns([1, 1], [1, 0], [0, 0], [0, 0], SHAPE)
    assert one == same
    assert hash(one) == hash(same)
    assert one != swapped


def test_a_float_column_is_refused() -> None:
    with pytest.raises(DataError, match="dtype float64"):
        Events.from_columns([0.5], [0], [0], [0], SHAPE)
