"""Readers of the published files, on files made here."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from chiploop.datasets.cifar10 import RECORD_BYTES, open_cifar10
from chiploop.datasets.idx import read_idx
from chiploop.datasets.locate import cache_directory, resolve_root
from chiploop.datasets.mnist import open_mnist
from chiploop.datasets.nmnist import open_nmnist
from chiploop.errors import DataError, MissingDataError
from chiploop.events.codecs.nmnist import write_nmnist
from chiploop.events.types import Events, SensorShape


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(root: Path, images: np.ndarray, labels: np.ndarray) -> None:
    folder = root / "MNIST"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))


def test_idx_pairs_gzipped_or_not(tmp_path: Path) -> None:
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    write_mnist(tmp_path, images, np.array([7, 0, 9]))
    data = open_mnist(tmp_path)
    assert np.array_equal(data.images[..., 0], images)
    assert (data.labels.tolist(), data.keys.tolist()) == ([7, 0, 9], [1, 2, 3])
    with pytest.raises(MissingDataError, match="t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"):
        open_mnist(tmp_path, split="test")
    with pytest.raises(DataError, match=r"no split 'val'.*train, test"):
        open_mnist(tmp_path, split="val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x00\x08", "truncated at byte 3"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "header 00000d01 at byte 0, expected 00000801"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05\x00\x00", "asks for 13"),
        (gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x00")[:-4], "cannot read"),
    ],
)
def test_damaged_idx_files_are_located(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(path, ndim=1)


def test_labels_out_of_range_and_unequal_numbers_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path / "a", np.zeros((2, 28, 28)), np.array([3, 10]))
    with pytest.raises(DataError, match=r"label 10 of sample 1"):
        open_mnist(tmp_path / "a")
    write_mnist(tmp_path / "b", np.zeros((2, 28, 28)), np.array([3]))
    with pytest.raises(DataError, match="2 images, 1 labels"):
        open_mnist(tmp_path / "b")


def test_cifar_batches_present_and_missing(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    record = np.zeros(RECORD_BYTES, np.uint8)
    record[0], record[1], record[1 + 1024], record[1 + 2 * 1024 + 33] = 6, 10, 20, 30
    (folder / "data_batch_2.bin").write_bytes(record.tobytes())
    with pytest.raises(MissingDataError, match=r"data_batch_1.bin, data_batch_3.bin.*partial=True to use data_batch_2"):
        open_cifar10(tmp_path)
    data = open_cifar10(tmp_path, partial=True)
    assert (data.labels.tolist(), data.keys.tolist()) == ([6], [10_001])
    assert data.images[0, 0, 0].tolist() == [10, 20, 0]  # red and green planes, first pixel
    assert data.images[0, 1, 1].tolist() == [0, 0, 30]  # blue plane, second row, second column
    (folder / "data_batch_2.bin").write_bytes(record.tobytes()[:-1])
    with pytest.raises(DataError, match="truncated at byte 0"):
        open_cifar10(tmp_path, partial=True)


def test_nmnist_lists_what_is_there_by_number(tmp_path: Path) -> None:
    events = Events.from_columns([5, 1_000], [0, 1], [3, 4], [5, 6], SensorShape(2, 34, 34))
    for name in ("7/00012.bin", "3/00002.bin", "9/notes.txt"):
        path = tmp_path / "N-MNIST" / "Train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".bin":
            write_nmnist(path, events)
        else:
            path.write_text("not a recording")
    data = open_nmnist(tmp_path)
    assert (data.keys, data.labels.tolist()) == ((2, 12), [3, 7])
    sample = data.sample(1)
    assert (sample.label, sample.key, sample.events.stop_us) == (7, 12, data.duration_us)
    with pytest.raises(MissingDataError, match=r"Test.zip"):
        open_nmnist(tmp_path, split="test")
    data.files[0].unlink()
    with pytest.raises(DataError, match="cannot read"):
        data.sample(0)


def test_the_root_is_option_then_variable_then_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CHIPLOOP_DATA", raising=False)
    assert resolve_root() == cache_directory() / "data" == tmp_path / "chiploop" / "data"
    monkeypatch.setenv("CHIPLOOP_DATA", str(tmp_path / "shelf"))
    assert resolve_root() == tmp_path / "shelf"
    assert resolve_root(tmp_path / "given") == tmp_path / "given"
