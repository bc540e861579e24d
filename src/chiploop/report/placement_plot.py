"""A placement as a drawing: bars for the memories of every core, arrows for the ways of events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle

from chiploop.chip.place import Placement, cores_that_fit
from chiploop.chip.plan import CorePlan, Design
from chiploop.chip.profile import ChipProfile
from chiploop.report.placement import FREE, CoreRow, Link, core_rows, links, needs, rivals
from chiploop.report.plot import GAIN, GRID, INK, LOSS, MUTED, draw
from chiploop.report.section import Plot

ROW_INCHES, EDGE_INCHES = 0.46, 1.1
BARS_INCHES, LANE_INCHES, CONTEST_INCHES = 2.6, 1.15, 10.0
BAR_HEIGHT = 0.52
NEAR, FAR = 0.09, 0.3
"""Where ways leave (below) and arrive (above) the middle of a row: the longest nearest, so that few cross."""
INPUT_ROW = -0.8


@dataclass(frozen=True)
class Lane:
    """A way, the heights where it begins and ends, and how far right it runs."""

    way: Link
    begin: float
    end: float
    lane: int


def placement_plot(design: Design, placement: Placement, profile: ChipProfile) -> Plot:
    """Return every core as a row: its layer, the share of each memory in use, and where its events go."""
    rows, ways = core_rows(placement, profile), links(design, placement)
    has_bias = any(row.memories[2].words for row in rows)
    shown = [0, 1, 2] if has_bias else [0, 1]

    lanes = lanes_of(ways, {row.core: y for y, row in enumerate(rows)})
    room = LANE_INCHES * (2 + max((one.lane for one in lanes), default=0))

    def paint(canvas: Canvas) -> None:
        grid = canvas.add_gridspec(1, len(shown) + 1, width_ratios=[*(BARS_INCHES for _ in shown), room])
        for place, memory in enumerate(shown):
            axes = canvas.add_subplot(grid[place])
            _paint_bars(axes, rows, memory)
            _set_rows(axes, [f"{row.core}  {row.layer or FREE}" for row in rows] if place == 0 else [], len(rows))
        _paint_ways(canvas.add_subplot(grid[len(shown)]), rows, lanes)
        free = sum(row.layer is None for row in rows)
        cores = "" if profile.unlimited_cores else f" on {len(rows)} cores, {free} free"
        canvas.suptitle(f"{profile.name}: {len(placement.cores)} layers{cores}", x=0.01, ha="left", weight="bold")

    alt = "; ".join(_told(row, ways) for row in rows if row.layer is not None)
    size = (BARS_INCHES * len(shown) + room, EDGE_INCHES + ROW_INCHES * len(rows))
    return draw(paint, name=f"placement-{profile.name}", alt=alt, size=size)


def contest_plot(plans: Sequence[CorePlan], profile: ChipProfile) -> Plot:
    """Return layers against cores: a square where the core holds the layer, coloured where layers compete."""
    competing, contested = rivals(plans, profile)
    fitting = {plan.layer: cores_that_fit(plan, profile) for plan in plans}

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        for y, plan in enumerate(plans):
            colour = LOSS if plan.layer in competing else GAIN
            for core in range(len(profile.cores)):
                fits = core in fitting[plan.layer]
                square = Rectangle((core - 0.32, y - 0.32), 0.64, 0.64, facecolor=colour if fits else GRID, linewidth=0)
                axes.add_patch(square)
            none = "" if fitting[plan.layer] else ": no core"
            axes.text(len(profile.cores) - 0.3, y, needs(plan) + none, va="center", fontsize=8.5, color=INK)
        _set_rows(axes, [plan.layer for plan in plans], len(plans))
        axes.set_xticks(range(len(profile.cores)), [str(core) for core in range(len(profile.cores))])
        axes.set_xlim(-0.6, len(profile.cores) + 5)  # room for what a layer needs
        axes.set_xlabel("core", x=0.5 * len(profile.cores) / (len(profile.cores) + 5))
        axes.tick_params(length=0)
        canvas.suptitle(title, x=0.01, ha="left", weight="bold")

    title = f"{profile.name}: which core holds which layer"
    if competing:
        title += f"; orange: {len(competing)} layers compete for {len(contested)} core(s)"
    alt = "; ".join(f"{name} fits cores {cores or 'none'}" for name, cores in fitting.items())
    size = (CONTEST_INCHES, EDGE_INCHES + ROW_INCHES * len(plans))
    return draw(paint, name=f"contest-{profile.name}", alt=alt, size=size)


def _paint_bars(axes: Axes, rows: Sequence[CoreRow], memory: int) -> None:
    """Bars of one memory: outlined to the limit, filled with what is taken; without limits to a common scale."""
    most = max(1, *(row.memories[memory].words for row in rows))
    for y, row in enumerate(rows):
        one = row.memories[memory]
        share = one.words / most if one.share is None else one.share
        axes.barh(y, share, BAR_HEIGHT, color=GAIN, linewidth=0)
        if one.limit is not None:
            axes.barh(y, 1.0, BAR_HEIGHT, facecolor="none", edgecolor=MUTED, linewidth=0.8)
        of = "" if one.limit is None else f" of {one.limit:,}"
        axes.text(1.04, y, f"{one.words:,}{of}", va="center", fontsize=8, color=INK if row.layer else MUTED)
    axes.set_title(f"{rows[0].memories[memory].name} words")
    axes.set_xlim(0, 1.9)  # room for the numbers behind the bars
    axes.set_xticks([])


def _paint_ways(axes: Axes, rows: Sequence[CoreRow], lanes: Sequence[Lane]) -> None:
    """Each way goes out of its row to the right, along a lane, and back into the row it leads to."""
    for y, row in enumerate(rows):
        axes.plot([0], [y], "o", color=GRID if row.layer is None else INK, markersize=5)
    for one in lanes:
        way, x, right = one.way, 0.7 + one.lane, 0.7
        if way.target is None:
            axes.annotate("", (right, one.begin), (0.06, one.begin), arrowprops=_ARROW)
            name = f"out, {way.label}" if way.label else "out"
            axes.text(right + 0.04, one.begin, name, va="center", fontsize=8.5, color=INK)
            continue
        if way.source is None:
            axes.plot([x, x], [one.begin, one.end], **_LINE)
            axes.text(x, one.begin - 0.05, "input", ha="center", va="bottom", fontsize=8.5, color=INK)
        else:
            axes.plot([0.06, x, x], [one.begin, one.begin, one.end], **_LINE)
        axes.annotate("", (0.09, one.end), (x, one.end), arrowprops=_ARROW)
        between = math.floor((one.begin + one.end) / 2) + 0.5  # of two rows, where no way runs to the left
        axes.text(x + 0.04, between, way.label.replace(", ", "\n"), va="center", fontsize=8, color=INK)
    axes.set_xlim(-0.1, 1.9 + max((one.lane for one in lanes), default=0))
    axes.set_xticks([])
    _set_rows(axes, [], len(rows))


_LINE: dict[str, Any] = {"color": GAIN, "linewidth": 1.4}
_ARROW = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **_LINE}


def lanes_of(ways: Sequence[Link], at: dict[int, int]) -> list[Lane]:
    """Give each way the first lane that no other takes between its ends; short ways first, so that they stay near."""

    def rows(way: Link) -> tuple[float, float]:
        begin = INPUT_ROW if way.source is None else float(at[way.source])
        return begin, begin if way.target is None else float(at[way.target])

    def length(way: Link) -> float:
        return abs(rows(way)[1] - rows(way)[0])

    taken: list[list[tuple[float, float]]] = [[]]
    placed = []
    for way in sorted(ways, key=length):
        leaving = sorted((other for other in ways if other.source == way.source), key=length, reverse=True)
        arriving = sorted((other for other in ways if other.target == way.target), key=length, reverse=True)
        begin, end = rows(way)
        begin += 0.0 if way.source is None else _port(leaving.index(way), len(leaving))
        end = begin if way.target is None else end - _port(arriving.index(way), len(arriving))
        low, high = min(begin, end), max(begin, end)
        free = (i for i, spans in enumerate(taken) if all(high < a or b < low for a, b in spans))
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((low, high))
        placed.append(Lane(way, begin, end, lane))
    return placed


def _port(place: int, n: int) -> float:
    return NEAR + (FAR - NEAR) * place / max(1, n - 1)


def _set_rows(axes: Axes, names: Sequence[str], n: int) -> None:
    axes.set_ylim(n - 0.4, -1.0)
    axes.set_yticks(range(n) if names else [], names)
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _told(row: CoreRow, ways: Sequence[Link]) -> str:
    goes = ["out" if way.target is None else f"core {way.target}" for way in ways if way.source == row.core]
    taken = ", ".join(f"{one.words} {one.name}" for one in row.memories if one.words)
    return f"core {row.core} holds {row.layer} ({taken} words) and sends to {', '.join(goes) or 'nowhere'}"
