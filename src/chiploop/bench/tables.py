"""The tables of benchmarks: what was measured, and what was aimed at."""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.bench.benchmark import OURS, Aim, Row
from chiploop.bench.record import BenchRecord
from chiploop.report import number
from chiploop.report.table import ABSENT, Cell, Column, Table
from chiploop.report.table import Row as TableRow

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit, scaled so that three digits tell it.

    >>> quantity(0.0451, "s"), quantity(6.9e9, "synops/s"), quantity(2.2e8, "bytes"), quantity(2.31, "x")
    ('45.1 ms', '6.9 G synops/s', '220 MB', '2.31 x')
    """
    if unit == "s":
        return number.microseconds(value * 1e6) if value < 1e-3 else number.seconds(value)
    if unit in ("bytes", "bytes/s"):
        unit = unit.replace("bytes", "B")
        for size, prefix in _PREFIXES:
            if abs(value) >= size:
                return f"{value / size:.3g} {prefix}{unit}"
        return f"{value:.0f} {unit}"
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix} {unit}"
    return f"{value:.3g} {unit}"


def measured_table(record: BenchRecord) -> Table:
    """Return one line a row: median, smallest and largest round, and how it compares with our own."""
    columns = (
        Column("What", align="left", wraps=True),
        Column("Setting", align="left", wraps=True),
        Column("Who", align="left"),
        Column("Median"),
        Column("Over the rounds"),
        Column("Ours is better by"),
    )
    rows = tuple(TableRow(cells=_cells(row, record.rows)) for row in record.rows)
    return Table(columns=columns, rows=rows, caption=_caption(record))


def _cells(row: Row, rows: Sequence[Row]) -> tuple[Cell, ...]:
    low, high = quantity(min(row.values), row.unit), quantity(max(row.values), row.unit)
    setting = ", ".join(f"{name} {value}" for name, value in row.setting.items())
    return (
        Cell(row.what),
        Cell(setting or ABSENT),
        Cell(row.who),
        Cell(quantity(row.median, row.unit)),
        Cell(f"{low} to {high}"),
        Cell(_advantage(row, rows)),
    )


def _advantage(row: Row, rows: Sequence[Row]) -> str:
    """Return the factor by which ours is better at the same work, with its spread where the rounds pair up."""
    work = (row.what, row.unit, row.setting, OURS)
    ours = next((r for r in rows if (r.what, r.unit, r.setting, r.who) == work), None)
    if ours is None or row.who == OURS:
        return ABSENT
    if len(ours.values) != len(row.values):
        ratio = row.median / ours.median if row.better == "lower" else ours.median / row.median
        return f"{ratio:.2f} x"
    median, low, high = row.ratio_to(ours) if row.better == "lower" else ours.ratio_to(row)
    return f"{median:.2f} x ({low:.2f} to {high:.2f})"


def aims_table(records: Sequence[BenchRecord]) -> Table:
    """Return every aim with what was reached and what limits it."""
    columns = (
        Column("Aim", align="left", wraps=True),
        Column("Wanted"),
        Column("Measured"),
        Column("Reached"),
        Column("What limits it", align="left", wraps=True),
    )
    aims = [aim for record in records for aim in record.aims]
    rows = tuple(TableRow(cells=_aim_cells(aim)) for aim in aims)
    caption = "Measured: median, in brackets the worst and the best round."
    return Table(columns=columns, rows=rows, caption=caption)


def _aim_cells(aim: Aim) -> tuple[Cell, ...]:
    sign = "at least" if aim.better == "higher" else "at most"
    worst, best = (aim.low, aim.high) if aim.better == "higher" else (aim.high, aim.low)
    return (
        Cell(aim.what),
        Cell(f"{sign} {quantity(aim.wanted, aim.unit)}"),
        Cell(quantity(aim.value, aim.unit), f"[{quantity(worst, aim.unit)}, {quantity(best, aim.unit)}]"),
        Cell("yes" if aim.reached else "no"),
        Cell(aim.limit),
    )


def _caption(record: BenchRecord) -> str:
    host, code = record.host, record.code.commit
    where = f"{host.cpu}, {host.cores} cores"
    peers = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    commit = f", commit {code[:8]}{' (changed)' if record.code.dirty else ''}" if code else ""
    return "; ".join([f"{where}, {peers}{commit}", *(note.rstrip(".") for note in record.notes)]) + "."
