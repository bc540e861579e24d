"""What every camera keeps, whatever its settings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.encode.saccade import SaccadeCamera

CAMERAS = {
    "default": SaccadeCamera(),
    "bright strokes": SaccadeCamera(inverted=False),
    "slow photoreceptor": SaccadeCamera(lag_us=2_000.0),
    "ideal": SaccadeCamera(mismatch=0.0, noise_on_hz=0.0, noise_off_hz=0.0, onset_spread_us=(0.0, 0.0)),
    "coarse steps": SaccadeCamera(step_px=0.5, step_us=20_000),
}


@pytest.mark.parametrize("name", sorted(CAMERAS))
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_recordings_are_valid_and_repeat(name: str, seed: int) -> None:
    camera = CAMERAS[name]
    image = np.random.default_rng(seed).integers(0, 256, (28, 28)).astype(np.uint8)
    one, two = (camera.record(image, np.random.default_rng(seed)) for _ in range(2))
    assert one == two  # its constructor has checked order, bounds and addresses
    assert (one.start_us, one.stop_us, one.shape) == (0, camera.duration_us, camera.shape)
    assert len(one) > 0


@pytest.mark.parametrize("grey", [0, 255])
def test_flat_images_of_an_ideal_camera(grey: int) -> None:
    image = np.full((28, 28), grey, np.uint8)
    events = CAMERAS["ideal"].record(image, np.random.default_rng(0))
    # A full image still has a border that moves; an empty one has nothing.
    assert (len(events) == 0) == (grey == 0)


def test_cameras_with_equal_settings_are_equal() -> None:
    assert dataclasses.replace(SaccadeCamera()) == SaccadeCamera()
    assert hash(SaccadeCamera(lag_us=1.0)) != hash(SaccadeCamera())
