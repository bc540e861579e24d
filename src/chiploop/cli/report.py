"""`chiploop report`: the report anew, from records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chiploop.cli.console import print_json, print_table
from chiploop.cli.options import JsonOption
from chiploop.errors import DataError

EXAMPLES = "Examples:\n\n  chiploop report runs/demo-1a2b3c4d\n\n  chiploop report runs --out report"


def command(
    runs: Annotated[Path, typer.Argument(metavar="RUNS_DIR", help="A folder with records, at any depth.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to. Default: RUNS_DIR.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write report.html and report.md from the records below a folder; nothing is computed anew."""
    from chiploop.cli.run import ESSENTIAL_COLUMNS
    from chiploop.measure.aggregate import split_experiments
    from chiploop.measure.record import read_records
    from chiploop.report import render, results_table

    records = read_records(runs)
    if not records:
        raise DataError(f"no record.json below {runs}: give the folder that `chiploop run` wrote to, or its parent")
    written = render(records, out or runs)
    if as_json:
        print_json({"records": len(records), "html": str(written.html), "markdown": str(written.markdown)})
        return
    for group in split_experiments(records):
        print(", ".join(dict.fromkeys(record.name for record in group)))
        print_table(results_table(group), essential=ESSENTIAL_COLUMNS)
        print()
    print(f"report: {written.html}")
