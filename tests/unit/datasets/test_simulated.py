"""Simulated recordings: the cache, its file, and what a recording depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.datasets.simulated import SimulatedDataset
from chiploop.encode.saccade import SaccadeCamera

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)


def simulated(*, cache: bool, keys: tuple[int, ...] = (1, 2, 3, 4, 5, 6), seed: int = 0) -> SimulatedDataset:
    return SimulatedDataset(
        name="noise",
        images=IMAGES,
        labels=np.zeros(len(keys), np.int64),
        keys=keys,
        n_classes=1,
        camera=SaccadeCamera(step_px=0.5, step_us=20_000),
        seed=seed,
        cache=cache,
    )


def test_cache_and_camera_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached, fresh = simulated(cache=True), simulated(cache=False)
    for index in (5, 0, 3):
        assert cached.sample(index) == fresh.sample(index)
    files = list(tmp_path.rglob("*.packed"))
    assert len(files) == 1
    stamp = files[0].stat().st_mtime_ns
    simulated(cache=True).build()
    assert files[0].stat().st_mtime_ns == stamp


def test_a_recording_knows_its_number_and_seed_alone() -> None:
    whole, part = simulated(cache=False), simulated(cache=False, keys=(5, 2))
    assert part.sample(0).events == whole.sample(4).events
    assert part.sample(1).key == 2
    assert simulated(cache=False, seed=1).sample(0).events != whole.sample(0).events
