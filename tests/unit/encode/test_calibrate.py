"""The calibration finds what is known, and the defaults agree with real recordings as their comment says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from chiploop.encode.calibrate import compare, load_pairs, mismatch_loss, search
from chiploop.encode.saccade import SaccadeCamera
from chiploop.encode.saccade_delay import align, estimate_delays
from chiploop.encode.saccade_fit import Pair, correct_path, fit_path
from chiploop.encode.saccade_picture import write_picture

STEADY = SaccadeCamera(onset_spread_us=(0.0, 0.0))


def blobs(n: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.indices((28, 28))
    centres = rng.uniform(8, 20, (n, 3, 2))
    spots = np.exp(-((y - centres[..., :1, None]) ** 2 + (x - centres[..., 1:, None]) ** 2) / 6.0).max(axis=1)
    return list((255 * spots).astype(np.uint8))


def pairs_of(camera: SaccadeCamera, n: int, seed: int) -> list[Pair]:
    images = blobs(n, seed)
    recordings = camera.record_batch(images, [np.random.default_rng([seed, k]) for k in range(n)])
    return [Pair(e, image) for e, image in zip(recordings, images, strict=True)]


def test_a_wrong_path_is_brought_back() -> None:
    pairs = pairs_of(STEADY, 30, 1)
    true = np.array(STEADY.path) + STEADY.offset
    wrong = dataclasses.replace(STEADY, path=tuple((0.8 * x + 0.3, 0.9 * y) for x, y in STEADY.path), offset=(1.0, 0.9))
    found = fit_path(wrong, pairs, iterations=6)
    corrected = correct_path(wrong, pairs, [np.random.default_rng([9, k]) for k in range(30)])
    errors = [np.abs(np.array(c.path) + c.offset - true) for c in (wrong, found, corrected)]
    assert errors[0].max() > 0.8
    # Events come some 2 ms after the change that causes them, so while the image moves (0.13 px a ms) the path lags;
    # simulated recordings tell by how much.
    assert errors[1].max() < 0.4
    assert errors[2].max() < 0.15
    assert errors[2].mean() < errors[1].mean() / 3


def test_known_delays_are_found_and_taken_out() -> None:
    pairs = pairs_of(STEADY, 6, 2)
    late = np.array([[0.0, 4_000.0, -3_000.0]] * 6)
    moved = align(STEADY, pairs, -late)
    found = estimate_delays(STEADY, moved)
    # Blobs have soft edges, so one movement is timed to some 1 ms, and the mean of six to under half of that.
    assert np.abs(found - late).max() <= 3_000
    assert np.abs((found - late).mean(axis=0)).max() <= 1_000


def test_the_search_finds_the_threshold() -> None:
    pairs = pairs_of(STEADY, 12, 3)
    wrong = dataclasses.replace(STEADY, threshold_on=0.3)
    found = search(wrong, lambda c: mismatch_loss(c, pairs), {"threshold_on": 0.2}, rounds=4)
    assert abs(found.threshold_on - STEADY.threshold_on) < 0.03


def test_a_camera_agrees_with_itself_to_the_ceiling() -> None:
    agreement = compare(STEADY, pairs_of(STEADY, 15, 4))
    for value, ceiling in zip(agreement.correlation, agreement.ceiling, strict=True):
        assert abs(value - ceiling) < 0.02
    assert "between two simulations" in str(agreement)


def test_defaults_agree_with_real_recordings(data_root: Path) -> None:
    agreement = compare(SaccadeCamera(), load_pairs(data_root, 60))
    real, simulated = agreement.events
    assert abs(simulated / real - 1) < 0.05
    assert abs(agreement.on_share[0] - agreement.on_share[1]) < 0.02
    # Measured on 200 recordings: see the comment at the camera's defaults.
    for value, floor in zip(agreement.correlation, (0.93, 0.91, 0.86), strict=True):
        assert value > floor


def test_the_picture_is_written(tmp_path: Path) -> None:
    write_picture(tmp_path / "p.png", STEADY, pairs_of(STEADY, 1, 5))
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
