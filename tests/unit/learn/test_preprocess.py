"""A data set through a sensor layer: what is changed, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.dvs import DvsLayer, NoiseFilter
from chiploop.datasets.base import Dataset
from chiploop.datasets.shapes import open_shapes
from chiploop.errors import DataError
from chiploop.events import ops
from chiploop.events.types import SensorShape
from chiploop.learn.batch import Samples
from chiploop.learn.preprocess import Preprocessed

SENSOR = SensorShape(2, 8, 8)


def test_recordings_are_cropped_and_everything_else_is_theirs() -> None:
    raw = open_shapes(n=9, seed=4)
    data = Preprocessed(raw, DvsLayer(in_shape=SENSOR, merge=True, cut=(1, 2, 6, 7), mirror_y=True))
    assert isinstance(data, Dataset)
    assert (data.name, data.n_classes, data.duration_us, len(data)) == ("shapes", 3, raw.duration_us, 9)
    assert (data.labels.tolist(), data.keys) == (raw.labels.tolist(), raw.keys)
    assert data.shape == (1, 6, 6)
    for index in (0, 8):
        before, after = raw.sample(index), data.sample(index)
        cropped = ops.crop_space(ops.merge_polarity(before.events), top=1, left=2, height=6, width=6)
        assert after == (ops.flip(cropped, axis="y"), before.label, before.key)
        assert data.n_dropped(index) == len(before.events) - len(after.events) > 0


def test_every_recording_begins_from_reset_state() -> None:
    # Whatever was decoded before, and however often: a noise filter that remembered would pass more the second time.
    data = Preprocessed(open_shapes(n=6), DvsLayer(in_shape=SENSOR, noise=NoiseFilter(window_us=300)))
    once = [data.sample(i).events for i in range(6)]
    assert [data.sample(i).events for i in reversed(range(6))] == once[::-1]
    assert 0 < data.n_dropped(0) < len(data.recordings.sample(0).events)


def test_batches_hold_what_the_layer_sends_on() -> None:
    raw = open_shapes(n=4)
    data = Preprocessed(raw, DvsLayer(in_shape=SENSOR, merge=True, pool=1))
    fine, coarse = (Samples.of(one, np.arange(4), 4).batch(range(4)) for one in (raw, data))
    # 8 x 8 pixels in windows of 2: counts of merged, pooled events are sums of counts
    summed = fine.x.sum(2).reshape(4, 4, 4, 2, 4, 2).sum((3, 5))
    np.testing.assert_array_equal(coarse.x[:, :, 0].numpy(), summed.numpy())


def test_a_layer_of_another_sensor_is_refused() -> None:
    with pytest.raises(DataError, match=r"takes \(2, 34, 34\), recordings of 'shapes' are \(2, 8, 8\)"):
        Preprocessed(open_shapes(n=3), DvsLayer(in_shape=SensorShape(2, 34, 34)))
