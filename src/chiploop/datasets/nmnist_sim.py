"""MNIST seen by the simulated saccade camera: N-MNIST in kind, as many recordings as MNIST has images."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from chiploop.datasets.base import DATASETS
from chiploop.datasets.mnist import DIGITS, open_mnist
from chiploop.datasets.nmnist import numbers_left_out
from chiploop.datasets.simulated import Progress, SimulatedDataset
from chiploop.encode.saccade import SaccadeCamera
from chiploop.errors import DataError


@DATASETS.register("nmnist_sim")
def open_nmnist_sim(
    root: Path | str | None = None,
    *,
    split: str = "train",
    n: int = 10_000,
    exclude: Collection[int | str] = (),
    camera: SaccadeCamera | None = None,
    seed: int = 0,
    cache: bool = True,
    progress: Progress | None = None,
) -> SimulatedDataset:
    """Return recordings of the first `n` MNIST images whose numbers (keys, from 1) are not in `exclude`.

    Exclude the images behind the recordings that are to test a network: `open_nmnist(...).keys`.
    """
    mnist = open_mnist(root, split=split)
    barred = numbers_left_out(exclude, split)
    keys = [key for key in mnist.keys.tolist() if key not in barred][:n]
    if n < 1 or len(keys) < n:
        raise DataError(f"nmnist_sim: n = {n}, but MNIST's {split} split has {len(keys)} images after exclusion")
    return SimulatedDataset(
        name=f"nmnist_sim_{split}",
        images=mnist.images[..., 0],
        labels=mnist.labels[[key - 1 for key in keys]],
        keys=tuple(keys),
        n_classes=DIGITS,
        camera=camera or SaccadeCamera(),
        seed=seed,
        cache=cache,
        progress=progress,
    )
