"""Write the generated parts of README.md and docs/ anew: results and figure from records, commands from their help.

    python docs/generate.py [--records FOLDER] [--check | --check-results] [--publish RUNS]

README shows what was measured on real recordings, docs/results.md all of it, with causes, faults and costs.
With `--check` nothing is written, and the exit code says whether anything would change; `--check-results` leaves out
the commands, whose help is laid out differently from release to release of the parser. With `--publish`, the records
below a folder of runs are first copied to the records that the results are made from.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chiploop.bench.plots import bench_plots
from chiploop.bench.record import read_bench_records
from chiploop.bench.tables import aims_table, measured_table
from chiploop.errors import DataError
from chiploop.measure.aggregate import split_experiments
from chiploop.measure.record import RunRecord, read_records, without_folders, write_record
from chiploop.report import results_table, update_readme
from chiploop.report.markdown import block_markdown
from chiploop.report.results import Results
from chiploop.report.section import SECTIONS, Panels, Plot
from chiploop.report.sections.summary import overview

ROOT = Path(__file__).resolve().parent.parent
README, COMMANDS, FIGURE = Path("README.md"), Path("docs/cli.md"), Path("docs/figures/accuracy.svg")
RESULTS, SPEED = Path("docs/results.md"), Path("docs/performance.md")
REAL = "nmnist"
"""The data set of real recordings: what is tested on it stands in the README."""
DETAILS = ("causes", "fault-levels", "energy")
"""Sections of the report that docs/results.md has, without their plots."""
FIGURE_BEGIN, FIGURE_END = "<!-- chiploop:figure:begin -->", "<!-- chiploop:figure:end -->"
BENCH_BEGIN, BENCH_END = "<!-- chiploop:bench:{name}:begin -->", "<!-- chiploop:bench:{name}:end -->"
AIMS = "aims"
COLUMNS = 100
CAPTION = "Accuracy by method and place, with intervals over seeds; the numbers are in the table below"


def experiments(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Return the records by experiment; the one with the most methods comes first, with figure and paper's rows."""
    groups = [list(group) for group in split_experiments(records)]
    return sorted(groups, key=lambda group: (-len(Results.of(group).methods), group[0].name))


def is_real(record: RunRecord) -> bool:
    """Whether a run was tested on real recordings."""
    data = record.recipe.get("data", {})
    return (data.get("tested_on") or data).get("dataset") == REAL


def write_details(root: Path, records: Sequence[RunRecord]) -> None:
    """Write docs/results.md: every experiment's table, and what its records tell of causes, faults and costs."""
    parts = ["# Results in full", "Written by `make docs` from the records in [docs/records](records)."]
    names = dict.fromkeys(group[0].name for group in experiments(records))
    names |= dict.fromkeys(record.name for record in records)  # some share a group with another
    for group in ([record for record in records if record.name == name] for name in names):
        parts += [f"## {group[0].name}", str(group[0].recipe.get("notes", ""))]
        parts.append(results_table(group, quote=False).to_markdown())
        for name in DETAILS:
            section = SECTIONS.get(name)
            blocks = [block for block in section.blocks(group) if not isinstance(block, (Panels, Plot))]
            if blocks:
                parts += [f"### {section.title}", *(block_markdown(block).replace("### ", "#### ") for block in blocks)]
    (root / RESULTS).write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def write_results(root: Path, records: Sequence[RunRecord]) -> None:
    """Write README's tables, one an experiment on real recordings, and its figure, that of the largest."""
    groups = experiments([record for record in records if is_real(record)] or records)
    parts = []
    for number, group in enumerate(groups):
        if len(groups) > 1:
            parts.append(f"**{group[0].name}.** {group[0].recipe.get('notes', '')}".rstrip())
        parts.append(results_table(group, quote=number == 0).to_markdown())
    update_readme(root / README, "\n\n".join(parts))
    plot = overview(Results.of(groups[0]), name=FIGURE.stem)
    (root / FIGURE).parent.mkdir(parents=True, exist_ok=True)
    (root / FIGURE).write_text(plot.svg, encoding="utf-8")
    text = (root / README).read_text(encoding="utf-8")
    before, _, rest = text.partition(FIGURE_BEGIN)
    _, found, after = rest.partition(FIGURE_END)
    if not found:
        raise DataError(f"{README} must hold the lines {FIGURE_BEGIN} and {FIGURE_END}, in this order")
    image = f"![{CAPTION}]({FIGURE.as_posix()})"
    (root / README).write_text(f"{before}{FIGURE_BEGIN}\n{image}\n{FIGURE_END}{after}", encoding="utf-8")


