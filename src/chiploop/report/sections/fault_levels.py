"""Faulty chips: accuracy by the strength of the faults, for networks trained through them and for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from chiploop.measure.record import RunRecord
from chiploop.measure.stats import Interval, seed_interval
from chiploop.report.number import percent
from chiploop.report.plot import MARKERS, WIDE, colour, panel
from chiploop.report.section import Block, Panels, Plot, section
from chiploop.report.table import Cell, Column, Table, row

Data = Mapping[str, Any]


class Curve(NamedTuple):
    """One method's accuracy at each level, over its seeds."""

    method: str
    title: str
    levels: Sequence[float]
    points: Sequence[Interval]
    n_seeds: int


@section("fault-levels", title="On faulty chips", order=26)
def fault_levels(records: Sequence[RunRecord]) -> Sequence[Block]:
    """Accuracy on the recipe's faulty chip at several strengths of its faults."""
    found = _by_method(records)
    if not found:
        return []
    curves = [_curve(name, method, list(seeds.values())) for (_, name, method), seeds in found.items()]
    faults = "; ".join(dict.fromkeys(str(data["faults"]) for seeds in found.values() for data in seeds.values()))
    caption = (
        f"Level 1 is the faulty chip of the recipe ({faults}), other levels multiply its strengths; the same test "
        "recordings at each. Methods marked with a star were trained through level 1."
    )
    return [Panels((_plot(curves),), caption), _table(curves)]


def _by_method(records: Sequence[RunRecord]) -> dict[tuple[str, str, str], dict[int, Data]]:
    """Return the latest figure of each seed, by experiment, its name, and method."""
    found: dict[tuple[str, str, str], dict[int, Data]] = {}
    for record in records:
        for figure in record.figures:
            if figure.kind == "fault-levels":
                key = (record.experiment, record.name, figure.method or "")
                found.setdefault(key, {})[record.seed] = figure.data
    return found


def _curve(name: str, method: str, seeds: Sequence[Data]) -> Curve:
    first = seeds[0]
    points = []
    for i in range(len(first["levels"])):
        if len(seeds) > 1:
            points.append(seed_interval([data["accuracy"][i] for data in seeds]))
        else:
            points.append(Interval(first["accuracy"][i], first["low"][i], first["high"][i]))
    title = f"{method or name} *" if first["trained_through"] else method or name
    return Curve(method, title, first["levels"], points, len(seeds))


def _plot(curves: Sequence[Curve]) -> Plot:
    def paint(axes: Axes) -> None:
        for number, curve in enumerate(curves):
            axes.plot(
                curve.levels,
                [100 * point.value for point in curve.points],
                marker=MARKERS[number % len(MARKERS)],
                color=colour(curve.method),
                linestyle="solid" if curve.title.endswith("*") else (0, (4, 2)),
                label=curve.title,
            )
            low, high = ([100 * min(1.0, max(0.0, getattr(p, end))) for p in curve.points] for end in ("low", "high"))
            axes.fill_between(curve.levels, low, high, color=colour(curve.method), alpha=0.1, linewidth=0)
        axes.legend(loc="best")

    return panel(
        paint,
        name="fault-levels",
        alt="Accuracy by the strength of the faults",
        title="",
        x="strength of the faults (1: the recipe's faulty chip)",
        y="accuracy (%)",
        size=WIDE,
    )


def _table(curves: Sequence[Curve]) -> Table:
    levels = list(dict.fromkeys(level for curve in curves for level in curve.levels))
    rows = []
    for curve in curves:
        cells = {
            level: Cell(percent(p.value), f"[{percent(max(0.0, p.low))}, {percent(min(1.0, p.high))}]")
            for level, p in zip(curve.levels, curve.points, strict=True)
        }
        rows.append(row(curve.title, *(cells.get(level, Cell()) for level in levels)))
    columns = (Column("Method", align="left"), *(Column(f"Level {level:g}", "%") for level in levels))
    seeds = max(curve.n_seeds for curve in curves)
    kind = f"t interval over {seeds} seeds" if seeds > 1 else "Wilson interval over samples"
    return Table(columns, tuple(rows), f"Brackets: 95 % {kind}.")
