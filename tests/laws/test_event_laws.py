"""Laws of event streams and of their rasterisation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import events

from chiploop.encode.raster import rasterize, rasterize_batch, window_edges
from chiploop.events import ops
from chiploop.events.adapt import from_mapping
from chiploop.events.types import Events, SensorShape

SHAPE = SensorShape(2, 5, 7)


def as_set(stream: Events) -> list[tuple[int, int, int, int]]:
    return sorted(zip(*(getattr(stream, c).tolist() for c in ("t_us", "channel", "y", "x")), strict=True))


@given(events(), st.lists(st.integers(-2_500, 2_500), max_size=4))
def test_slicing_then_joining_is_the_identity(stream: Events, cuts: list[int]) -> None:
    inner = [cut for cut in sorted(cuts) if stream.start_us < cut < stream.stop_us]
    parts = ops.slice_windows(stream, [stream.start_us, *inner, stream.stop_us])
    assert ops.join(parts) == stream


@given(events(), st.data())
def test_time_crops_commute_and_compose(stream: Events, data: st.DataObject) -> None:
    bound = st.integers(stream.start_us, stream.stop_us)
    a, b = sorted((data.draw(bound), data.draw(bound)))
    c, d = sorted((data.draw(bound), data.draw(bound)))
    low, high = max(a, c), max(max(a, c), min(b, d))
    one = ops.crop_time(ops.crop_time(stream, a, b), low, high)
    two = ops.crop_time(ops.crop_time(stream, c, d), low, high)
    assert one == two == ops.crop_time(stream, low, high)


@given(events(shape=SHAPE), st.integers(0, 2), st.integers(0, 3))
def test_a_crop_in_space_commutes_with_a_crop_in_time(stream: Events, top: int, left: int) -> None:
    middle = (stream.start_us + stream.stop_us) // 2

    def space(e: Events) -> Events:
        return ops.crop_space(e, top=top, left=left, height=3, width=4)

    def time(e: Events) -> Events:
        return ops.crop_time(e, e.start_us, middle)

    assert space(time(stream)) == time(space(stream))


@given(events(), st.integers(-500, 500))
def test_shifting_time_there_and_back_is_the_identity(stream: Events, by: int) -> None:
    assert ops.shift_time(ops.shift_time(stream, by), -by) == stream


@given(events(shape=SHAPE), st.integers(-7, 7), st.integers(-5, 5))
def test_shifting_space_is_a_crop_of_what_stays(stream: Events, dx: int, dy: int) -> None:
    moved = ops.shift_space(stream, dx=dx, dy=dy)
    x, y = stream.x.astype(int) + dx, stream.y.astype(int) + dy
    stays = (x >= 0) & (x < SHAPE.width) & (y >= 0) & (y < SHAPE.height)
    assert len(moved) == int(stays.sum())
    back = ops.shift_space(moved, dx=-dx, dy=-dy)
    assert back == ops.select(stream, stays)


@given(events(), st.sampled_from(["x", "y"]))
def test_a_flip_is_its_own_inverse(stream: Events, axis: str) -> None:
    assert ops.flip(ops.flip(stream, axis=axis), axis=axis) == stream


@given(events(), st.integers(0, 2**32))
def test_the_identities(stream: Events, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert ops.drop(stream, 0.0, rng) == stream
    assert len(ops.drop(stream, 1.0, rng)) == 0
    assert ops.jitter(stream, 0.0, rng) == stream
    assert ops.refractory(stream, 0) == stream


@given(events(), st.integers(1, 400), st.integers(0, 2**32))
def test_jitter_keeps_every_event_and_both_bounds(stream: Events, sigma: int, seed: int) -> None:
    moved = ops.jitter(stream, float(sigma), np.random.default_rng(seed))
    addresses = [as_set(ops.shift_time(e, 0)) for e in (stream, moved)]
    assert sorted(a[1:] for a in addresses[0]) == sorted(a[1:] for a in addresses[1])
    assert (moved.start_us, moved.stop_us) == (stream.start_us, stream.stop_us)


@given(events(shape=SensorShape(2, 2, 2)), st.integers(0, 400))
def test_refractory_against_a_loop(stream: Events, dead: int) -> None:
    last: dict[int, int] = {}
    keep = []
    for t, address in zip(stream.t_us.tolist(), ops.flat_address(stream).tolist(), strict=True):
        keep.append(address not in last or t >= last[address] + dead)
        if keep[-1]:
            last[address] = t
    thinned = ops.refractory(stream, dead)
    assert thinned == ops.select(stream, np.array(keep, bool))
    assert ops.refractory(thinned, dead) == thinned


@given(events(), st.randoms(use_true_random=False))
def test_field_order_and_a_stable_sort_bring_a_stream_back(stream: Events, random: object) -> None:
    order = np.arange(len(stream))
    np.random.default_rng(random.randrange(2**32)).shuffle(order)  # type: ignore[attr-defined]
    shuffled = {"x": stream.x[order], "p": stream.channel[order], "y": stream.y[order], "t": stream.t_us[order]}
    again = from_mapping(shuffled, stream.shape, sort=True, start_us=stream.start_us, stop_us=stream.stop_us)
    assert as_set(again) == as_set(stream)


@given(events(), st.integers(1, 12))
def test_rasterising_keeps_the_count(stream: Events, n: int) -> None:
    train = rasterize(stream, n_windows=n)
    assert train.n_windows == n
    assert train.n_events + train.lost == len(stream)
    assert train.lost == 0
    whole = rasterize(stream, n_windows=1)
    assert np.array_equal(train.counts.sum(axis=0), whole.counts[0])


@given(events(), st.integers(1, 700))
def test_windows_of_dt_cover_the_recording_exactly(stream: Events, dt: int) -> None:
    train = rasterize(stream, dt_us=dt)
    duration = stream.duration_us
    assert train.n_windows == (duration + dt - 1) // dt
    assert train.edges_us[-1] >= stream.stop_us > train.edges_us[-2]
    for k, t in enumerate(stream.t_us.tolist()):
        window = (t - stream.start_us) // dt
        assert train.counts[window, stream.channel[k], stream.y[k], stream.x[k]] >= 1


@given(st.lists(events(shape=SHAPE, start_us=0), min_size=1, max_size=4), st.integers(1, 6))
def test_a_batch_is_its_recordings_side_by_side(streams: list[Events], n: int) -> None:
    edges = window_edges(0, 2_001, n)
    raster = rasterize_batch(streams, edges)
    for b, stream in enumerate(streams):
        slow = np.zeros((n, *SHAPE), int)
        for t, c, y, x in zip(stream.t_us.tolist(), stream.channel, stream.y, stream.x, strict=True):
            slow[np.searchsorted(edges, t, side="right") - 1, c, y, x] += 1
        assert np.array_equal(raster.counts[:, b], slow)


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.integers(1, 100))
def test_window_edges_are_equal_whole_and_cover(start: int, length: int, n: int) -> None:
    edges = window_edges(start, start + length, n)
    widths = np.diff(edges)
    assert len(widths) == n
    assert len(set(widths.tolist())) == 1
    assert edges[0] == start
    assert edges[-1] >= start + length
    assert (widths[0] - 1) * n < max(length, 1)
