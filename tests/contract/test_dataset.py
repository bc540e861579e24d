"""What every data set of event recordings keeps; the ones from files run where the files are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.datasets.base import DATASETS, Dataset, ImageDataset, batches, samples
from chiploop.datasets.cifar10 import open_cifar10
from chiploop.datasets.mnist import open_mnist
from chiploop.datasets.mnist5k import mnist5k_images, mnist_numbers
from chiploop.datasets.nmnist import open_nmnist
from chiploop.datasets.nmnist_sim import open_nmnist_sim
from chiploop.datasets.pack import pack_dataset
from chiploop.errors import DataError, MissingDataError

FROM_FILES = {
    "nmnist": {},
    "nmnist_sim": {"n": 20, "cache": False},
    "mnist": {},
    "fashion_mnist": {},
    "cifar10": {"partial": True},
}
WITHOUT_FILES = {"mnist5k": {"cache": False}}
FROM_OTHERS = {"packed"}
"""Data sets made of what another one holds."""


def test_every_registered_data_set_is_in_a_table_or_needs_nothing() -> None:
    names = set(DATASETS.names())
    assert names >= {*FROM_FILES, *WITHOUT_FILES, *FROM_OTHERS}


@pytest.mark.parametrize("name", sorted({*FROM_FILES, *FROM_OTHERS}))
def test_missing_files_are_named_with_the_cure(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"CHIPLOOP_DATA") as caught:
        DATASETS.get(name)(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(DATASETS.names()) - set(FROM_FILES) - FROM_OTHERS))
def test_data_sets_that_need_no_files(name: str, tmp_path: Path) -> None:
    _check(DATASETS.get(name)(tmp_path, split="train", **WITHOUT_FILES.get(name, {})))
    with pytest.raises(DataError, match="no split"):
        DATASETS.get(name)(tmp_path, split="nonsense")


@pytest.mark.parametrize("name", sorted(FROM_FILES))
def test_data_sets_from_files(name: str, data_root: Path) -> None:
    _check(DATASETS.get(name)(data_root, **FROM_FILES[name]))


def test_packed_data_sets(tmp_path: Path) -> None:
    data = DATASETS.get("shapes")(split="test", n=120)
    pack_dataset(data, tmp_path / "some.packed", source="shapes", split="test")
    packed = DATASETS.get("packed")(tmp_path, split="test")
    _check(packed)
    assert list(samples(packed)) == list(samples(data))
    with pytest.raises(DataError, match="no split"):
        DATASETS.get("packed")(tmp_path, split="nonsense")


def _check(data: Dataset | ImageDataset) -> None:
    assert len(data) == len(data.labels) == len(data.keys) > 0
    assert data.labels.dtype == np.int64
    assert 0 <= data.labels.min() <= data.labels.max() < data.n_classes
    assert len(set(np.bincount(data.labels, minlength=data.n_classes) > 0)) == 1 or len(data) < 100
    assert len(set(map(str, data.keys))) == len(data)
    if isinstance(data, ImageDataset):
        return
    assert isinstance(data, Dataset)
    some = [0, len(data) - 1]
    for index, sample in zip(some, samples(data, some), strict=True):
        assert sample == data.sample(index)
        assert (sample.label, sample.key) == (data.labels[index], data.keys[index])
        assert sample.events.shape == data.shape
        assert sample.events.stop_us >= data.duration_us
        assert len(sample.events) > 0
    sizes = [len(batch) for batch in batches(data, 2, np.array([1, 0, 1, 0, 1]))]
    assert sizes == [2, 2, 1]


def test_published_sizes_and_statistics(data_root: Path) -> None:
    for split, n in (("train", 60_000), ("test", 10_000)):
        assert len(open_mnist(data_root, split=split)) == n
        assert len(DATASETS.get("fashion_mnist")(data_root, split=split)) == n
    for name, published in (("mnist", (0.1307, 0.3081)), ("fashion_mnist", (0.2860, 0.3530))):
        share = np.bincount(DATASETS.get(name)(data_root).images.ravel(), minlength=256) / (60_000 * 28 * 28)
        grey = np.arange(256) / 255
        mean = float(share @ grey)
        assert (round(mean, 4), round(float(share @ (grey - mean) ** 2) ** 0.5, 4)) == published
    assert np.bincount(open_cifar10(data_root, split="test").labels).tolist() == [1_000] * 10


def test_recordings_are_labelled_as_the_images_behind_them(data_root: Path) -> None:
    recordings, images = open_nmnist(data_root), open_mnist(data_root)
    numbers = np.array(recordings.keys)
    assert np.array_equal(images.labels[numbers - 1], recordings.labels)


def test_excluded_images_are_not_simulated(data_root: Path) -> None:
    tested = open_nmnist(data_root).keys
    data = open_nmnist_sim(data_root, n=500, exclude=tested, cache=False)
    assert not set(data.keys) & set(tested)
    assert len(data) == 500
    with pytest.raises(DataError, match="after exclusion"):
        open_nmnist_sim(data_root, n=60_000, exclude=tested)


def test_mnist5k_digits_are_mnist_training_images(data_root: Path) -> None:
    digits, mnist = mnist5k_images(), open_mnist(data_root)
    assert np.bincount(digits.labels).tolist() == [500] * 10
    numbers = mnist_numbers(digits.images[:50], mnist)
    assert (numbers > 0).all()
    assert np.array_equal(mnist.images[numbers - 1], digits.images[:50])
    assert mnist_numbers(np.full((1, 28, 28), 7, np.uint8), mnist).tolist() == [0]
