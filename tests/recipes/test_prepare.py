"""Parts that share nothing, also where two data sets hold the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import RecipeError
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
