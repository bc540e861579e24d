"""Random changes of recordings."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.events.types import Events, SensorShape
from chiploop.learn.augment import Augment
from chiploop.rng import stream
from strategies_network import shapes_samples

STRENGTHS = {"shift_px": 2.0, "rotate_deg": 30.0, "scale": 0.3, "shear": 1.0, "drop": 0.5, "crop": 0.4}


def test_strength_zero_is_the_identity() -> None:
    events = shapes_samples(1).events(0)
    assert Augment()(events, stream(0, "augment")) == events


@pytest.mark.parametrize("name", STRENGTHS)
def test_each_change_changes_and_is_decided_by_its_generator(name: str) -> None:
    events, augment = shapes_samples(1).events(0), Augment(**{name: STRENGTHS[name]})
    changed = [augment(events, stream(seed, "augment")) for seed in (1, *range(1, 9))]
    assert changed[0] == changed[1]
    assert len({*changed, events}) >= 3  # two draws can round to the same pixels, on a sensor as small as this
    assert all((e.start_us, e.stop_us, e.shape) == (events.start_us, events.stop_us, events.shape) for e in changed)


def test_a_shift_moves_every_event_by_the_same_whole_pixels() -> None:
    shape = SensorShape(1, 40, 40)
    middle = Events.from_columns(range(5), [0] * 5, [18, 19, 20, 21, 20], [20, 18, 19, 20, 22], shape)
    for seed in range(20):
        moved = Augment(shift_px=6.0)(middle, stream(seed, "augment"))
        dy, dx = moved.y.astype(int) - middle.y, moved.x.astype(int) - middle.x
        assert len(set(dy)) == len(set(dx)) == 1
        assert max(abs(dy[0]), abs(dx[0])) <= 6


def test_a_turn_keeps_distances_from_the_middle() -> None:
    shape = SensorShape(1, 41, 41)
    ring = Events.from_columns(range(4), [0] * 4, [5, 20, 35, 20], [20, 35, 20, 5], shape)  # 15 pixels from (20, 20)
    for seed in range(20):
        turned = Augment(rotate_deg=90.0)(ring, stream(seed, "augment"))
        distance = np.hypot(turned.y.astype(float) - 20, turned.x.astype(float) - 20)
        np.testing.assert_allclose(distance, 15.0, atol=0.71)  # a rounding of half a pixel in y and in x


def test_lost_and_cropped_shares_stay_within_bounds() -> None:
    shape, n = SensorShape(1, 1, 1), 10_000
    events = Events.from_columns(range(n), [0] * n, [0] * n, [0] * n, shape)
    for seed in range(20):
        dropped = Augment(drop=0.3)(events, stream(seed, "augment"))
        assert len(dropped) / n > 0.7 - 5 * (0.21 / n) ** 0.5  # five standard deviations
        cropped = Augment(crop=0.3)(events, stream(seed, "augment"))
        assert len(cropped) >= 0.7 * n - 1
        assert np.all(np.diff(cropped.t_us) == 1)  # one end is cut, nothing in between
        assert cropped.t_us[0] == 0 or cropped.t_us[-1] == n - 1
