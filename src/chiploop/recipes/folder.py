"""The folder of a run belongs to one recipe."""

from __future__ import annotations

from pathlib import Path

from chiploop import atomic
from chiploop.errors import RecipeError
from chiploop.recipes.recipe import Recipe, read_recipe
from chiploop.recipes.toml import to_toml

FILE_NAME = "recipe.toml"
SHORT = 8
"""Hexadecimal digits of a hash in names that people read."""


def default_folder(recipe: Recipe) -> Path:
    """Return the folder of a recipe's runs; a changed recipe has another one."""
    return Path("runs") / f"{recipe.name}-{recipe.hash[:SHORT]}"


def claim_folder(folder: Path, recipe: Recipe) -> None:
    """Write the resolved recipe into the folder, or check that it is the one that is there.

    Raises RecipeError when the folder holds another recipe's runs, ChiploopError when it cannot be written.
    """
    path = folder / FILE_NAME
    if path.exists():
        try:
            there = read_recipe(str(path))
        except RecipeError as error:
            raise RecipeError(
                f"{folder} holds runs of a recipe that this version cannot read; name another --out ({error})"
            ) from error
        if there.hash != recipe.hash:
            raise RecipeError(
                f"{folder} holds runs of another recipe ({there.name!r}, {there.hash[:SHORT]}; this one is "
                f"{recipe.name!r}, {recipe.hash[:SHORT]}): name another --out, or none"
            )
    atomic.write_text(path, to_toml(recipe))  # even if it is there, so that a folder without room is found out now
