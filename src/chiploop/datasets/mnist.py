"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. Proc. IEEE 86(11),
1998. Licence of the data: CC BY-SA 3.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chiploop.datasets.base import DATASETS, ImageDataset, require_split
from chiploop.datasets.idx import read_idx
from chiploop.datasets.locate import require_files, resolve_root

PREFIXES = {"train": "train", "test": "t10k"}
DIGITS = 10


@DATASETS.register("mnist")
def open_mnist(root: Path | str | None = None, *, split: str = "train") -> ImageDataset:
    """Read a split from root/MNIST; raises MissingDataError that names the files."""
    published = "MNIST is published by its authors under these file names."
    return open_idx_pair(resolve_root(root) / "MNIST", split, name="mnist", published=published)


def open_idx_pair(folder: Path, split: str, *, name: str, published: str) -> ImageDataset:
    """Read the images and labels of a data set laid out as MNIST is."""
    require_split(split, tuple(PREFIXES), name)
    wanted = [f"{PREFIXES[split]}-images-idx3-ubyte", f"{PREFIXES[split]}-labels-idx1-ubyte"]
    image_file, label_file = require_files(folder, wanted, data_set=name, published=published)
    images = read_idx(image_file, ndim=3)[..., np.newaxis]
    labels = read_idx(label_file, ndim=1).astype(np.int64)
    return ImageDataset(name, images, labels, np.arange(1, len(images) + 1), DIGITS)
