"""`chiploop sweep`: recipes by values by seeds, several at once, into records, a table and a report."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiploop.cli.console import FAILED, INTERRUPTED, fail, one_line, print_json, print_table, say
from chiploop.cli.options import DataOption, JsonOption, QuietOption, SetOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chiploop.recipes.grid import Cell, Point
    from chiploop.recipes.sweep import Finished
    from chiploop.report import Written

EXAMPLES = (
    "Examples:\n\n  chiploop sweep demo --seeds 3 --vary learn.bptt.lr=0.002,0.004,0.008\n\n"
    "  chiploop sweep mine.toml other.toml --seeds 5 --jobs 4 --out runs/night\n\n"
    "  chiploop sweep demo --vary quantize.bits=4,6,8 --address auto\n\n"
    "  chiploop sweep demo --vary data.n=300,600 --local --json > result.json\n\n"
    "Ctrl-C at any time: finished cells and epochs are kept, and the same command goes on where it stopped."
)


def command(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Shipped recipes (chiploop ls recipes), or TOML files.")
    ],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds of every point, from the recipe's own on.")] = 1,
    vary: Annotated[
        list[str] | None,
        typer.Option("--vary", metavar="KEY=V1,V2,...", help="A key and its values. Repeatable: all are combined."),
    ] = None,
    changes: SetOption = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Cells at once, at most. Default: as many as have room.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="ADDRESS", help="A Ray cluster that runs: auto, or ray://host:port."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Without Ray: one cell after the other, same bits.")] = False,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where results go. Default: runs/sweep-<hash>.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run recipes for every value and seed asked for, several cells at once, and report."""
    from chiploop.cluster.session import has_ray
    from chiploop.recipes.grid import cells_of, parse_variation, points_of
    from chiploop.recipes.sweep import require_room

    points = points_of(recipes, [parse_variation(text) for text in vary or ()], changes or (), out=out)
    folder = points[0].folder.parent
    here = require_room(local=local, jobs=jobs, address=address, ray=has_ray())
    if here and not local and not quiet:
        say("Ray is not installed: one cell after the other in this process (pip install 'chiploop[cluster]')")
    begin = time.perf_counter()
    try:
        found, written = _sweep(cells_of(points, seeds), folder, data, here, jobs, address, quiet=quiet)
    except KeyboardInterrupt:
        message = (
            f"interrupted; finished cells and epochs are kept in {folder}, and the same command goes on from there"
        )
        fail(message, code=INTERRUPTED, as_json=as_json)
    failed = [one for one in found if one.record is None]
    if as_json:
        print_json(_result(points, found, folder, written, time.perf_counter() - begin))
    else:
        from chiploop.report.sweep import sweep_table

        print_table(sweep_table([(p.recipe.name, p.varied, _records(p, found)) for p in points]))
        print(f"\nreport: {written.html}" if written else "\nno cell has a record: there is no report")
    for one in failed:
        say(f"failed: {one.cell.title}: {one_line(one.error)}")
    if failed:
        raise typer.Exit(FAILED)


def _sweep(
    cells: Sequence[Cell],
    folder: Path,
    data: Path | None,
    here: bool,
    jobs: int | None,
    address: str | None,
    *,
    quiet: bool,
) -> tuple[list[Finished], Written | None]:
    from chiploop.cli.sweep_view import SweepView
    from chiploop.measure.record import read_records, without_folders
    from chiploop.recipes.sweep import Errand, sweep

    errand = Errand(root=data, command=shlex.join(["chiploop", *map(without_folders, sys.argv[1:])]))
    found: list[Finished] = []
    with SweepView(len(cells), quiet=quiet) as view:
        view.line(f"[bold]{len(cells)} cells[/] into {folder}")
        with closing(sweep(cells, errand, local=here, jobs=jobs, address=address)) as results:
            for one in results:
                found.append(one)
                view.finished(one)
        if not any(one.record for one in found):
            return found, None
        from chiploop.report import render

        return found, render(read_records(folder), folder)


def _records(point: Point, found: Sequence[Finished]) -> list[Any]:
    return [one.record for one in found if one.cell.point == point and one.record is not None]


def _result(
    points: Sequence[Point], found: Sequence[Finished], folder: Path, written: Written | None, seconds: float
) -> dict[str, Any]:
    from chiploop.measure.aggregate import aggregate

    return {
        "out": str(folder),
        "report": None if written is None else str(written.html),
        "points": [
            {
                "recipe": point.recipe.name,
                "recipe_hash": point.recipe.hash,
                "varied": dict(point.varied),
                "folder": str(point.folder),
                "seeds": [record.seed for record in _records(point, found)],
                "metrics": [metric.to_dict() for metric in aggregate(_records(point, found))],
            }
            for point in points
        ],
        "cells": {
            "run": sum(one.fresh and one.record is not None for one in found),
            "recorded_before": sum(not one.fresh for one in found),
            "failed": [
                {
                    "recipe": one.cell.recipe.name,
                    "varied": dict(one.cell.point.varied),
                    "seed": one.cell.seed,
                    "error": one.error,
                }
                for one in found
                if one.record is None
            ],
        },
        "seconds": seconds,
    }
