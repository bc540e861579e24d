from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.events import ops
from chiploop.events.types import Events, SensorShape

SHAPE = SensorShape(2, 4, 6)
FOUR = Events.from_columns([0, 10, 10, 30], [0, 1, 0, 1], [0, 1, 2, 3], [0, 1, 4, 5], SHAPE, stop_us=40)


def columns(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(*(getattr(events, c).tolist() for c in ("t_us", "channel", "y", "x")), strict=True))


def test_crop_time_is_half_open_and_takes_the_new_bounds() -> None:
    cropped = ops.crop_time(FOUR, 10, 30)
    assert columns(cropped) == [(10, 1, 1, 1), (10, 0, 2, 4)]
    assert (cropped.start_us, cropped.stop_us) == (10, 30)


def test_crop_space_counts_from_the_corner() -> None:
    cropped = ops.crop_space(FOUR, top=1, left=1, height=2, width=4)
    assert columns(cropped) == [(10, 1, 0, 0), (10, 0, 1, 3)]
    assert cropped.shape == (2, 2, 4)


def test_crop_space_outside_the_sensor_is_refused() -> None:
    with pytest.raises(DataError, match="leave the 4x6 sensor"):
        ops.crop_space(FOUR, top=2, left=0, height=3, width=1)


def test_shift_space_drops_what_leaves() -> None:
    assert columns(ops.shift_space(FOUR, dx=1, dy=-1)) == [(10, 1, 0, 2), (10, 0, 1, 5)]


def test_flip() -> None:
    assert ops.flip(FOUR, axis="x").x.tolist() == [5, 4, 1, 0]
    assert ops.flip(FOUR, axis="y").y.tolist() == [3, 2, 1, 0]
    with pytest.raises(DataError, match="'x' or 'y'"):
        ops.flip(FOUR, axis="t")


def test_refractory_by_hand() -> None:
    # One pixel at 0, 4, 5, 9, 10 with 5 us dead: 0 blinds 4, 5 is free again, 9 is blind, 10 is free.
    # Another pixel between is untouched.
    events = Events.from_columns([0, 1, 4, 5, 9, 10], [0] * 6, [0] * 6, [0, 1, 0, 0, 0, 0], SHAPE)
    assert ops.refractory(events, 5).t_us.tolist() == [0, 1, 5, 10]
    assert ops.refractory(events, 0) == events


def test_drop_keeps_the_expected_share() -> None:
    n, p = 40_000, 0.3
    many = Events.from_columns(np.arange(n), np.zeros(n, int), np.zeros(n, int), np.zeros(n, int), SHAPE)
    kept = len(ops.drop(many, p, np.random.default_rng(1)))
    assert abs(kept - n * (1 - p)) < 5 * math.sqrt(n * p * (1 - p))


def test_jitter_has_the_asked_for_spread() -> None:
    n, sigma = 20_000, 50.0
    many = Events.from_columns(
        np.full(n, 1_000), np.zeros(n, int), np.zeros(n, int), np.zeros(n, int), SHAPE, stop_us=2_000
    )
    moved = ops.jitter(many, sigma, np.random.default_rng(2)).t_us
    assert (np.diff(moved) >= 0).all()
    # The standard error of a standard deviation is sigma / sqrt(2 n).
    assert abs(moved.std() - sigma) < 5 * sigma / math.sqrt(2 * n)


def test_join_refuses_overlap_and_names_the_cure() -> None:
    with pytest.raises(DataError, match="before stream 0 stops at 40; shift_time"):
        ops.join([FOUR, FOUR])
    assert len(ops.join([FOUR, ops.shift_time(FOUR, 40)])) == 8
