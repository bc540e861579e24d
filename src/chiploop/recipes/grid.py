"""A sweep as data: recipes by values by seeds, each cell a run of its own in a folder of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chiploop.digest import digest
from chiploop.errors import RecipeError
from chiploop.measure.record import FILE_NAME, RunRecord, read_record
from chiploop.recipes.catalogue import require_names
from chiploop.recipes.folder import RUNS, SHORT
from chiploop.recipes.recipe import Recipe, read_recipe

_OPENING, _CLOSING, _QUOTES = "[{", "]}", "\"'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """A recipe's key, and the values that it takes, as they are written after `--set KEY=`."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One recipe with one value of every varied key: an experiment, whose seeds lie in one folder."""

    recipe: Recipe
    varied: tuple[tuple[str, str], ...]
    folder: Path

    @property
    def title(self) -> str:
        """The recipe's name and what was varied, in one line."""
        return " ".join([self.recipe.name, *(f"{key}={value}" for key, value in self.varied)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run of a sweep: a point, and a seed."""

    point: Point
    seed: int

    @property
    def title(self) -> str:
        """The point's title, and the seed."""
        return f"{self.point.title}, seed {self.seed}"

    @property
    def recipe(self) -> Recipe:
        """The recipe that gives this cell alone, as `--set seed=` does."""
        return self.point.recipe.model_copy(update={"seed": self.seed})

    @property
    def folder(self) -> Path:
        """Where the run's networks, checkpoints and record lie."""
        return self.point.folder / f"seed-{self.seed}"


def parse_variation(text: str) -> Variation:
    """Read KEY=V1,V2,...; commas within brackets and quotes are the value's own. Raises RecipeError.

    >>> parse_variation("learn.bptt.lr=0.001,0.002").values
    ('0.001', '0.002')
    >>> parse_variation("faults.levels=[0.0,1.0],[0.5]").values
    ('[0.0,1.0]', '[0.5]')
    """
    key, sign, listed = text.partition("=")
    values = tuple(value.strip() for value in _split(listed))
    if not sign or not key.strip() or not all(values):
        raise RecipeError(f"--vary {text!r}: write KEY=VALUE,VALUE,... such as learn.bptt.lr=0.001,0.002")
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise RecipeError(f"--vary {text!r}: {twice} stands there twice")
    if key.strip() == "seed":
        raise RecipeError(f"--vary {text!r}: seeds are asked for by --seeds, from the recipe's own (--set seed=) on")
    return Variation(key=key.strip(), values=values)


def points_of(
    recipes: Sequence[str], variations: Sequence[Variation], changes: Sequence[str] = (), *, out: Path | None = None
) -> tuple[Point, ...]:
    """Return the grid of recipes and values, each point with a folder below `out`; every key and value is checked.

    Without `out`, the folder is named for the points, so that the same sweep finds its runs again. Raises RecipeError
    for what a recipe refuses, for a key that is varied twice, and for two points that are the same experiment.
    """
    keys = [variation.key for variation in variations]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise RecipeError(f"--vary {twice} is given twice; write all of its values in one")
    read: list[tuple[Recipe, tuple[tuple[str, str], ...]]] = []
    owners: dict[str, str] = {}
    for name in recipes:
        for values in itertools.product(*(variation.values for variation in variations)):
            varied = tuple(zip(keys, values, strict=True))
            recipe = read_recipe(name, [*changes, *(f"{key}={value}" for key, value in varied)])
            require_names(recipe)
            title = " ".join([name, *(f"{key}={value}" for key, value in varied)])
            other = owners.setdefault(recipe.hash, title)
            if other != title:
                raise RecipeError(f"{title!r} and {other!r} are the same experiment: what differs changes no result")
            read.append((recipe, varied))
    if len(owners) < len(read):
        raise RecipeError("a recipe is named twice")
    root = out or Path(RUNS) / f"sweep-{digest(sorted(owners))[:SHORT]}"
    return tuple(
        Point(recipe=recipe, varied=varied, folder=root / f"{recipe.name}-{recipe.hash[:SHORT]}")
        for recipe, varied in read
    )


def cells_of(points: Sequence[Point], seeds: int) -> tuple[Cell, ...]:
    """Return every point with so many seeds, from its recipe's own on; the first seed of all points comes first.

    So every point has a result as early as it can.
    """
    return tuple(Cell(point=point, seed=point.recipe.seed + n) for n in range(seeds) for point in points)


def find_record(cell: Cell) -> RunRecord | None:
    """Return the newest record of a cell's run, if it was run to its end; raises DataError for a damaged one."""
    paths = [*cell.folder.glob(FILE_NAME), *cell.folder.glob("record-*.json")]
    records = [read_record(path) for path in paths]
    runs = [
        record
        for record in records
        if (record.recipe_hash, record.seed) == (cell.recipe.hash, cell.seed)
        and any(stage.name == "train" for stage in record.stages)  # a later look at the run is no run
    ]
    return max(runs, key=lambda record: record.created_utc, default=None)


def _split(listed: str) -> list[str]:
    """Return what lies between the commas, but for those in brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in listed:
        if letter == "," and not depth and not quote:
            parts.append("")
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        depth += (letter in _OPENING) - (letter in _CLOSING) if not quote else 0
        parts[-1] += letter
    return parts
