from __future__ import annotations

import numpy as np
import pytest

from chiploop.encode.raster import rasterize, rasterize_batch
from chiploop.encode.types import SpikeTrain
from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape

ONE = SensorShape(1, 1, 1)


def pulses(times: list[int], stop_us: int) -> Events:
    nothing = np.zeros(len(times), int)
    return Events.from_columns(times, nothing, nothing, nothing, ONE, stop_us=stop_us)


def test_counts_past_the_limit_are_lost_and_said_so() -> None:
    crowd = pulses([0] * 300 + [5], 10)
    train = rasterize(crowd, n_windows=2)
    assert train.counts.ravel().tolist() == [255, 1]
    assert train.lost == 45
    wide = rasterize_batch([crowd], np.array([0, 5, 10]), dtype=np.uint16)
    assert wide.counts.ravel().tolist() == [300, 1]
    assert wide.lost.tolist() == [0]


def test_events_outside_the_windows_are_lost_and_said_so() -> None:
    raster = rasterize_batch([pulses([0, 1, 4, 9], 10), pulses([2], 10)], np.array([1, 3, 5]))
    assert raster.counts[:, :, 0, 0, 0].tolist() == [[1, 1], [1, 0]]
    assert raster.lost.tolist() == [2, 0]


def test_an_event_on_an_edge_belongs_to_the_window_that_begins() -> None:
    assert rasterize(pulses([4], 8), dt_us=4).counts.ravel().tolist() == [0, 1]


def test_a_silent_recording_has_windows_too() -> None:
    train = rasterize(Events.empty(ONE, stop_us=10), dt_us=3)
    assert train.counts.shape == (4, 1, 1, 1)
    assert train.n_events == 0


@pytest.mark.parametrize("arguments", [{}, {"n_windows": 2, "dt_us": 3}, {"dt_us": 0}, {"n_windows": 0}])
def test_bad_clocks_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"exactly one|at least 1"):
        rasterize(pulses([0], 10), **arguments)


def test_bad_batches_are_refused() -> None:
    with pytest.raises(DataError, match="must rise"):
        rasterize_batch([pulses([0], 1)], np.array([0, 5, 5]))
    with pytest.raises(DataError, match="at least one recording"):
        rasterize_batch([], np.array([0, 5]))
    with pytest.raises(DataError, match="recording 1 is"):
        rasterize_batch([pulses([0], 1), Events.empty(SensorShape(2, 1, 1))], np.array([0, 5]))


def test_spike_train_checks_itself() -> None:
    counts = np.zeros((2, 1, 1, 1), np.uint8)
    with pytest.raises(DataError, match="dtype int64"):
        SpikeTrain(counts=counts.astype(np.int64), dt_us=1)
    with pytest.raises(DataError, match="dt_us = 0"):
        SpikeTrain(counts=counts, dt_us=0)
    train = SpikeTrain(counts=counts, dt_us=5, start_us=7)
    counts[0] = 9
    assert train.n_events == 0
    assert train.edges_us.tolist() == [7, 12, 17]
