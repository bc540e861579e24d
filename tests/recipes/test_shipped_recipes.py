"""Every shipped recipe through all its stages, shortened to one epoch on a few recordings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from chiploop.errors import MissingDataError
from chiploop.measure.record import RunRecord, read_records
from chiploop.recipes.recipe import Recipe, read_recipe, recipe_names
from chiploop.recipes.run import run_recipe
from recordings import write_bars

N = 30
NEEDS_REAL = {name for name in recipe_names() if "nmnist" not in {read_recipe(name).data.dataset}} | {
    name for name in recipe_names() if read_recipe(name).data.pretrain is not None
}
"""Recipes that simulate images: blocks of a thousand at once, which takes a while the first time."""


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def shortened(name: str) -> Recipe:
    """Return a recipe with one epoch a row and few recordings everywhere."""
    recipe = read_recipe(name)
    tables = ["data", *(f"data.{t}" for t in ("tested_on", "pretrain") if getattr(recipe.data, t) is not None)]
    changes = [f"{table}.n={N}" for table in tables] + ["data.validation=0.2", "network.activity=4.0"]
    # Small steps from a lively network: three steps at full rate on a few recordings can silence a layer for good.
    small = {"epochs": 1, "batch_size": 8, "lr": 1e-4}
    changes += [f"learn.{row}.{key}={value}" for row in recipe.learn for key, value in small.items()]
    return read_recipe(name, changes)


def carry_out(name: str, root: Path | None, out: Path) -> RunRecord:
    """Run a shortened recipe and check what holds for all: every reported row is measured everywhere it should be."""
    recipe = shortened(name)
    (record,) = run_recipe(recipe, root=root, out=out)
    assert read_records(out) == [record]
    for row, learn in recipe.learn.items():
        assert (out / "seed-0" / f"{row}.network.safetensors").is_file()
        places = {m.where for m in record.metrics if m.name == "accuracy" and m.method == row}
        analogue = learn.method in ("ann", "cil-ann", "convert")
        expected = {"software", "int-sync", "chip"} | ({"accelerator"} if analogue else set())
        assert places == (expected if learn.report else set()), row
        synops = [m.value for m in record.metrics if (m.name, m.method, m.layer) == ("synops_per_sample", row, None)]
        assert len(synops) == learn.report
        assert all(value > 0 for value in synops)
    return record


@pytest.mark.parametrize("name", sorted(set(recipe_names()) - NEEDS_REAL))
def test_recipes_for_n_mnist_run_on_any_recordings(name: str, tmp_path: Path) -> None:
    carry_out(name, write_bars(tmp_path / "data"), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_recipes_run_on_their_own_data(name: str, data_root: Path, tmp_path: Path) -> None:
    try:
        carry_out(name, data_root, tmp_path / "out")
    except MissingDataError as error:
        pytest.skip(str(error))
