"""Analogue rows of networks that the accelerator cannot carry: everything but its column."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.recipes.recipe import Recipe
from chiploop.recipes.run import run_recipe


@pytest.mark.parametrize(
    ("network", "places"),
    [
        ({"layers": "4c3p1-P2-3"}, {"software", "int-sync", "accelerator", "chip"}),
        ({"layers": "4c3p1-(4c3p1)-P2-3"}, {"software", "int-sync", "chip"}),
        ({"layers": "4c3p1-P2-3", "leak": 0.05, "clock_us": 4_000}, {"software", "int-sync", "chip"}),
    ],
)
def test_the_accelerator_is_left_out_where_it_cannot_run(
    network: dict[str, object], places: set[str], tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "frames",
            "threads": 1,
            "data": {"dataset": "shapes", "n": 60},
            "encode": {"n_windows": 4},
            "network": {"activity": 4.0, **network},
            "chip": {"threads": 1},
            "learn": {"cnn": {"method": "ann", "epochs": 1}, "norm": {"method": "convert", "warm_start": "cnn"}},
        }
    )
    (record,) = run_recipe(recipe, root=None, out=tmp_path)
    for method in ("cnn", "norm"):
        assert {m.where for m in record.metrics if (m.name, m.method) == ("accuracy", method)} == places
