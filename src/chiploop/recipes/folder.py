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


def claim_folder(folder: Path, recipe: Recipe) -> bool:
    """Write the resolved recipe into the folder, or check that the one that is there is the same; return what was done.

    Raises RecipeError when the folder holds another recipe's runs, ChiploopError when it cannot be written.
    """
    path = folder / FILE_NAME
    if not path.exists():
        atomic.write_text(path, to_toml(recipe))
        return True
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
    return False


def leave_folder(folder: Path) -> None:
    """Take a fresh claim back after a run that came to nothing: remove the recipe, and what is empty without it."""
    if [entry.name for entry in folder.iterdir()] != [FILE_NAME]:
        return
    (folder / FILE_NAME).unlink()
    folder.rmdir()
    if folder.parent == Path(RUNS) and not any(folder.parent.iterdir()):
        folder.parent.rmdir()
