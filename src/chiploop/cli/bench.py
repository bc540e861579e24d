"""`chiploop bench`: how fast it is here, beside the peers that are installed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chiploop.cli.console import print_json, print_table, say
from chiploop.cli.options import DataOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from chiploop.bench.record import BenchRecord

OUT = Path("runs/bench")
EXAMPLES = (
    "Examples:\n\n  chiploop bench\n\n  chiploop bench core training --rounds 15\n\n"
    "  chiploop bench training --peer spikingjelly --peer norse --json\n\n"
    "Names: chiploop ls benchmarks. Everything is measured in turn, round after round, on real recordings where --data "
    "has them. Records and plots go to --out."
)


def command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Benchmarks. Default: all, one after the other.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Times that everything is measured.")] = 9,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of torch and of the chip. Default: one a core.")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option("--peer", help="Only this peer. Repeatable. Default: those installed.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of records and plots.")] = OUT,
    data: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure speed and memory: ours and the installed peers in turn, on the same work."""
    from chiploop.bench.benchmark import BENCHMARKS, BenchOptions
    from chiploop.bench.plots import bench_plots
    from chiploop.bench.record import new_bench_record, write_bench_record
    from chiploop.bench.tables import aims_table, measured_table
    from chiploop.measure.record import read_host, without_folders

    chosen = [(name, BENCHMARKS.get(name)) for name in names or BENCHMARKS.names()]  # bad names before any work
    options = BenchOptions(
        rounds=rounds, threads=threads or read_host().cores, root=data, who=None if peer is None else tuple(peer)
    )
    words = shlex.join(["chiploop", *map(without_folders, sys.argv[1:])])
    records: list[BenchRecord] = []
    for name, benchmark in chosen:
        outcome = benchmark.run(options, lambda text, name=name: None if quiet else say(f"{name}: {text}"))  # type: ignore[misc]
        record = new_bench_record(
            name, options, outcome, command=words, peers=sorted({row.who for row in outcome.rows})
        )
        path = write_bench_record(out, record)
        for plot in bench_plots(record):
            (out / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
        records.append(record)
        if not as_json:
            print(f"\n{name}: {benchmark.summary}")
            print_table(measured_table(record), essential=4)
            print(f"record: {path}\n")
    if as_json:
        print_json({"records": [record.model_dump(mode="json", by_alias=True) for record in records], "out": str(out)})
    elif any(record.aims for record in records):
        print_table(aims_table(records), essential=4)
