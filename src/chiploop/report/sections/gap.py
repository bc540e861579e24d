"""The gap, step by step: what each stage between the model and the chip costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from chiploop.measure.aggregate import split_experiments
from chiploop.measure.gap import CHAIN
from chiploop.measure.metric import Metric
from chiploop.measure.record import RunRecord
from chiploop.report.number import percent, share_cell
from chiploop.report.plot import GAIN, LOSS, colour, panel
from chiploop.report.results import PLACE_TITLES, Results
from chiploop.report.section import Block, Heading, Panels, Plot, Text, section
from chiploop.report.sections.summary import group_name
from chiploop.report.table import ABSENT, Cell, Column, Row, Table, row

_HALF_BAR = 0.3
_HEAD_ROOM = 0.12  # share of the axis kept free for labels


@section("gap", title="From software to the chip", order=20)
def gap(records: Sequence[RunRecord]) -> Sequence[Block]:
    """A waterfall for every method, and the paired comparisons behind it."""
    groups = split_experiments(records)
    blocks: list[Block] = []
    for number, group in enumerate(groups):
        results = Results.of(group)
        stages = {method: _stages(results, method) for method in results.methods}
        stages = {method: found for method, found in stages.items() if len(found) > 1}
        if not stages:
            continue
        if len(groups) > 1:
            blocks.append(Heading(group_name(group)))
        limits = _limits([metric for found in stages.values() for metric in found])
        plots = tuple(waterfall(method, found, limits, number + 1) for method, found in stages.items())
        caption = "Accuracy at each stage, and what is lost (orange) or gained (blue) before the next."
        blocks.append(Panels(plots, caption))
        if (table := _steps(results)).rows:
            blocks.append(table)
    if blocks:
        blocks.insert(
            0,
            Text(
                "Software is the float network (for the CNN methods) or the clock-driven float SNN; int-sync is the "
                "clocked network with the integer weights and thresholds of the chip; chip is event by event. All see "
                "the same samples. After training in the loop a network belongs to the chip, and its software accuracy "
                "means little."
            ),
        )
    return blocks


def waterfall(method: str, stages: Sequence[Metric], limits: tuple[float, float], number: int) -> Plot:
    """Return levels at each stage with their intervals, and the step between neighbours as a floating bar."""
    values = [100 * metric.value for metric in stages]

    def paint(axes: Axes) -> None:
        for x, (metric, value) in enumerate(zip(stages, values, strict=True)):
            axes.plot([x - _HALF_BAR, x + _HALF_BAR], [value, value], color=colour(method), linewidth=4)
            if metric.low is not None and metric.high is not None:
                axes.plot([x, x], [100 * metric.low, 100 * metric.high], color=colour(method), linewidth=1.2)
            top = max(value, 100 * (metric.high or metric.value))
            axes.annotate(f"{value:.1f}", (x, top), (0, 4), textcoords="offset points", ha="center", weight="bold")
        for x, (before, after) in enumerate(pairwise(values)):
            _paint_step(axes, x + 0.5, before, after)
        axes.set_xticks(range(len(stages)), [PLACE_TITLES[m.where] if m.where else "" for m in stages])
        axes.set_xlim(-0.6, len(stages) - 0.4)
        axes.set_ylim(*limits)
        axes.grid(visible=False, axis="x")

    way = ", ".join(f"{m.where} {percent(m.value)} %" for m in stages)
    return panel(
        paint,
        name=f"gap-{number}-{method}",
        alt=f"Waterfall for {method}: {way}",
        title=method,
        x="",
        y="accuracy (%)",
    )


def _paint_step(axes: Axes, x: float, before: float, after: float) -> None:
    shade = LOSS if after < before else GAIN
    axes.add_patch(
        Rectangle(
            (x - 0.5 + _HALF_BAR, min(before, after)),
            1 - 2 * _HALF_BAR,
            abs(after - before),
            facecolor=f"{shade}33",
            edgecolor=shade,
            linewidth=0.8,
        )
    )
    axes.annotate(
        percent((after - before) / 100, signed=True),
        (x, min(before, after)),
        (0, -3),
        textcoords="offset points",
        ha="center",
        va="top",
        color=shade,
        fontsize=8.5,
    )


def _stages(results: Results, method: str) -> list[Metric]:
    return [metric for where in CHAIN if (metric := results.find("accuracy", method, where)) is not None]


def _limits(metrics: Sequence[Metric]) -> tuple[float, float]:
    """One range for all panels, so that heights compare between methods."""
    low = min(100 * (m.value if m.low is None else m.low) for m in metrics)
    high = max(100 * (m.value if m.high is None else m.high) for m in metrics)
    room = max(_HEAD_ROOM * (high - low), 1.0)
    return low - 1.4 * room, high + 1.4 * room


def _steps(results: Results) -> Table:
    pairs = [*zip(CHAIN[1:], CHAIN[:-1], strict=True), (CHAIN[-1], CHAIN[0])]
    rows: list[Row] = []
    last = ""
    for method in results.methods:
        for where, versus in pairs:
            found = [results.find(name, method, where, versus) for name in ("gap", "n_lost", "n_gained")]
            if found[0] is None:
                continue
            difference = share_cell(found[0])
            counts = [Cell() if m is None else Cell(f"{m.value:.1f}".removesuffix(".0")) for m in found[1:]]
            name = method if not rows or last != method else ""  # once a method: the eye finds the groups
            last = method
            step = f"{versus} → {where}"
            rows.append(row(name, step, difference.text, difference.detail or ABSENT, *counts))
    columns = (
        Column("Method", align="left"),
        Column("Step", align="left"),
        Column("Difference", "points"),
        Column("95 % interval", "points"),
        Column("Lost", "samples"),
        Column("Gained", "samples"),
    )
    return Table(
        columns,
        tuple(rows),
        (
            "Differences on the same samples: lost are right before the step only, gained after it only (means over "
            "seeds). The interval is over seeds where there are several, else that of the paired difference."
        ),
    )
