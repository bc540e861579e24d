"""`chiploop ls`: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from chiploop.cli.console import print_json, wrapped
from chiploop.cli.options import JsonOption
from chiploop.errors import ChiploopError, nearest

EXAMPLES = "Examples:\n\n  chiploop ls\n\n  chiploop ls recipes\n\n  chiploop ls methods --json"


def command(
    kind: Annotated[str | None, typer.Argument(help="recipes, methods, datasets, chips, ... Default: all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List recipes, methods, data sets, chips and all else that a recipe can name."""
    from chiploop.recipes.catalogue import catalogue

    kinds = catalogue()
    if kind is not None and kind not in kinds:
        raise ChiploopError(f"nothing to list under {kind!r}: {nearest(kind, kinds)}")
    found = {name: listing() for name, listing in kinds.items() if kind in (None, name)}
    if as_json:
        print_json(found)
        return
    for name, entries in found.items():
        if kind is None:
            print(f"{name}")
        _print_entries(entries, indent=2 if kind is None else 0)


def _print_entries(entries: dict[str, str], *, indent: int) -> None:
    column = max((len(name) for name in entries), default=0) + indent + 2
    for name, line in entries.items():
        print(wrapped(line, f"{' ' * indent}{name}".ljust(column)))
