"""Parts that share nothing, also where two data sets hold the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import RecipeError
from chiploop.events import Events, SensorShape
from chiploop.events.io import write_events
from chiploop.learn.batch import Samples
from chiploop.recipes.prepare import prepare
from chiploop.recipes.recipe import read_recipe


def keys(samples: Samples) -> set[int | str]:
    return {samples.dataset.keys[i] for i in np.asarray(samples.indices)}


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        ("demo", ["data.pretrain.dataset=nmnist_sim"], "data.pretrain.dataset = 'nmnist_sim' beside .* of 'mnist5k'"),
        ("nmnist-sim", ["data.tested_on.dataset=mnist5k"], "data.dataset = 'nmnist_sim' beside .* of 'mnist5k'"),
        ("nmnist-sim", ["data.tested_on.dataset=shapes"], "data.dataset = 'nmnist_sim' beside .* of 'shapes'"),
    ],
)
def test_keys_that_name_other_images_cannot_keep_test_images_out(
    recipe: str, changes: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        prepare(read_recipe(recipe, changes), tmp_path, seed=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_pretraining_sees_no_image_behind_validation_or_test(seed: int, data_root: Path) -> None:
    parts = prepare(read_recipe("nmnist-pretrained"), data_root, seed=seed)
    assert parts.pretrain is not None
    train, validation, test = keys(parts.train), keys(parts.validation), keys(parts.test)
    assert not train & validation
    assert not (train | validation) & test
    assert not keys(parts.pretrain) & (validation | test)


def test_the_official_split_trains_on_one_folder_and_tests_on_the_other(tmp_path: Path) -> None:
    some = Events.from_columns([1], [0], [2], [3], SensorShape(2, 34, 34))
    for folder, digit, number in (*(("Train", n % 2, n) for n in range(1, 21)), ("Test", 0, 1), ("Test", 1, 2)):
        path = tmp_path / "N-MNIST" / folder / str(digit) / f"{number:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_events(path, some, format="nmnist")
    changes = ["data.tested_on.dataset=nmnist", "data.tested_on.split=test", "data.validation=0.2"]
    parts = prepare(read_recipe("nmnist-table1", changes), tmp_path, seed=0)
    assert keys(parts.test) == {"test-00001", "test-00002"}
    assert keys(parts.train) | keys(parts.validation) == set(range(1, 21))  # the same numbers, other images


def test_more_recordings_than_there_are_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"n = 700, but shapes.* has 600 recordings"):
        prepare(read_recipe("demo", ["data.dataset=shapes", "data.split=train", "data.n=700"]), tmp_path, seed=0)
