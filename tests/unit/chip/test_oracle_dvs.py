"""The oracle's sensor layer, step by step and in the order of the steps; worked by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chiploop.chip.device import Monitor
from chiploop.chip.dvs import DvsLayer, NoiseFilter
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.oracle_dvs import OracleDvs
from chiploop.chip.oracle_timed import TimedOracle
from chiploop.chip.program import Program, Target
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from small_chips import graph, relay, rows, timing

SENSOR = SensorShape(2, 7, 9)


def listening(layer: DvsLayer) -> Program:
    """Return a program whose only core sends on what the sensor layer lets pass."""
    return graph(
        relay(0, in_shape=tuple(layer.out_shape)),
        inputs=(Target(0),),
        outputs=(0,),
        input_shape=layer.in_shape,
        dvs=layer,
    )


def events(*given: tuple[int, int, int, int], shape: SensorShape = SENSOR, start_us: int = 0) -> Events:
    return Events.from_columns(*np.array(given).T, shape, start_us=start_us)


def passing(layer: DvsLayer, *given: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    device = OracleDevice()
    device.load(listening(layer))
    return rows(device.run(events(*given, shape=layer.in_shape)).outputs["L0"])


def test_all_steps_in_their_order() -> None:
    # 7 x 9, pooled by 2: 3 x 4, row 6 and column 8 fill no window. Cut to rows 1..2 and columns 1..3: 2 x 3. Mirrored
    # in x, then in y, then in the diagonal: 3 x 2. Hot pixels are raw addresses.
    layer = DvsLayer(
        in_shape=SENSOR,
        hot_pixels=((0, 0), (2, 2)),
        merge=True,
        pool=1,
        cut=(1, 1, 2, 3),
        mirror_x=True,
        mirror_y=True,
        mirror_diagonal=True,
    )
    assert tuple(layer.out_shape) == (1, 3, 2)
    device = OracleDevice()
    device.load(listening(layer))
    trace = device.run(
        events(
            (0, 1, 5, 6),  # (2, 3), cut (1, 2), x: (1, 0), y: (0, 0), diagonal: (0, 0)
            (1, 0, 2, 3),  # (1, 1), cut (0, 0), x: (0, 2), y: (1, 2), diagonal: (2, 1)
            (2, 1, 2, 2),  # hot, though its window is kept
            (3, 0, 6, 4),  # row 6
            (4, 0, 4, 8),  # column 8
            (5, 0, 1, 4),  # (0, 2), above the cut
            (6, 0, 4, 1),  # (2, 0), left of the cut
            (7, 1, 3, 5),  # (1, 2), cut (0, 1), x: (0, 1), y: (1, 1), diagonal: (1, 1)
            (8, 1, 0, 0),  # hot
        )
    )
    assert rows(trace.outputs["L0"]) == [(0, 0, 0, 0), (1, 0, 2, 1), (7, 0, 1, 1)]
    assert trace.metrics == {"dvs_dropped": 6.0}
    assert trace.counters["L0"].events_in == 3


def test_one_mirror_at_a_time() -> None:
    at = (0, 1, 1, 2)  # on 3 x 5
    plain = DvsLayer(in_shape=SensorShape(2, 3, 5))
    assert passing(plain, at) == [at]
    assert passing(dataclasses.replace(plain, mirror_y=True), (0, 1, 0, 2)) == [(0, 1, 2, 2)]
    assert passing(dataclasses.replace(plain, mirror_x=True), (0, 1, 0, 1)) == [(0, 1, 0, 3)]
    assert passing(dataclasses.replace(plain, mirror_diagonal=True), (0, 1, 0, 4)) == [(0, 1, 4, 0)]
    both = dataclasses.replace(plain, mirror_x=True, mirror_diagonal=True)
    assert passing(both, (0, 1, 0, 1)) == [(0, 1, 3, 0)]  # not (1, 2): x is mirrored before the places change


NOISY = DvsLayer(in_shape=SENSOR, noise=NoiseFilter(window_us=10), hot_pixels=((3, 3),))


@pytest.mark.parametrize(
    ("before", "at", "passes"),
    [
        ((0, 0, 2, 2), (10, 1, 3, 2), True),  # at the end of the window, other polarity
        ((0, 0, 2, 2), (11, 0, 3, 2), False),  # past it
        ((0, 0, 2, 2), (1, 0, 1, 1), True),  # over the corner
        ((0, 0, 2, 2), (1, 0, 2, 2), False),  # itself does not count
        ((0, 0, 2, 2), (1, 0, 2, 4), False),  # two away
        ((0, 0, 2, 2), (0, 0, 2, 3), True),  # at the same time, but earlier in the stream
        ((0, 0, 3, 3), (1, 0, 3, 4), False),  # a hot pixel is nobody's neighbour
        ((0, 0, 6, 8), (1, 0, 0, 0), False),  # no neighbours around the edge
    ],
)
def test_an_event_passes_with_a_recent_neighbour(
    before: tuple[int, int, int, int], at: tuple[int, int, int, int], passes: bool
) -> None:
    assert passing(NOISY, before, at) == ([at] if passes else [])


def test_an_event_that_was_held_back_is_a_neighbour_and_the_last_one_counts() -> None:
    # The first has no neighbours and is held back; the second passes for it, 7 later. The third has none within 10 and
    # is held back; the fourth passes for it, 3 later (its other neighbour, the second, was 14 before).
    assert passing(NOISY, (0, 0, 1, 1), (7, 0, 1, 2), (18, 0, 0, 0), (21, 0, 1, 1)) == [(7, 0, 1, 2), (21, 0, 1, 1)]
    # The pixel's later time takes the place of its earlier one.
    assert passing(NOISY, (0, 0, 1, 1), (20, 0, 1, 1), (25, 0, 1, 2)) == [(25, 0, 1, 2)]


def test_neighbours_are_raw_ones_whatever_is_pooled_or_cut_away() -> None:
    # (0, 0) lies outside the cut, and is dropped, but (1, 1) passes for it.
    layer = DvsLayer(in_shape=SENSOR, noise=NoiseFilter(window_us=5), cut=(1, 1, 6, 8))
    assert passing(layer, (0, 0, 0, 0), (1, 0, 1, 1), (2, 0, 2, 2)) == [(1, 0, 0, 0), (2, 0, 1, 1)]


def test_times_of_pixels_outlast_a_run_and_end_with_a_reset() -> None:
    device = OracleDevice()
    device.load(listening(NOISY))
    first, second = events((0, 0, 1, 1)), events((5, 0, 1, 2), start_us=1)
    assert device.run(first).metrics == {"dvs_dropped": 1.0}
    trace = device.run(second)
    assert (rows(trace.outputs["L0"]), trace.metrics) == ([(5, 0, 1, 2)], {"dvs_dropped": 0.0})
    device.reset()
    assert rows(device.run(second).outputs["L0"]) == []
    batch = device.run_batch([first, second])  # each from reset
    assert batch.output_counts.sum() == 0
    assert rows(device.run(events((6, 0, 1, 1), start_us=1)).outputs["L0"]) == [(6, 0, 1, 1)]  # the batch left no trace


def test_windows_must_cover_raw_events() -> None:
    device = OracleDevice()
    device.load(listening(NOISY))
    monitor = Monitor(counts=("L0",), window_edges_us=(0, 9))
    with pytest.raises(DeviceError, match="widen"):
        device.run(events((0, 0, 1, 1), (9, 1, 3, 3)), monitor=monitor)  # though the one at 9 is a hot pixel's
    assert device.run(events((5, 0, 1, 2)), monitor=monitor).metrics == {"dvs_dropped": 1.0}  # the refused left no time


def test_a_program_without_the_layer_measures_nothing() -> None:
    device = OracleDevice()
    device.load(graph(relay(0), inputs=(Target(0),), outputs=(0,)))
    assert device.run(Events.empty(SensorShape(1, 1, 1))).metrics == {}


def test_the_timed_model_has_the_same_layer() -> None:
    device = TimedOracle(timing(1000, 10))
    device.load(listening(NOISY))
    trace = device.run(events((0, 0, 1, 1), (7, 0, 1, 2), (30, 1, 5, 5)))
    assert rows(trace.outputs["L0"]) == [(8, 0, 1, 2)]
    assert trace.timing.latency_ns["L0"].tolist() == [1020]  # two channels: two updates
    assert trace.metrics == {"dvs_dropped": 2.0}


def test_a_layer_counts_what_it_drops_until_it_is_reset() -> None:
    layer = OracleDvs(DvsLayer(in_shape=SENSOR, hot_pixels=((1, 1),)))
    assert [layer.hear(0, (0, 1, 1)), layer.hear(1, (1, 1, 2))] == [None, (1, 1, 2)]
    assert layer.dropped == 1
    layer.reset()
    assert layer.dropped == 0
