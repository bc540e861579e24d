"""`chiploop show`: a recipe with every default, or what a file holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from chiploop.cli.console import print_json, print_table
from chiploop.cli.options import JsonOption, SetOption
from chiploop.errors import RecipeError

EXAMPLES = (
    "Examples:\n\n  chiploop show demo\n\n  chiploop show demo --set learn.bptt.epochs=3 > mine.toml\n\n"
    "  chiploop show runs/demo-1a2b3c4d/seed-0/bptt.network.safetensors"
)


def command(
    what: Annotated[str, typer.Argument(metavar="RECIPE|FILE", help="A recipe, or a network, program or record file.")],
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a recipe with every default spelled out, or summarise a saved network, program, checkpoint or record."""
    if Path(what).suffix in (".safetensors", ".json"):
        if changes:
            raise RecipeError(f"--set changes a recipe; {what} is none")
        from chiploop.cli.summary import summarise

        summary = summarise(Path(what))
        if as_json:
            print_json(summary.plain)
            return
        print("\n".join(summary.lines))
        for table in summary.tables:
            print()
            print_table(table)
        return
    _show_recipe(what, changes, as_json=as_json)


def _show_recipe(what: str, changes: list[str] | None, *, as_json: bool) -> None:
    from chiploop.recipes.catalogue import require_names
    from chiploop.recipes.recipe import read_recipe
    from chiploop.recipes.toml import to_toml

    recipe = read_recipe(what, changes)
    require_names(recipe)
    if as_json:
        print_json({"hash": recipe.hash, "recipe": recipe.model_dump(mode="json")})
        return
    text = f"# {recipe.name}, hash {recipe.hash}\n{to_toml(recipe)}"
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text.rstrip(), "toml", background_color="default", word_wrap=True))
