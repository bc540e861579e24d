"""Event input in the compiled core gives what NumPy gives: recordings, refusals and counts, with AVX2 and without."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.strategies import events

from chiploop import _core
from chiploop.encode.raster import FLOAT_LIMIT, count_plain, rasterize_batch
from chiploop.errors import DataError
from chiploop.events import compiled
from chiploop.events.codecs.nmnist import OVERFLOW_Y, SHAPE, decode_nmnist, decode_plain
from chiploop.events.compiled import Motion, move_compiled
from chiploop.events.types import Events, SensorShape
from chiploop.learn.augment import Augment, move_plain
from chiploop.rng import stream

SMALL = SensorShape(2, 5, 7)
FUNCTIONS = ("decode_records", "unpack_words", "move_events", "count_events")


@pytest.fixture(params=[True, False], ids=["widest", "portable"], autouse=True)
def wide(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run every test with the machine's widest instructions and with those that all machines have."""

    def bound(name: str) -> Callable[..., Any]:
        return lambda *arguments, **options: getattr(_core, name)(*arguments, **options, wide=request.param)

    core = type("Core", (), {name: staticmethod(bound(name)) for name in FUNCTIONS})
    monkeypatch.setattr(compiled, "_core", lambda: core)
    return bool(request.param)


def outcome(decode: Callable[..., Events], content: bytes, shape: SensorShape, stop_us: int) -> Events | str:
    try:
        return decode(content, shape, where="file", stop_us=stop_us)
    except DataError as error:
        return str(error)


def random_content(rng: np.random.Generator, n: int, markers: float, faults: float) -> bytes:
    """Records in order with some overflow markers, and faults of every kind at random places."""
    raw = np.zeros((n, 5), np.uint8)
    raw[:, 0], raw[:, 1] = rng.integers(0, SHAPE.width, n), rng.integers(0, SHAPE.height, n)
    t = np.sort(rng.integers(0, 1 << 20, n))
    raw[:, 2] = rng.integers(0, 2, n) << 7 | t >> 16
    raw[:, 3], raw[:, 4] = t >> 8 & 0xFF, t & 0xFF
    raw[rng.random(n) < markers, 1] = OVERFLOW_Y
    hit = rng.random(n) < faults
    raw[hit, rng.integers(0, 5, int(hit.sum()))] = rng.integers(0, 256, int(hit.sum()))
    return raw.tobytes()


