"""The table of a sweep: a line a point, the accuracy on the chip of each row over the seeds."""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.measure.record import RunRecord
from chiploop.report.number import share_cell
from chiploop.report.results import Results
from chiploop.report.table import ABSENT, Cell, Column, Row, Table

Varied = tuple[tuple[str, str], ...]
CAPTION = (
    "Accuracy on the chip in percent: mean over the seeds with a 95 % t interval; with one seed, the interval that its "
    "samples give."
)


def sweep_table(points: Sequence[tuple[str, Varied, Sequence[RunRecord]]]) -> Table:
    """Return a line for every point: its recipe's name, what was varied, and its records over the seeds.

    Names stand there if there are several; a point or a row without a record has no number.
    """
    keys = list(dict.fromkeys(key for _, varied, _ in points for key, _ in varied))
    named = len({name for name, _, _ in points}) > 1 or not keys
    results = [Results.of(records) for _, _, records in points]
    methods = list(dict.fromkeys(method for one in results for method in one.methods))
    rows = []
    for (name, varied, records), one in zip(points, results, strict=True):
        values = dict(varied)
        cells = [Cell(name)] if named else []
        cells += [Cell(values.get(key, ABSENT)) for key in keys]
        cells.append(Cell(str(len({record.seed for record in records}))))
        cells += [share_cell(one.find("accuracy", method, "chip")) for method in methods]
        rows.append(Row(tuple(cells)))
    columns = (
        *((Column("Recipe", align="left"),) if named else ()),
        *(Column(key, align="left") for key in keys),
        Column("Seeds"),
        *(Column(method, "%") for method in methods),
    )
    return Table(columns, tuple(rows), CAPTION)
