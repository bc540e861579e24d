"""The grid of a sweep: what is combined with what, where it goes, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.errors import RecipeError
from chiploop.recipes.folder import default_folder
from chiploop.recipes.grid import cells_of, parse_variation, points_of
from chiploop.recipes.recipe import read_recipe


def test_values_are_split_at_their_own_commas_only() -> None:
    assert parse_variation("a.b = 1, 2,3").key == "a.b"
    assert parse_variation("a=1, 2 ,3").values == ("1", "2", "3")
    assert parse_variation("a=[1,2],[3]").values == ("[1,2]", "[3]")
    assert parse_variation("a=\"x,y\",'z,]'").values == ('"x,y"', "'z,]'")
    assert parse_variation("a={b = [1,2], c = 3},{}").values == ("{b = [1,2], c = 3}", "{}")


@pytest.mark.parametrize("text", ["", "a", "a=", "a=1,", "=1,2", "a=,1"])
def test_what_is_no_variation_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="write KEY=VALUE,VALUE"):
        parse_variation(text)


def test_every_recipe_takes_every_value_with_every_seed() -> None:
    variations = [parse_variation("learn.bptt.epochs=1,2"), parse_variation("quantize.bits=4,8")]
    points = points_of(["demo", "nmnist-table1"], variations, ["threads=1", "seed=5"], out=Path("there"))
    found = [(p.recipe.name, p.recipe.learn["bptt"].epochs, p.recipe.quantize.bits) for p in points]
    assert found == [(name, e, bits) for name in ("demo", "nmnist-table1") for e in (1, 2) for bits in (4, 8)]
    assert points[1].varied == (("learn.bptt.epochs", "1"), ("quantize.bits", "8"))
    assert all(point.recipe.threads == 1 for point in points)
    cells = cells_of(points, seeds=2)
    assert [cell.seed for cell in cells] == [5] * 8 + [6] * 8
    assert [cell.point for cell in cells[:8]] == [cell.point for cell in cells[8:]] == list(points)
    one = cells[9]
    assert one.title == "demo learn.bptt.epochs=1 quantize.bits=8, seed 6"
    alike = read_recipe("demo", ["threads=1", "learn.bptt.epochs=1", "quantize.bits=8", "seed=6"])
    assert one.recipe == alike
    assert one.folder == Path("there") / default_folder(alike).name / "seed-6"


def test_the_same_sweep_finds_its_folder_again() -> None:
    vary = [parse_variation("quantize.bits=4,8")]
    (folder,) = {point.folder.parent for point in points_of(["demo"], vary)}
    assert folder.parent == Path("runs")
    again = points_of(["demo"], [parse_variation("quantize.bits=8,4")], ["seed=3"])
    assert {point.folder.parent for point in again} == {folder}
    assert points_of(["demo"], [parse_variation("quantize.bits=4,5")])[0].folder.parent != folder


@pytest.mark.parametrize(
    ("recipes", "vary", "message"),
    [
        (["demo"], ["quantize.bit=4,8"], "unknown key 'quantize.bit': did you mean 'bits'"),
        (["demo"], ["quantize.bits=4,9"], "quantize.bits: input should be less than or equal to 8"),
        (["demo"], ["chip.device=virtual,virtaul"], "chip.device = 'virtaul': did you mean 'virtual'"),
        (["demo"], ["quantize.bits=4,4"], "4 stands there twice"),
        (["demo"], ["quantize.bits=4", "quantize.bits=8"], "quantize.bits is given twice"),
        (["demo"], ["seed=1,2"], "seeds are asked for by --seeds"),
        (["demo"], ["notes=a,b"], "are the same experiment: what differs changes no result"),
        (["demo"], ["quantize.bits=8,8.0"], "are the same experiment"),
        (["demo", "demo"], [], "named twice"),
        (["demo", "dmeo"], [], "no recipe 'dmeo': did you mean 'demo'"),
    ],
)
def test_what_cannot_be_swept_is_said_at_once(recipes: list[str], vary: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        points_of(recipes, [parse_variation(text) for text in vary])