@pytest.mark.parametrize("markers", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("faults", [0.0, 0.003])
def test_decoding_and_its_refusals_are_those_of_numpy(markers: float, faults: float) -> None:
    refused = 0
    for case in range(150):
        rng = stream(case, "decode", round(1_000 * markers), round(1_000 * faults))
        n = int(rng.integers(1, 60)) if case % 3 else int(rng.integers(500, 2_000))
        content = random_content(rng, n, markers, faults)
        expected = outcome(decode_plain, content, SHAPE, 900_000)
        assert outcome(decode_nmnist, content, SHAPE, 900_000) == expected
        refused += isinstance(expected, str)
    assert (refused > 20) == (faults > 0)  # both ways were taken


@given(st.binary(max_size=200), st.sampled_from([SHAPE, SensorShape(2, 256, 256), SensorShape(1, 256, 256)]))
def test_any_bytes_decode_or_are_refused_as_numpy_does_it(content: bytes, shape: SensorShape) -> None:
    found = outcome(decode_nmnist, content, shape, 0)
    if content and len(content) % 5 == 0:
        assert found == outcome(decode_plain, content, shape, 0)
    else:
        assert isinstance(found, str)


def test_a_recording_of_markers_alone_is_empty() -> None:
    assert decode_nmnist(bytes([0, OVERFLOW_Y, 0, 0, 0]) * 40, stop_us=7) == Events.empty(SHAPE, stop_us=7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@given(
    streams=st.lists(events(shape=SMALL), min_size=1, max_size=4), cuts=st.sets(st.integers(-900, 2_000), min_size=2)
)
def test_counts_are_those_of_numpy(dtype: Any, streams: list[Events], cuts: set[int]) -> None:
    edges = np.array(sorted(cuts), np.int64)
    found = rasterize_batch(streams, edges, dtype=dtype, threads=3)
    plain = np.full_like(found.counts, 77)
    assert count_plain(streams, edges, plain).tolist() == found.lost.tolist()
    np.testing.assert_array_equal(found.counts, plain)
    assert found.counts.dtype == dtype


@pytest.mark.parametrize(("dtype", "limit"), [(np.uint8, 255), (np.uint16, 65_535), (np.float32, FLOAT_LIMIT)])
def test_counts_stop_at_the_limit_and_the_rest_is_lost(dtype: Any, limit: int) -> None:
    n, beyond = limit + 40, 40
    nothing = np.zeros(n, np.uint16)
    nothing.flags.writeable = False
    t = np.zeros(n, np.int64)
    t[-1] = 5
    t.flags.writeable = False
    crowd = Events.from_checked(t, nothing, nothing, nothing, SensorShape(1, 1, 1), 0, 10)
    found = rasterize_batch([crowd], np.array([0, 5, 8]), dtype=dtype)
    assert found.counts.ravel().tolist() == [limit, 1]
    assert found.lost.tolist() == [beyond - 1]


def test_threads_share_large_batches_and_change_nothing() -> None:
    shape, edges = SensorShape(2, 64, 64), np.arange(0, 1_001, 50)
    batch = [random_events(stream(b, "batch"), 3_000, shape) for b in range(17)]
    one, three = (rasterize_batch(batch, edges, dtype=np.float32, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.counts, three.counts)
    assert one.counts.size > 2 << 20  # enough for threads to be started
    assert int(three.counts.sum()) + int(three.lost.sum()) == 17 * 3_000


def random_events(rng: np.random.Generator, n: int, shape: SensorShape) -> Events:
    t = np.sort(rng.integers(-20, 1_050, n))
    addresses = [rng.integers(0, size, n) for size in shape]
    return Events.from_columns(t, *addresses, shape, start_us=-30, stop_us=1_100)


@pytest.mark.parametrize("shape", [SHAPE, SensorShape(1, 3, 200), SensorShape(3, 1, 1)])
def test_moves_round_as_numpy_does(shape: SensorShape) -> None:
    for case in range(60):
        rng = stream(case, "move")
        recording = random_events(rng, int(rng.integers(0, 2_000)), shape)
        angle, wild = rng.uniform(-math.pi, math.pi), 1e18 if case == 7 else 6.0
        motion = Motion(
            (shape.height - 1) / 2,
            (shape.width - 1) / 2,
            math.sin(angle),
            math.cos(angle),
            *(rng.uniform(0.5, 1.5, 2) if case % 2 else (1.0, 1.0)),
            rng.uniform(-1, 1),
            *(wild * rng.uniform(-1, 1, 2) if case % 3 else (0.5, -0.5)),  # halves, that ties are met
            0.3,
        )
        draws = rng.random(len(recording)) if case % 2 else None
        bounds = (100, 900) if case % 5 else (recording.start_us, recording.stop_us)
        assert move_compiled(recording, motion, draws, *bounds) == move_plain(recording, motion, draws, *bounds)


def test_changes_of_a_recipe_are_the_same_without_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = random_events(stream(0, "recording"), 900, SHAPE)
    augment = Augment(shift_px=3.0, rotate_deg=20.0, scale=0.2, shear=0.2, drop=0.4, crop=0.3)
    edges = np.array([0, 300, 1_000])
    content = random_content(stream(1, "content"), 300, 0.1, 0.0)

    def everything() -> tuple[Events, Events, NDArray[Any], list[int]]:
        raster = rasterize_batch([recording], edges, dtype=np.float32)
        return augment(recording, stream(3, "a")), decode_nmnist(content), raster.counts, raster.lost.tolist()

    with_core = everything()
    monkeypatch.setattr(compiled, "_core", lambda: None)
    without = everything()
    np.testing.assert_array_equal(with_core[2], without[2])
    assert (with_core[0], with_core[1], with_core[3]) == (without[0], without[1], without[3])
    assert 0 < len(with_core[0]) < len(recording)


def test_the_core_refuses_arrays_that_do_not_fit() -> None:
    t, addresses = np.zeros(2, np.int64), np.zeros((3, 2), np.uint16)
    with pytest.raises(ValueError, match="place an event"):
        _core.decode_records(np.zeros(15, np.uint8), SHAPE, t=t, addresses=addresses)
    with pytest.raises(ValueError, match="five bytes"):
        _core.decode_records(np.zeros(11, np.uint8), SHAPE, t=t, addresses=addresses)
    lost, edges = np.zeros(1, np.int64), np.array([0, 5])
    columns = (t, *addresses)
    with pytest.raises(ValueError, match="counts must be"):
        _core.count_events([columns], SMALL, edges, counts=np.zeros((1, 1, *SHAPE), np.uint8), lost=lost, threads=1)
    with pytest.raises(TypeError):
        _core.count_events([columns], SMALL, edges, counts=np.zeros((1, 1, *SMALL), np.int8), lost=lost, threads=1)  # type: ignore[arg-type]
