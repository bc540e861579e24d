"""Simulated recordings: the cache, its file, and what a recording depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tests.strategies import events

from chiploop.datasets.packed import read_packed, write_packed
from chiploop.datasets.simulated import SimulatedDataset
from chiploop.encode.saccade import SaccadeCamera
from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape

SHAPE = SensorShape(2, 5, 7)
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


@settings(max_examples=25, deadline=None)
@given(st.lists(events(shape=SHAPE, start_us=0), max_size=5))
def test_packed_files_give_back_what_went_in(tmp_path_factory: pytest.TempPathFactory, streams: list[Events]) -> None:
    path = tmp_path_factory.mktemp("packed") / "p.safetensors"
    streams = [Events(e.t_us, e.channel, e.y, e.x, SHAPE, 0, 5_000) for e in streams]
    write_packed(path, iter(streams), SHAPE, 5_000)
    packed = read_packed(path)
    assert [packed.events(k) for k in range(len(packed))] == streams
    foreign = load_file(path)  # another program's reader
    assert foreign["offsets"].tolist() == np.cumsum([0, *map(len, streams)]).tolist()


def test_packed_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    write_packed(path, [Events.from_columns([1, 2], [0, 1], [0, 1], [0, 1], SHAPE)], SHAPE, 10)
    whole = path.read_bytes()
    later = whole.replace(b'"schema": "1"', b'"schema": "9"')
    for content in (b"", whole[:100], whole[:-8], whole[:-1] + b"\x7f", later):
        path.write_bytes(content)
        with pytest.raises(DataError, match="delete"):
            read_packed(path)


def test_packing_refuses_another_sensor_and_late_events(tmp_path: Path) -> None:
    late = Events.from_columns([10], [0], [0], [0], SHAPE)
    other = Events.from_columns([1], [0], [0], [0], SensorShape(1, 5, 7))
    for stream in (late, other):
        with pytest.raises(DataError, match="cannot pack"):
            write_packed(tmp_path / "p", [stream], SHAPE, 10)
    assert list(tmp_path.iterdir()) == []


def test_cache_and_camera_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached, fresh = simulated(cache=True), simulated(cache=False)
    for index in (5, 0, 3):
        assert cached.sample(index) == fresh.sample(index)
    files = list(tmp_path.rglob("*.safetensors"))
    assert len(files) == 1
    stamp = files[0].stat().st_mtime_ns
    simulated(cache=True).build()
    assert files[0].stat().st_mtime_ns == stamp


def test_a_recording_knows_its_number_and_seed_alone() -> None:
    whole, part = simulated(cache=False), simulated(cache=False, keys=(5, 2))
    assert part.sample(0).events == whole.sample(4).events
    assert part.sample(1).key == 2
    assert simulated(cache=False, seed=1).sample(0).events != whole.sample(0).events
