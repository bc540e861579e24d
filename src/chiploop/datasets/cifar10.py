"""CIFAR-10: 50,000 + 10,000 colour pictures of ten classes, 32x32, binary version.

A. Krizhevsky: Learning multiple layers of features from tiny images. Technical report, University of Toronto, 2009.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop.datasets.base import DATASETS, ImageDataset, require_split
from chiploop.datasets.locate import DATA_VARIABLE, resolve_root
from chiploop.errors import DataError, MissingDataError

FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CHANNELS, SIDE = 3, 32
RECORD_BYTES = 1 + CHANNELS * SIDE * SIDE
BATCH_IMAGES = 10_000


@DATASETS.register("cifar10")
def open_cifar10(root: Path | str | None = None, *, split: str = "train", partial: bool = False) -> ImageDataset:
    """Read a split from root/cifar-10-batches-bin; `partial` allows the batches that are there, if not all are.

    A key is the number of the image in the full split, from 1, whichever batches are present.
    """
    require_split(split, tuple(FILES), "CIFAR-10")
    folder = resolve_root(root) / "cifar-10-batches-bin"
    present = [name for name in FILES[split] if (folder / name).is_file()]
    missing = [name for name in FILES[split] if name not in present]
    if not present or (missing and not partial):
        raise MissingDataError(
            f"CIFAR-10: not found in {folder}: {', '.join(missing)}. The binary version is published by its author as "
            f"cifar-10-binary.tar.gz: unpack it there, or name another root with --data or {DATA_VARIABLE}"
            + (f"; or pass partial=True to use {', '.join(present)} alone." if present else ".")
        )
    batches = [read_batch(folder / name) for name in present]
    first = [FILES[split].index(name) * BATCH_IMAGES + 1 for name in present]
    keys = np.concatenate([start + np.arange(len(labels)) for start, (_, labels) in zip(first, batches, strict=True)])
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return ImageDataset("cifar10", images, labels, keys, len(CLASSES))


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one batch: images [n, 32, 32, 3] and labels; each record is a label byte and three colour planes."""
    content = np.fromfile(path, np.uint8)
    if not content.size or content.size % RECORD_BYTES:
        whole = content.size - content.size % RECORD_BYTES
        raise DataError(
            f"{path} is truncated at byte {whole}: records have {RECORD_BYTES} bytes, the file {content.size}"
        )
    records = content.reshape(-1, RECORD_BYTES)
    outside = records[:, 0] >= len(CLASSES)
    if outside.any():
        i = int(np.argmax(outside))
        raise DataError(f"{path}: label {records[i, 0]} at byte {i * RECORD_BYTES} is outside 0..{len(CLASSES) - 1}")
    planes = records[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int64)
