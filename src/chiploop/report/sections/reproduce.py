"""What it takes to get these numbers again."""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.measure.record import Code, RunRecord
from chiploop.report.number import seconds
from chiploop.report.section import Block, Text, section
from chiploop.report.table import Column, Table, row

_SHORT = 12  # hexadecimal digits shown of a hash


@section("reproduce", title="To reproduce", order=110)
def reproduce(records: Sequence[RunRecord]) -> Sequence[Block]:
    """One row a record: recipe, hash, seed, code, time, command; then versions and machines."""
    if not records:
        return []
    rows = tuple(
        row(
            record.name,
            record.recipe_hash[:_SHORT],
            str(record.seed),
            _code(record.code),
            seconds(sum(stage.seconds for stage in record.stages)) if record.stages else "–",
            command(record),
        )
        for record in records
    )
    columns = (
        Column("Recipe", align="left"),
        Column("Recipe hash", align="left"),
        Column("Seed"),
        Column("Code", align="left"),
        Column("Time"),
        Column("Command", align="left"),
    )
    versions = dict.fromkeys(", ".join(f"{name} {v}" for name, v in record.versions.items()) for record in records)
    hosts = dict.fromkeys(f"{record.host.cpu}, {record.host.cores} cores" for record in records)
    return [
        Table(columns, rows),
        *(Text(f"Versions: {text}.") for text in versions if text),
        *(Text(f"Machine: {text}.") for text in hosts),
    ]


def command(record: RunRecord) -> str:
    """Return the command that ran, or the one that runs the recipe again."""
    return record.command or f"chiploop run {record.name} --set seed={record.seed}"


def _code(code: Code) -> str:
    if code.commit is None:
        return "no commit recorded"
    return code.commit[:_SHORT] + (" with changes" if code.dirty else "")
