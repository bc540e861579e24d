"""`chiploop explain`: why a finished run loses accuracy on its way to the chip."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiploop.cli.console import print_json, print_table
from chiploop.cli.options import DataOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from chiploop.recipes.explain.run import Explained

EXAMPLES = (
    "Examples:\n\n  chiploop explain runs/demo-1a2b3c4d\n\n"
    "  chiploop explain runs/demo-1a2b3c4d --row cnn --row cil-bptt\n\n"
    "  chiploop explain runs/nmnist-table1-1a2b3c4d --data ~/data --n 200 --json\n\n"
    "Writes a further record into the run's folder; a report made anew then shows the causes, too."
)


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that chiploop run wrote to.")],
    row: Annotated[list[str] | None, typer.Option("--row", help="A row of the run; repeat it. Default: all.")] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Test recordings. Default: all of the run's.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Explain the gap of a finished run: what each cause costs, where it happens, and what to try."""
    from chiploop.cli.progress import View
    from chiploop.measure.record import without_folders

    with View(quiet=quiet) as view:
        view.stage("starting")
        from chiploop.recipes.explain.run import explain_run  # imports torch, which takes a while

        told = shlex.join(["chiploop", *map(without_folders, sys.argv[1:])])
        found = explain_run(run, rows=row or (), n=n, root=data, command=told, watcher=view)
    methods = list(dict.fromkeys(one.explanation.method for one in found))
    if as_json:
        print_json({"run": str(run), "explanations": [_plain(one) for one in found]})
        return
    for method in methods:
        _print([one for one in found if one.explanation.method == method])


def _plain(one: Explained) -> dict[str, Any]:
    e = one.explanation
    return {
        "method": e.method,
        "seed": one.seed,
        "n": e.n,
        "software": e.start._asdict(),
        "gap": e.gap,
        "recorded_gap": one.recorded_gap,
        "causes": [asdict(step) | {"title": step.title, "share": e.share(step)} for step in e.steps],
        "advice": list(one.advice),
    }


def _print(seeds: list[Explained]) -> None:
    from chiploop.recipes.explain.run import causes_figure
    from chiploop.report.causes import causes_table

    first = seeds[0].explanation
    recorded = [one.recorded_gap for one in seeds if one.recorded_gap is not None]
    gap = 100 * sum(one.explanation.gap for one in seeds) / len(seeds)
    measured = f", recorded by the run: {100 * sum(recorded) / len(recorded):+.1f}" if recorded else ""
    print(f"{first.method}: {gap:+.1f} points from software to the chip{measured}")
    print_table(causes_table([causes_figure(one).data for one in seeds]))
    for one in seeds:
        for line in one.advice:
            print(f"- seed {one.seed}: {line}" if len(seeds) > 1 else f"- {line}")
    print()
