"""Batches: the same samples as streams, counts and labels, in an order that nothing but seed and epoch decides."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from chiploop.datasets.base import Sample
from chiploop.datasets.shapes import open_shapes
from chiploop.events.types import Events, SensorShape
from chiploop.learn.augment import Augment
from chiploop.learn.batch import Batch, Samples
from strategies_network import shapes_samples


def require_same_batch(one: Batch, other: Batch) -> None:
    assert one.events == other.events
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.labels, other.labels)


def test_counts_are_those_of_the_events() -> None:
    batch = shapes_samples(5).batch([3, 0, 4])
    assert batch.labels.tolist() == [0, 0, 1]
    assert batch.edges_us == (0, 4_000, 8_000, 12_000, 16_000)
    assert batch.x.shape == (4, 3, 2, 8, 8)
    expected = np.zeros((4, 3, 2, 8, 8), np.float32)
    for b, events in enumerate(batch.events):
        for t, c, y, x in zip(events.t_us, events.channel, events.y, events.x, strict=True):
            expected[t // 4_000, b, c, y, x] += 1
    np.testing.assert_array_equal(batch.x.numpy(), expected)


def test_every_sample_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    samples = shapes_samples(23)
    keys = {e.digest: i for i, e in enumerate(samples.events(i) for i in range(23))}
    orders = []
    for epoch in (0, 1):
        batches = list(samples.shuffled(5, seed=3, epoch=epoch, transform=None))
        assert [len(b.labels) for b in batches] == [5, 5, 5, 5, 3]
        orders.append([keys[e.digest] for b in batches for e in b.events])
        assert sorted(orders[-1]) == list(range(23))
    assert orders[0] != orders[1] != list(range(23))
    assert samples.n_batches(5) == 5


def test_an_epoch_does_not_depend_on_those_before() -> None:
    augment = Augment(shift_px=2.0, drop=0.3, crop=0.2)
    fresh = list(shapes_samples(9).shuffled(4, seed=1, epoch=5, transform=augment))
    used = shapes_samples(9)
    for epoch in range(3):
        list(used.shuffled(4, seed=1, epoch=epoch, transform=augment))
    for one, other in zip(fresh, used.shuffled(4, seed=1, epoch=5, transform=augment), strict=True):
        require_same_batch(one, other)


def test_a_samples_changes_do_not_depend_on_its_company() -> None:
    """The same recording is changed in the same way, whatever part of the data set it is drawn with."""
    augment = Augment(shift_px=2.0, rotate_deg=20.0)
    dataset = shapes_samples(9).dataset
    whole = {
        e.digest
        for b in Samples.of(dataset, np.arange(9), 4).shuffled(4, seed=1, epoch=0, transform=augment)
        for e in b.events
    }
    few = {
        e.digest
        for b in Samples.of(dataset, np.array([5, 2]), 4).shuffled(1, seed=1, epoch=0, transform=augment)
        for e in b.events
    }
    assert few < whole


PIXELS = SensorShape(1, 1, 2)


@dataclass(frozen=True)
class OneLong:
    """A data set of one recording, longer than its nominal duration, with a hot pixel."""

    name: str = "one"
    n_classes: int = 1
    shape: SensorShape = PIXELS
    duration_us: int = 100
    labels: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    keys: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return 1

    def sample(self, index: int) -> Sample:
        t = np.sort(np.concatenate([np.full(1_000, 30), [99, 100, 105]]))
        zeros = np.zeros(len(t), np.int64)
        return Sample(Events.from_columns(t, zeros, zeros, zeros, self.shape, stop_us=120), 0, 0)


def test_events_past_the_last_window_are_cut_for_device_and_clock_alike_and_hot_pixels_counted_in_full() -> None:
    batch = Samples.of(OneLong(), np.arange(1), 3).batch([0])
    assert batch.edges_us == (0, 34, 68, 102)
    assert len(batch.events[0]) == 1_002
    assert batch.x[:, 0, 0, 0, 0].tolist() == [1_000.0, 0.0, 2.0]
    assert batch.events[0].stop_us == 102


def test_some_samples_hold_every_class_alike_and_know_their_places() -> None:
    whole = Samples.of(open_shapes(split="train"), np.arange(90), 4)
    by_class = Samples.of(whole.dataset, whole.indices[np.argsort(whole.labels, kind="stable")], 4)
    some = by_class.some(30)
    assert np.bincount(some.labels).tolist() == [10, 10, 10]
    np.testing.assert_array_equal(by_class.indices[by_class.places_of(some)], some.indices)
    assert by_class.some(90) is by_class
