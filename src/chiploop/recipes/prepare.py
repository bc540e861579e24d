"""From a recipe's data table to disjoint training, validation and test samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop.datasets.base import DATASETS, Dataset
from chiploop.datasets.split import split_indices
from chiploop.errors import RecipeError
from chiploop.learn.batch import Samples
from chiploop.learn.preprocess import Preprocessed
from chiploop.recipes.recipe import Recipe
from chiploop.recipes.tables import Dvs

NUMBERED_ALIKE = frozenset({"nmnist", "nmnist_sim"})
"""Data sets whose keys are the numbers of MNIST's images. mnist5k holds some of those, under numbers of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The samples of one seed; no recording, and no image behind one, is in two of them."""

    train: Samples
    validation: Samples
    test: Samples
    pretrain: Samples | None


def prepare(recipe: Recipe, root: Path | None, *, seed: int) -> Parts:
    """Open the recipe's data sets and divide them by the seed."""
    data, n_windows = recipe.data, recipe.encode.n_windows

    def samples(dataset: Dataset, indices: NDArray[np.int64]) -> Samples:
        return Samples.of(preprocessed(dataset, recipe.dvs), indices, n_windows)

    if data.tested_on is None:
        whole = open_dataset(data.dataset, data.split, root)
        taken = _subset(whole, data.n, seed)
        test_size, validation_size = round(data.test * len(taken)), round(data.validation * len(taken))
        sizes = [len(taken) - test_size - validation_size, validation_size, test_size]
        train, validation, test = (taken[part] for part in split_indices(whole.labels[taken], sizes, seed=seed))
        parts = samples(whole, train), samples(whole, validation), samples(whole, test)
    else:
        _require_same_keys("data", data.dataset, data.tested_on.dataset)
        tested = open_dataset(data.tested_on.dataset, data.tested_on.split, root)
        test = _subset(tested, data.tested_on.n, seed)
        hidden = [tested.keys[i] for i in test]
        whole = open_dataset(data.dataset, data.split, root, n=data.n, exclude=hidden)
        held = round(data.validation * len(whole))
        train, validation = split_indices(whole.labels, [len(whole) - held, held], seed=seed)
        parts = samples(whole, train), samples(whole, validation), samples(tested, test)
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if not len(part):
            raise RecipeError(f"data: the {name} part is empty; raise its share (data.validation, data.test) or data.n")
    return Parts(train=parts[0], validation=parts[1], test=parts[2], pretrain=_pretraining(recipe, parts, root))


def _pretraining(recipe: Recipe, parts: tuple[Samples, Samples, Samples], root: Path | None) -> Samples | None:
    data = recipe.data
    if data.pretrain is None:
        return None
    source, tested_on = data.pretrain, data.tested_on
    for name in (data.dataset, *(() if tested_on is None else (tested_on.dataset,))):
        _require_same_keys("data.pretrain", source.dataset, name)
    hidden = [part.dataset.keys[i] for part in parts[1:] for i in part.indices]
    whole = open_dataset(source.dataset, source.split, root, n=source.n, exclude=hidden)
    return Samples.of(preprocessed(whole, recipe.dvs), np.arange(len(whole)), recipe.encode.n_windows)


def preprocessed(dataset: Dataset, dvs: Dvs) -> Dataset:
    """Return the recordings as the sensor layer of the recipe's table sends them on."""
    layer = dvs.layer(dataset.shape)
    return dataset if layer is None else Preprocessed(dataset, layer)


def _require_same_keys(table: str, name: str, held_out: str) -> None:
    """Raise RecipeError unless the keys of held-out recordings say what to leave out of another data set."""
    if name != held_out and not {name, held_out} <= NUMBERED_ALIKE:
        raise RecipeError(
            f"{table}.dataset = {name!r} beside recordings of {held_out!r}: their keys do not name the same images, so "
            f"test images could not be kept out of training; use two of {', '.join(sorted(NUMBERED_ALIKE))}"
        )


def open_dataset(
    name: str,
    split: str | None,
    root: Path | None,
    *,
    n: int | None = None,
    exclude: list[Any] | None = None,
) -> Dataset:
    """Open a data set of recordings by its registered name; simulated ones take `n` and the keys to `exclude`."""
    options: dict[str, Any] = {} if split is None else {"split": split}
    if exclude is not None:
        options["exclude"] = frozenset(exclude)
    if n is not None:
        options["n"] = n
    try:
        dataset = DATASETS.get(name)(root, **options)
    except TypeError as error:
        raise RecipeError(
            f"data set {name!r} cannot leave recordings out ({error}); only N-MNIST and its simulation can be "
            "trained on beside a test set of their own"
        ) from error
    if not isinstance(dataset, Dataset):
        raise RecipeError(
            f"data set {name!r} holds images, not recordings; use mnist5k or nmnist_sim for saccaded digits"
        )
    return dataset


def _subset(dataset: Dataset, n: int | None, seed: int) -> NDArray[np.int64]:
    if n is None or n == len(dataset):
        return np.arange(len(dataset))
    if n > len(dataset):
        raise RecipeError(
            f"data: n = {n}, but {dataset.name} has {len(dataset)} recordings; leave n out to take them all"
        )
    return split_indices(dataset.labels, [n], seed=seed)[0]
