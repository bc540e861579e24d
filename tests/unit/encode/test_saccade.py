from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from chiploop.encode.saccade import SaccadeCamera, delayed
from chiploop.errors import DataError
from chiploop.events.types import Events

BAR = np.zeros((28, 28), np.uint8)
BAR[4:24, 12:16] = 255

# A bare camera: no scatter, no noise, no dead time, on a straight path to the right at 0.1 px a ms.
BARE = SaccadeCamera(
    threshold_on=0.2,
    threshold_off=0.2,
    mismatch=0.0,
    refractory_us=0.0,
    noise_on_hz=0.0,
    noise_off_hz=0.0,
    blur_px=0.0,
    path=((0.0, 0.0), (10.0, 0.0)),
    knot_us=100_000,
    duration_us=100_000,
    offset=(3.0, 3.0),
    pauses_us=(),
    onset_spread_us=(),
)


def record(camera: SaccadeCamera, image: np.ndarray = BAR, seed: int = 0) -> Events:
    return camera.record(image, np.random.default_rng(seed))


def test_an_empty_screen_gives_noise_alone_at_its_rate() -> None:
    camera = SaccadeCamera(noise_on_hz=2.0, noise_off_hz=1.0)
    blank = np.zeros((28, 28), np.uint8)
    recordings = camera.record_batch([blank] * 20, [np.random.default_rng(k) for k in range(20)])
    on = sum(int(e.channel.sum()) for e in recordings)
    off = sum(len(e) for e in recordings) - on
    for found, hz in ((on, 2.0), (off, 1.0)):
        expected = hz * 34 * 34 * 0.32 * 20
        assert abs(found - expected) < 5 * math.sqrt(expected)


def test_a_still_camera_sees_nothing() -> None:
    assert len(record(dataclasses.replace(BARE, path=((0.0, 0.0), (0.0, 0.0))))) == 0


def test_each_pixel_counts_thresholds_crossed() -> None:
    # A row that the bar has wholly passed over (10 px of movement, bar 4 wide) fell by log((a + 1) / a) and rose again.
    swing = math.log((BARE.ambient + 1) / BARE.ambient)
    events = record(BARE)
    row = events.y == 15
    for x in (20, 21, 22):
        pixel = row & (events.x == x)
        off, on = int((events.channel[pixel] == 0).sum()), int((events.channel[pixel] == 1).sum())
        # Where between its thresholds the pixel stood at first decides one event each way.
        assert math.floor(swing / 0.2) - 1 <= off <= math.ceil(swing / 0.2)
        assert math.floor(swing / 0.2) - 1 <= on <= math.ceil(swing / 0.2)


def test_the_leading_edge_of_a_dark_stroke_is_off_and_of_a_bright_one_on() -> None:
    for inverted, leading in ((True, 0), (False, 1)):
        events = record(dataclasses.replace(BARE, inverted=inverted))
        column = (events.x == 21) & (events.y == 15)
        assert events.channel[column][0] == leading
        assert events.channel[column][-1] == 1 - leading


def test_event_times_follow_the_edge() -> None:
    # The bar's right edge stands between columns 15 and 16 of the image, which lies 3 px in; half its rise is at 15.5.
    events = record(dataclasses.replace(BARE, threshold_on=1e-2, threshold_off=1e-2, refractory_us=0.0))
    for x in (21, 23):
        pixel = (events.x == x) & (events.y == 15) & (events.channel == 0)
        start_ms, stop_ms = (x - (3 + 16)) / 0.1, (x - (3 + 15)) / 0.1
        times = events.t_us[pixel] / 1_000
        assert start_ms - 1.5 <= times.min() <= start_ms + 2.5  # a step is 2 ms at this speed
        assert stop_ms - 2.5 <= times.max() <= stop_ms + 1.5


def test_refractory_time_separates_events_of_a_pixel() -> None:
    events = record(dataclasses.replace(BARE, refractory_us=3_000.0))
    address = events.y.astype(int) * 34 + events.x
    order = np.argsort(address, kind="stable")
    gaps = np.diff(events.t_us[order])[np.diff(address[order]) == 0]
    # Times are cut to whole microseconds.
    assert gaps.size > 100
    assert gaps.min() >= 2_999


def test_lower_thresholds_give_more_events_and_a_lag_later_ones() -> None:
    base = record(BARE)
    assert len(record(dataclasses.replace(BARE, threshold_on=0.1, threshold_off=0.1))) > 1.8 * len(base)
    slow = record(dataclasses.replace(BARE, lag_us=4_000.0))

    def fall(events: Events) -> float:
        return float(events.t_us[(events.channel == 0) & (events.x >= 20) & (events.x <= 22)].mean())

    # A first-order low-pass answers a step late by its time constant, averaged over the levels crossed.
    assert 3_000 < fall(slow) - fall(base) < 5_000


def test_a_recording_depends_on_image_and_generator_only() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 28, 28)).astype(np.uint8)
    together = SaccadeCamera().record_batch(images, [np.random.default_rng(k) for k in range(40)])
    for k in (0, 33, 39):
        assert SaccadeCamera().record(images[k], np.random.default_rng(k)) == together[k]
    assert together[0] != SaccadeCamera().record(images[0], np.random.default_rng(1))


def test_steps_are_bounded_in_space_and_time() -> None:
    camera = SaccadeCamera()
    times = camera.steps_us()
    assert (times[0], times[-1]) == (0, camera.duration_us)
    assert np.diff(times).max() <= 1.01 * camera.step_us
    moved = np.linalg.norm(np.diff(camera.position(times), axis=0), axis=1)
    assert moved.max() <= 1.3 * camera.step_px  # the chord of a path whose length is what is divided evenly


def test_delays_move_each_movement_and_keep_order() -> None:
    camera = SaccadeCamera()
    t = np.array([50_000.0, 105_000.0, 150_000.0, 280_000.0])
    assert delayed(camera, t, [2_000.0, -3_000.0]).tolist() == [50_000, 106_000, 152_000, 277_000]
    fine = np.linspace(0, camera.duration_us - 1, 5_000)
    assert (np.diff(delayed(camera, fine, [-5_000.0, 3_900.0])) >= 0).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [("threshold_on", 0.0), ("mismatch", -0.1), ("path", ((0.0, 0.0),)), ("onset_spread_us", (50_000.0, 0.0))],
)
def test_impossible_cameras_are_refused(field: str, value: object) -> None:
    with pytest.raises(DataError, match=r"SaccadeCamera"):
        SaccadeCamera(**{field: value})


def test_colour_and_float_images_are_refused() -> None:
    for image in (np.zeros((28, 28, 3), np.uint8), np.zeros((28, 28), np.float32)):
        with pytest.raises(DataError, match="a grey image is uint8"):
            record(SaccadeCamera(), image)
