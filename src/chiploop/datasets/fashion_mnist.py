"""Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28x28 grey, in MNIST's format.

H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms.
arXiv:1708.07747, 2017. Licence of the data: MIT.
"""

from __future__ import annotations

from pathlib import Path

from chiploop.datasets.base import DATASETS, ImageDataset
from chiploop.datasets.locate import resolve_root
from chiploop.datasets.mnist import open_idx_pair

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@DATASETS.register("fashion_mnist")
def open_fashion_mnist(root: Path | str | None = None, *, split: str = "train") -> ImageDataset:
    """Read a split from root/FashionMNIST; raises MissingDataError that names the files."""
    published = "Fashion-MNIST is published by Zalando Research under these file names."
    return open_idx_pair(resolve_root(root) / "FashionMNIST", split, name="fashion_mnist", published=published)