def write_speed(root: Path, records: Path) -> None:
    """Write the tables and plots of docs/performance.md from the newest record of every benchmark."""
    newest = {record.benchmark: record for record in read_bench_records(records)}
    path = root / SPEED
    if not newest or not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    text = _between(text, AIMS, aims_table(list(newest.values())).to_markdown())
    for name, record in newest.items():
        parts = [f"`{record.command}`", measured_table(record).to_markdown()]
        for plot in bench_plots(record):
            image = FIGURE.parent / f"{plot.name}.svg"
            (root / image).parent.mkdir(parents=True, exist_ok=True)
            (root / image).write_text(plot.svg, encoding="utf-8")
            parts.append(f"![{plot.alt}](figures/{image.name})")
        text = _between(text, name, "\n\n".join(parts))
    path.write_text(text, encoding="utf-8")


def _between(text: str, name: str, content: str) -> str:
    begin, end = BENCH_BEGIN.format(name=name), BENCH_END.format(name=name)
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise DataError(f"{SPEED} must hold the lines {begin} and {end}, in this order")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def publish(runs: Path, records: Path) -> None:
    """Copy the newest run and explanation of every seed below a folder of runs, without rasters and machines' folders.

    A raster holds a recording's events, and data sets have licences of their own.
    """
    newest = {(record.name, record.seed, _is_explanation(record)): record for record in read_records(runs)}
    for name, seed in {(name, seed) for name, seed, _ in newest}:
        shutil.rmtree(records / name / f"seed-{seed}", ignore_errors=True)
    for (name, seed, _), record in sorted(newest.items(), key=lambda item: item[0]):
        folder = records / name / f"seed-{seed}"
        kept = tuple(figure for figure in record.figures if figure.kind != "raster")
        command = shlex.join(without_folders(word) for word in shlex.split(record.command))
        path = write_record(folder, record.model_copy(update={"figures": kept, "command": command}))
        print(f"published: {path}")


def _is_explanation(record: RunRecord) -> bool:
    return any(stage.name == "explain" for stage in record.stages)


def command_names() -> list[str]:
    """Return the subcommands in the order of the help."""
    from typer.main import get_command

    from chiploop.cli.app import app

    commands: dict[str, object] = getattr(get_command(app), "commands")  # noqa: B009 -- a group, says typer at run time
    return list(commands)


def help_text(*command: str) -> str:
    """Return what `--help` prints, without colours and frames, at a fixed width."""
    plain = {"TYPER_USE_RICH": "0", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": str(COLUMNS)}
    done = subprocess.run(
        [sys.executable, "-m", "chiploop", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **plain},
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def write_commands(root: Path) -> None:
    """Write docs/cli.md from the commands' own help."""
    parts = ["# Commands", "Written by `make docs` from the commands' own help.", f"```text\n{help_text()}\n```"]
    for name in command_names():
        parts += [f"## chiploop {name}", f"```text\n{help_text(name)}\n```"]
    (root / COMMANDS).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def generated(root: Path) -> dict[Path, str]:
    """Return the content of every file that holds generated parts, where it exists."""
    return {
        path: (root / path).read_text(encoding="utf-8")
        for path in (README, COMMANDS, FIGURE, RESULTS, SPEED)
        if (root / path).is_file()
    }


def write_all(root: Path, records: Path, *, commands: bool) -> None:
    """Write everything; results only where there are records."""
    found = read_records(records) if records.is_dir() else []
    if found:
        write_results(root, found)
        write_details(root, found)
    if records.is_dir():
        write_speed(root, records)
    if commands:
        write_commands(root)


def main() -> int:
    """Read the arguments, write, and say what changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=ROOT / "docs" / "records")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--check-results", action="store_true")
    parser.add_argument("--publish", type=Path, action="append", default=[], metavar="RUNS")
    given = parser.parse_args()
    for runs in given.publish:
        publish(runs, given.records)
    checking = given.check or given.check_results
    before = generated(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) if checking else ROOT
        for path, text in before.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
        write_all(target, given.records, commands=not given.check_results)
        changed = [path for path, text in generated(target).items() if before.get(path) != text]
    for path in changed:
        print(f"{'is out of date' if checking else 'wrote'}: {path}")
    return int(checking and bool(changed))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except DataError as error:
        raise SystemExit(f"error: {error}") from error
