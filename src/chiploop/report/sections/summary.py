"""Results: method by place, with the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes

from chiploop.measure.aggregate import split_experiments
from chiploop.measure.metric import Metric, Where
from chiploop.measure.record import RunRecord
from chiploop.report.number import interval, percent
from chiploop.report.paper import N_TEST, PAPER, SOURCE
from chiploop.report.plot import INK, MUTED, PLACE_MARKERS, WIDE, colour, panel
from chiploop.report.results import PLACE_TITLES, Results, results_table
from chiploop.report.section import Block, Heading, Panels, Plot, Text, section

_ROW_INCHES, _FRAME_INCHES = 0.5, 1.1
_BAND: dict[str, Any] = {"linewidth": 11, "alpha": 0.14, "zorder": 1, "solid_capstyle": "butt"}
_SPREAD = 0.13  # vertical distance of two places within a method's row


@section("summary", title="Results", order=10)
def summary(records: Sequence[RunRecord]) -> Sequence[Block]:
    """One table and one plot for every group of comparable experiments."""
    groups = split_experiments(records)
    blocks: list[Block] = []
    for number, group in enumerate(groups):
        results = Results.of(group)
        if not results.methods:
            continue
        if len(groups) > 1:
            blocks.append(Heading(group_name(group)))
        blocks.append(results_table(group))
        if any(method in {m.method for m in PAPER} for method in results.methods):
            blocks.append(Text(f"Rows in italics are quoted: {SOURCE}; one run on {N_TEST:,} samples, no intervals."))
        blocks.append(Panels((overview(results, name=f"accuracy-{number + 1}"),), _overview_caption(results)))
    return blocks or [Text("No accuracy has been recorded yet: run a recipe and make the report again.")]


def group_name(group: Sequence[RunRecord]) -> str:
    """Return the names of a group's recipes."""
    return ", ".join(dict.fromkeys(record.name for record in group))


def overview(results: Results, *, name: str) -> Plot:
    """Return accuracy by method and place with intervals, and the paper's values as hollow marks."""
    methods, paper = results.methods, Results(PAPER)

    def paint(axes: Axes) -> None:
        for line, method in enumerate(methods):
            _paint_method(axes, line, method, results, paper)
        axes.set_yticks(range(len(methods)), methods)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        for where in results.places:
            axes.plot([], [], PLACE_MARKERS[where], color=INK, markersize=6, label=PLACE_TITLES[where])
        if any(method in paper.methods for method in methods):
            axes.plot([], [], "o", color=MUTED, markerfacecolor="white", markersize=6, label="quoted from the paper")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, handletextpad=0.2, columnspacing=1.2)

    return panel(
        paint,
        name=name,
        alt=_overview_alt(results),
        title="",
        x="accuracy (%)",
        y="",
        size=(WIDE[0], _FRAME_INCHES + _ROW_INCHES * len(methods)),
    )


def _paint_method(axes: Axes, line: int, method: str, results: Results, paper: Results) -> None:
    places = results.places
    spread = {where: (i - (len(places) - 1) / 2) * _SPREAD for i, where in enumerate(places)}
    values: list[float] = []
    for where in places:
        metric, y = results.find("accuracy", method, where), line + spread[where]
        if (quoted := paper.find("accuracy", method, where)) is not None:
            axes.plot(100 * quoted.value, y, PLACE_MARKERS[where], color=MUTED, markerfacecolor="white", markersize=6)
        if metric is None:
            continue
        values.append(100 * metric.value)
        if metric.low is not None and metric.high is not None:
            axes.plot([100 * metric.low, 100 * metric.high], [y, y], color=colour(method), linewidth=1.2, alpha=0.75)
        axes.plot(100 * metric.value, y, PLACE_MARKERS[where], color=colour(method), markersize=6.5, zorder=3)
    if len(values) > 1:
        axes.plot([min(values), max(values)], [line, line], color=colour(method), **_BAND)


def _overview_caption(results: Results) -> str:
    many = any((m.n_seeds or 1) > 1 for m in _accuracies(results))
    return f"Accuracy by method and place; lines are 95 % intervals over {'seeds' if many else 'samples'}."


def _overview_alt(results: Results) -> str:
    parts = [f"{m.method} {m.where} {percent(m.value)} % {interval(m)}".strip() for m in _accuracies(results)]
    return "Accuracy by method and place: " + "; ".join(parts)


def _accuracies(results: Results) -> Iterator[Metric]:
    places: list[Where] = results.places
    for method in results.methods:
        for where in places:
            if (metric := results.find("accuracy", method, where)) is not None:
                yield metric
