"""The folder of a run belongs to one recipe."""

from __future__ import annotations

from pathlib import Path

from chiploop import atomic
from chiploop.errors import RecipeError
from chiploop.recipes.recipe import Recipe, read_recipe
from chiploop.recipes.toml import to_toml

FILE_NAME = "recipe.toml"
RUNS = "runs"
SHORT = 8
"""Hexadecimal digits of a hash in names that people read."""


def default_folder(recipe: Recipe) -> Path:
    """Return the folder of a recipe's runs; a changed recipe has another one."""
    return Path(RUNS) / f"{recipe.name}-{recipe.hash[:SHORT]}"


def claim_folder(folder: Path, recipe: Recipe) -> None:
    """Write the resolved recipe into the folder, or check that it is the one that is there.

    `leave_folder` takes back what was claimed for a run that came to nothing. Raises RecipeError when the folder holds another recipe's runs, ChiploopError when it cannot be written.
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


def leave_folder(folder: Path) -> None:
    """Remove a folder that holds nothing but the recipe, and its parent if that is `runs` and empty."""
    entries = list(folder.iterdir()) if folder.is_dir() else []
    if [entry.name for entry in entries] != [FILE_NAME]:
        return
    entries[0].unlink()
    folder.rmdir()
    if folder.parent == Path(RUNS) and not any(folder.parent.iterdir()):
        folder.parent.rmdir()
