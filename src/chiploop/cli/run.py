"""`chiploop run`: a recipe carried out, into records, a table and a report."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiploop.cli.console import INTERRUPTED, fail, print_json, print_table
from chiploop.cli.options import DataOption, JsonOption, QuietOption, SetOption
from chiploop.cli.together import together
from chiploop.errors import ChiploopError

if TYPE_CHECKING:
    from chiploop.learn.distributed import Ranks
    from chiploop.measure.record import RunRecord
    from chiploop.recipes.recipe import Recipe
    from chiploop.report import Written

PAPER_DATA = ("nmnist", "nmnist_sim", "mnist5k")
"""Saccaded digits: beside numbers from any other data, the paper's would mislead."""
ESSENTIAL_COLUMNS = 6
"""Of the table of results: the method, its accuracy at every place, the gap."""
EXAMPLES = (
    "Examples:\n\n  chiploop run demo\n\n  chiploop run nmnist-table1 --data ~/data --seeds 3\n\n"
    "  chiploop run demo --set learn.bptt.epochs=2 --set data.n=300 --out runs/quick\n\n"
    "  chiploop run mine.toml --json > result.json\n\n"
    "  torchrun --nproc-per-node 2 -m chiploop run nmnist-table1\n\n"
    "Ctrl-C at any time: finished epochs are kept, and the same command goes on where it stopped, to the same bits."
)


def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe (chiploop ls recipes), or a TOML file.")
    ],
    changes: SetOption = None,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where results go. Default: runs/<recipe>-<hash>.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds, from the recipe's own on.")] = 1,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train every row of a recipe, run it on the chip, and report."""
    from chiploop.recipes.catalogue import require_names
    from chiploop.recipes.folder import claim_folder, default_folder, leave_folder
    from chiploop.recipes.recipe import read_recipe

    folder = out
    begin = time.perf_counter()
    try:
        with together() as ranks:
            read = read_recipe(recipe, changes)
            require_names(read)
            folder = out or default_folder(read)
            if ranks is not None and not ranks.is_first:
                _train(read, data, folder, seeds, ranks)
                return
            is_new = claim_folder(folder, read)
            try:
                records, written = _run(read, data, folder, seeds, quiet=quiet, ranks=ranks)
            except ChiploopError:
                if is_new:
                    leave_folder(folder)
                raise
    except KeyboardInterrupt:
        kept = (
            "" if folder is None else f"; finished epochs are kept in {folder}, and the same command goes on from there"
        )
        fail(f"interrupted{kept}", code=INTERRUPTED, as_json=as_json)
    if as_json:
        print_json(_result(read, folder, records, written, time.perf_counter() - begin))
        return
    from chiploop.report import results_table

    tested = (read.data.tested_on or read.data).dataset
    print_table(results_table(records, quote=tested in PAPER_DATA), essential=ESSENTIAL_COLUMNS)
    print(f"\nreport: {written.html}")


def _train(recipe: Recipe, data: Path | None, folder: Path, seeds: int, ranks: Ranks) -> None:
    """Take part in training, and do nothing else."""
    from chiploop.recipes.run import run_recipe

    run_recipe(recipe, root=data, out=folder, seeds=seeds, ranks=ranks)


def _run(
    recipe: Recipe, data: Path | None, folder: Path, seeds: int, *, quiet: bool, ranks: Ranks | None
) -> tuple[list[RunRecord], Written]:
    from chiploop.cli.progress import View

    with View(quiet=quiet, names=recipe.learn, seeds=seeds) as view:
        view.line(f"[bold]{recipe.name}[/] into {folder}")
        view.stage("starting")
        from chiploop.learn.distributed import ALONE
        from chiploop.measure.record import read_records, without_folders
        from chiploop.recipes.run import run_recipe  # imports torch, which takes a while
        from chiploop.report import render

        command = shlex.join(["chiploop", *map(without_folders, sys.argv[1:])])
        all_ranks = ranks or ALONE
        records = run_recipe(recipe, root=data, out=folder, seeds=seeds, command=command, watcher=view, ranks=all_ranks)
        view.stage("report")
        return records, render(read_records(folder), folder)


def _result(recipe: Recipe, folder: Path, records: list[RunRecord], written: Written, seconds: float) -> dict[str, Any]:
    from chiploop.measure.aggregate import aggregate

    metrics = [*aggregate(records), *(metric for record in records for metric in record.metrics)]
    return {
        "recipe": recipe.name,
        "recipe_hash": recipe.hash,
        "seeds": [record.seed for record in records],
        "out": str(folder),
        "report": str(written.html),
        "metrics": [metric.to_dict() for metric in metrics],
        "seconds": seconds,
    }
