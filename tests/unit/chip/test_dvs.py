"""The sensor layer: examples worked by hand, its laws, and a loop that takes one event at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop import tree
from chiploop.chip.dvs import DvsLayer, DvsState, NoiseFilter, apply_dvs, hot_pixels
from chiploop.errors import DeviceError
from chiploop.events import ops
from chiploop.events.types import Events, SensorShape
from strategies import events as streams

FOUR_BY_SIX = SensorShape(2, 4, 6)


def recording(rows: list[tuple[int, int, int, int]], shape: SensorShape = FOUR_BY_SIX) -> Events:
    t, channel, y, x = np.array(rows, np.int64).reshape(-1, 4).T
    return Events.from_columns(t, channel, y, x, shape)


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    columns = (events.t_us, events.channel, events.y, events.x)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@st.composite
def layers(draw: st.DrawFn, *, noisy: bool | None = None) -> DvsLayer:
    shape = SensorShape(draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    pool = draw(st.integers(0, min(shape[1:]).bit_length() - 1))
    top, left = (draw(st.integers(0, (size >> pool) - 1)) for size in shape[1:])
    bottom = draw(st.integers(top, (shape.height >> pool) - 1))
    right = draw(st.integers(left, (shape.width >> pool) - 1))
    pixels = st.tuples(st.integers(0, shape.height - 1), st.integers(0, shape.width - 1))
    with_noise = draw(st.booleans()) if noisy is None else noisy
    return DvsLayer(
        in_shape=shape,
        hot_pixels=tuple(draw(st.lists(pixels, max_size=3))),
        noise=NoiseFilter(window_us=draw(st.integers(1, 60))) if with_noise else None,
        merge=draw(st.booleans()),
        pool=pool,
        cut=draw(st.none() | st.just((top, left, bottom, right))),
        mirror_x=draw(st.booleans()),
        mirror_y=draw(st.booleans()),
        mirror_diagonal=draw(st.booleans()),
    )


@st.composite
def layers_and_streams(draw: st.DrawFn) -> tuple[DvsLayer, Events]:
    layer = draw(layers())
    return layer, draw(streams(shape=layer.in_shape, max_size=120, start_us=0))


def one_at_a_time(layer: DvsLayer, events: Events, last: dict[tuple[int, int], int]) -> list[tuple[int, int, int, int]]:
    """Return what leaves the layer, event by event as the contract reads; `last` is its memory."""
    left = []
    for t, channel, y, x in rows(events):
        if (y, x) in layer.hot_pixels:
            continue
        around = [last[at] for at in last if at != (y, x) and abs(at[0] - y) <= 1 and abs(at[1] - x) <= 1]
        last[y, x] = t
        if layer.noise is not None and not any(t - before <= layer.noise.window_us for before in around):
            continue
        side = 2**layer.pool
        height, width = layer.in_shape.height // side, layer.in_shape.width // side
        py, px = y // side, x // side
        if py >= height or px >= width:
            continue
        if layer.cut is not None:
            top, first, bottom, final = layer.cut
            if not (top <= py <= bottom and first <= px <= final):
                continue
            py, px, height, width = py - top, px - first, bottom - top + 1, final - first + 1
        if layer.mirror_x:
            px = width - 1 - px
        if layer.mirror_y:
            py = height - 1 - py
        if layer.mirror_diagonal:
            py, px = px, py
        left.append((t, 0 if layer.merge else channel, py, px))
    return left


def test_everything_by_hand_in_its_order() -> None:
    # 7 x 9 sensor, windows of 2: a 3 x 4 map (row 6 and column 8 fill none); the cut keeps rows 1..2, columns 1..3.
    layer = DvsLayer(
        in_shape=SensorShape(2, 7, 9), hot_pixels=((2, 2),), merge=True, pool=1, cut=(1, 1, 2, 3),
        mirror_x=True, mirror_y=True, mirror_diagonal=True,
    )  # fmt: skip
    assert tuple(layer.out_shape) == (1, 3, 2)
    raw = recording(
        [
            (0, 1, 2, 2),  # hot
            (1, 1, 2, 3),  # pooled (1, 1), cut (0, 0), mirrored in x (0, 2), in y (1, 2), transposed (2, 1)
            (2, 0, 5, 6),  # pooled (2, 3), cut (1, 2), mirrored in x (1, 0), in y (0, 0), transposed (0, 0)
            (3, 1, 0, 5),  # pooled (0, 2): above the cut
            (4, 1, 6, 4),  # row 6 fills no window
            (5, 1, 4, 8),  # nor does column 8
            (6, 0, 3, 5),  # pooled (1, 2), cut (0, 1), in x (0, 1), in y (1, 1), transposed (1, 1)
        ],
        layer.in_shape,
    )
    out, dropped = apply_dvs(layer, raw)
    assert rows(out) == [(1, 0, 2, 1), (2, 0, 0, 0), (6, 0, 1, 1)]
    assert dropped == 4
    assert (out.start_us, out.stop_us) == (raw.start_us, raw.stop_us)


def test_the_noise_filter_by_hand() -> None:
    layer = DvsLayer(in_shape=FOUR_BY_SIX, hot_pixels=((3, 5),), noise=NoiseFilter(window_us=10))
    raw = recording(
        [
            (0, 0, 1, 1),  # first of all: nothing near it yet
            (5, 1, 1, 1),  # the pixel itself does not count
            (15, 1, 2, 2),  # ten after its diagonal neighbour, of another channel, which was itself dropped
            (25, 0, 0, 0),  # (1, 1) was at 5: too long ago; (2, 2) is no neighbour
            (26, 0, 1, 1),  # (0, 0) was one ago, (2, 2) eleven
            (26, 0, 0, 0),  # a tie: (1, 1) came before it in the stream
            (30, 0, 3, 5),  # hot: leaves no time behind
            (31, 0, 2, 5),  # so this one is alone
            (40, 0, 2, 0),  # column 0 is no neighbour of column 5 of the row above
            (41, 0, 1, 5),  # ten after (2, 5)
        ]
    )
    out, dropped = apply_dvs(layer, raw)
    assert rows(out) == [(15, 1, 2, 2), (26, 0, 1, 1), (26, 0, 0, 0), (41, 0, 1, 5)]
    assert dropped == 6


@settings(max_examples=300)
@given(layers_and_streams())
def test_the_layer_is_the_loop(pair: tuple[DvsLayer, Events]) -> None:
    layer, events = pair
    out, dropped = apply_dvs(layer, events)
    assert rows(out) == one_at_a_time(layer, events, {})
    assert (out.shape, dropped) == (layer.out_shape, len(events) - len(out))


@given(layers(noisy=True), st.data())
def test_two_runs_are_the_joined_run_and_a_reset_forgets(layer: DvsLayer, data: st.DataObject) -> None:
    first = data.draw(streams(shape=layer.in_shape, start_us=0))
    second = ops.shift_time(data.draw(streams(shape=layer.in_shape, start_us=0)), first.stop_us)
    state = DvsState(layer)
    parts = [apply_dvs(layer, part, state)[0] for part in (first, second)]
    assert rows(parts[0]) + rows(parts[1]) == rows(apply_dvs(layer, ops.join([first, second]))[0])
    state.reset()
    assert apply_dvs(layer, first, state)[0] == parts[0]


@given(layers(noisy=True), st.data())
def test_what_a_stored_time_hides_stays_hidden_when_a_run_goes_back_in_time(
    layer: DvsLayer, data: st.DataObject
) -> None:
    state, last = DvsState(layer), {}
    for _ in range(3):  # each from time 0 again, on the state of the one before
        events = data.draw(streams(shape=layer.in_shape, start_us=0))
        assert rows(apply_dvs(layer, events, state)[0]) == one_at_a_time(layer, events, last)


@given(st.data(), st.sampled_from(["mirror_x", "mirror_y", "mirror_diagonal"]))
def test_a_mirror_twice_is_the_identity(data: st.DataObject, mirror: str) -> None:
    events = data.draw(streams())
    once, none = apply_dvs(DvsLayer(in_shape=events.shape, **{mirror: True}), events)
    twice, _ = apply_dvs(DvsLayer(in_shape=once.shape, **{mirror: True}), once)
    assert (twice, none) == (events, 0)


@given(layers_and_streams())
def test_the_layer_is_its_steps_one_after_the_other(pair: tuple[DvsLayer, Events]) -> None:
    layer, events = pair
    steps = (
        {"hot_pixels": layer.hot_pixels, "noise": layer.noise}, {"merge": layer.merge}, {"pool": layer.pool},
        {"cut": layer.cut}, {"mirror_x": layer.mirror_x}, {"mirror_y": layer.mirror_y},
        {"mirror_diagonal": layer.mirror_diagonal},
    )  # fmt: skip
    stepped, total = events, 0
    for fields in steps:
        stepped, dropped = apply_dvs(DvsLayer(in_shape=stepped.shape, **fields), stepped)
        total += dropped
    assert apply_dvs(layer, events) == (stepped, total)


@given(st.data())
def test_mirror_merge_and_crop_are_those_of_event_streams(data: st.DataObject) -> None:
    events = data.draw(streams())
    shape = events.shape
    top, left = (data.draw(st.integers(0, size - 1)) for size in shape[1:])
    bottom, right = data.draw(st.integers(top, shape.height - 1)), data.draw(st.integers(left, shape.width - 1))
    layer = DvsLayer(in_shape=shape, merge=True, cut=(top, left, bottom, right), mirror_y=True)
    cropped = ops.crop_space(events, top=top, left=left, height=bottom - top + 1, width=right - left + 1)
    assert apply_dvs(layer, events)[0] == ops.flip(ops.merge_polarity(cropped), axis="y")


def test_a_layer_without_settings_is_the_identity() -> None:
    events = recording([(0, 0, 0, 0), (3, 1, 3, 5)])
    assert apply_dvs(DvsLayer(in_shape=FOUR_BY_SIX), events) == (events, 0)


@pytest.mark.parametrize("size", [(2, 128, 128), (1, 300, 400)])  # addresses of sixteen bits, and longer ones
def test_a_long_recording_of_a_large_sensor(size: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(5)
    n, shape = 20_000, SensorShape(*size)
    y, x = (np.clip(rng.normal(side / 2, side / 8, n), 0, side - 1).astype(np.int64) for side in shape[1:])
    events = Events.from_columns(np.sort(rng.integers(0, 10**6, n)), rng.integers(0, size[0], n), y, x, shape)
    layer = DvsLayer(in_shape=shape, noise=NoiseFilter(window_us=5_000))
    times = np.full((shape.height + 2, shape.width + 2), -(10**9))
    passed = []
    for t, py, px in zip(events.t_us.tolist(), y.tolist(), x.tolist(), strict=True):
        around = times[py : py + 3, px : px + 3].copy()
        around[1, 1] = -(10**9)
        passed.append(bool(t - around.max() <= 5_000))
        times[py + 1, px + 1] = t
    assert 0.02 < np.mean(passed) < 0.9
    assert apply_dvs(layer, events)[0] == ops.select(events, np.array(passed))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"in_shape": (0, 4, 6)}, r"dvs.in_shape = \(0, 4, 6\): every size must be at least 1"),
        ({"hot_pixels": ((1, 2), (4, 0))}, r"\(y, x\) = \(4, 0\), outside the 4x6 sensor"),
        ({"hot_pixels": ((0, -1),)}, r"\(0, -1\), outside"),
        ({"pool": 3}, r"dvs.pool = 3 must be in 0..2"),
        ({"pool": -1}, "dvs.pool = -1"),
        ({"pool": 1, "cut": (0, 0, 2, 2)}, r"dvs.cut = \(0, 0, 2, 2\) .* must lie in the 2x3 map"),
        ({"cut": (2, 0, 1, 3)}, "top <= bottom"),
        ({"cut": (0, 0, 3, 6)}, "must lie in the 4x6 map"),
        ({"cut": (-1, 0, 3, 5)}, "must lie in the 4x6 map"),
    ],
)
def test_what_no_layer_can_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        DvsLayer(**{"in_shape": FOUR_BY_SIX, **fields})


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(DeviceError, match="window_us = 0 must be at least 1 us"):
        NoiseFilter(window_us=0)


def test_events_of_another_sensor_are_refused() -> None:
    with pytest.raises(DeviceError, match=r"events have shape \(2, 4, 6\), the sensor layer takes \(2, 6, 4\)"):
        apply_dvs(DvsLayer(in_shape=SensorShape(2, 6, 4)), recording([(0, 0, 0, 0)]))


@given(layers())
def test_a_layer_goes_through_a_file_and_hot_pixels_have_no_order(layer: DvsLayer) -> None:
    assert tree.from_bytes(tree.to_bytes(layer), DvsLayer) == layer
    again = dataclasses.replace(layer, hot_pixels=(*reversed(layer.hot_pixels), *layer.hot_pixels))
    assert (again, hash(again)) == (layer, hash(layer))


def test_hot_pixels_stand_out_from_their_surroundings() -> None:
    rng = np.random.default_rng(8)
    shape = SensorShape(2, 32, 32)
    y, x = np.mgrid[:32, :32]
    rate = 40 * np.exp(-((y - 10) ** 2 + (x - 20) ** 2) / 50)  # a bright spot, whose 40 events a pixel are no fault
    counts = rng.poisson(rate)
    for at in ((0, 0), (25, 3), (25, 4), (10, 20)):  # a corner, a pair, and one in the spot itself
        counts[at] = 400
    n = int(counts.sum())
    pixel = rng.permutation(np.repeat(np.arange(32 * 32), counts.reshape(-1)))
    whole = Events.from_columns(np.arange(n), rng.integers(0, 2, n), pixel // 32, pixel % 32, shape)
    halves = [ops.crop_time(whole, 0, n // 2), ops.crop_time(whole, n // 2, n)]
    assert hot_pixels(halves) == ((0, 0), (10, 20), (25, 3), (25, 4))
    cleaned, dropped = apply_dvs(DvsLayer(in_shape=shape, hot_pixels=hot_pixels(halves)), whole)
    assert dropped == 1_600
    assert hot_pixels([cleaned]) == ()


def test_the_bound_of_hot_pixels_by_hand() -> None:
    # A single busy pixel on a silent 3 x 3 sensor: r = sqrt(n), s = 1/2, so hot is sqrt(n) > n_sigma / 2.
    def busy(n: int) -> Events:
        return Events.from_columns(np.arange(n), [0] * n, [1] * n, [1] * n, SensorShape(1, 3, 3))

    assert hot_pixels([busy(25)]) == ()
    assert hot_pixels([busy(26)]) == ((1, 1),)
    assert hot_pixels([busy(5)], n_sigma=4.0) == ((1, 1),)
    assert hot_pixels([recording([(0, 0, 0, 0)] * 99, SensorShape(1, 1, 1))]) == ()


@pytest.mark.parametrize(
    ("recordings", "n_sigma", "message"),
    [
        ([], 10.0, "at least one recording"),
        ([recording([]), recording([], SensorShape(2, 4, 5))], 10.0, r"recording 1 is \(2, 4, 5\)"),
        ([recording([])], 0.0, "n_sigma = 0.0 must be positive"),
    ],
)
def test_hot_pixels_refuse(recordings: list[Events], n_sigma: float, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        hot_pixels(recordings, n_sigma=n_sigma)
