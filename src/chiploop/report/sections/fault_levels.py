"""Faulty chips: accuracy by the strength of the faults, for networks trained through them and for others."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from chiploop.measure.record import RunRecord
from chiploop.report.number import percent
from chiploop.report.plot import MARKERS, WIDE, colour, panel
from chiploop.report.section import Block, Panels, Plot, Shown, first_figures, section, seeds_shown
from chiploop.report.table import Cell, Column, Table, row


@section("fault-levels", title="On faulty chips", order=26)
def fault_levels(records: Sequence[RunRecord]) -> Sequence[Block]:
    """Accuracy on the recipe's faulty chip at several strengths of its faults."""
    shown = first_figures(records, "fault-levels")
    if not shown:
        return []
    faults = "; ".join(dict.fromkeys(str(item.data["faults"]) for item in shown))
    caption = (
        f"Level 1 is the faulty chip of the recipe ({faults}), other levels multiply its strengths; the same test "
        f"recordings at each. Rows marked with a star were trained through level 1. {seeds_shown(shown)}"
    )
    return [Panels((_curves(shown),), caption), _table(shown)]


def _name(item: Shown) -> str:
    return f"{item.title} *" if item.figure.data["trained_through"] else item.title


def _curves(shown: Sequence[Shown]) -> Plot:
    def paint(axes: Axes) -> None:
        for number, item in enumerate(shown):
            data = item.figure.data
            axes.plot(
                data["levels"],
                [100 * value for value in data["accuracy"]],
                marker=MARKERS[number % len(MARKERS)],
                color=colour(item.method),
                linestyle="solid" if data["trained_through"] else (0, (4, 2)),
                label=_name(item),
            )
            low, high = ([100 * value for value in data[bound]] for bound in ("low", "high"))
            axes.fill_between(data["levels"], low, high, color=colour(item.method), alpha=0.1, linewidth=0)
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


def _table(shown: Sequence[Shown]) -> Table:
    levels = list(dict.fromkeys(level for item in shown for level in item.figure.data["levels"]))
    rows = []
    for item in shown:
        data = item.figure.data
        found = {
            level: Cell(percent(value), f"[{percent(low)}, {percent(high)}]")
            for level, value, low, high in zip(data["levels"], data["accuracy"], data["low"], data["high"], strict=True)
        }
        rows.append(row(_name(item), *(found.get(level, Cell()) for level in levels)))
    columns = (Column("Method", align="left"), *(Column(f"Level {level:g}", "%") for level in levels))
    return Table(columns, tuple(rows), "Brackets: 95 % Wilson interval over samples.")
