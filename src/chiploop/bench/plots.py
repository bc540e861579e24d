"""The plots of a benchmark: contenders side by side, and quantities over what they scale with."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from chiploop.bench.benchmark import OURS, Row
from chiploop.bench.record import BenchRecord
from chiploop.bench.tables import quantity
from chiploop.report.plot import INK, MARKERS, METHOD_COLOURS, MUTED, colour, panel
from chiploop.report.section import Plot

_TALL = (4.2, 3.0)
WIDE_RANGE = 8
"""A quantity that ranges over more than this many times itself is drawn in doublings."""
YARDSTICKS = ("numpy", "memcpy")
"""Contenders that are no framework: what the same bytes take in plain NumPy, and in a copy."""


def bench_plots(record: BenchRecord) -> tuple[Plot, ...]:
    """Return bars where several contenders did the same work, and a line where something scales."""
    shades = _shades(record.rows)
    plots = [_bars(record.benchmark, rows, shades) for rows in _contests(record.rows)]
    plots += [_line(record.benchmark, over, rows, shades) for over, rows in _scalings(record.rows)]
    return tuple(plots)


def _contests(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of equal work that more than one contender did."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.what, row.unit, repr(sorted(row.setting.items()))].append(row)
    return [group for group in groups.values() if len({row.who for row in group}) > 1]


def _scalings(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return rows of one kind that differ in one number of their setting alone, with that number's name."""
    found = []
    for key in dict.fromkeys(name for row in rows for name, v in row.setting.items() if not isinstance(v, str)):
        groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in rows:
            if key in row.setting:
                rest = {name: value for name, value in row.setting.items() if name != key}
                groups[row.what, row.unit, repr(sorted(rest.items()))].append(row)
        found += [(key, group) for group in groups.values() if len({row.setting[key] for row in group}) > 1]
    return found


def _bars(benchmark: str, rows: Sequence[Row], shades: Mapping[str, str]) -> Plot:
    ordered = sorted(rows, key=lambda row: row.median, reverse=rows[0].better == "lower")
    what, unit, setting = rows[0].what, rows[0].unit, _setting(rows[0])

    def paint(axes: Axes) -> None:
        for place, row in enumerate(ordered):
            axes.barh(place, row.median, color=shades[row.who], height=0.6)
            axes.plot([min(row.values), max(row.values)], [place, place], color=INK, linewidth=1.0)
            axes.annotate(
                f" {quantity(row.median, unit)}", (max(row.values), place), va="center", color=INK, fontsize=8.5
            )
        axes.set_yticks(range(len(ordered)), [row.who for row in ordered])
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.28 * max(max(row.values) for row in ordered))

    alt = f"{what}: " + ", ".join(f"{row.who} {quantity(row.median, unit)}" for row in ordered)
    name = _name(benchmark, f"{what} {setting} {unit}")
    return panel(paint, name=name, alt=alt, title=what.capitalize(), x=_axis(unit, setting), y="", size=_TALL)


def _line(benchmark: str, over: str, rows: Sequence[Row], shades: Mapping[str, str]) -> Plot:
    what, unit = rows[0].what, rows[0].unit
    by_who: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_who[row.who].append(row)

    def paint(axes: Axes) -> None:
        for mark, (who, points) in zip(MARKERS * len(by_who), by_who.items(), strict=False):
            points.sort(key=lambda row: float(row.setting[over]))
            x = [float(row.setting[over]) for row in points]
            axes.fill_between(
                x, [min(p.values) for p in points], [max(p.values) for p in points], color=shades[who], alpha=0.2
            )
            axes.plot(x, [p.median for p in points], color=shades[who], marker=mark, markersize=4, label=who)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: quantity(value, unit) if value else "0")
        numbers = [float(row.setting[over]) for row in rows]
        if max(numbers) > WIDE_RANGE * min(numbers) > 0:
            axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({float(row.setting[over]) for row in rows}))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if len(by_who) > 1:
            axes.legend()

    rest = ", ".join(f"{name} {value}" for name, value in rows[0].setting.items() if name != over)
    alt = f"{what} over {over}" + (f", {rest}" if rest else "")
    name = _name(benchmark, f"{alt} {unit}")
    return panel(paint, name=name, alt=alt, title=what.capitalize(), x=_axis(over, rest), y="", size=_TALL)


def _shades(rows: Sequence[Row]) -> dict[str, str]:
    """Return a colour for everybody: our own always the same, yardsticks grey, the others in the order they appear."""
    ours, *others = colour("bptt"), *(shade for name, shade in METHOD_COLOURS.items() if name != "bptt")
    found = {OURS: ours} | dict.fromkeys(YARDSTICKS, MUTED)
    for who in dict.fromkeys(row.who for row in rows if row.who not in found):
        found[who] = others[(len(found) - 1 - len(YARDSTICKS)) % len(others)]
    return found


def _axis(unit: str, setting: str = "") -> str:
    name = {"x": "times", "s": "seconds"}.get(unit, unit)
    return f"{name} ({setting})" if setting else name


def _setting(row: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.setting.items())


def _name(benchmark: str, what: str) -> str:
    words = re.sub("[^a-z0-9]+", "-", what.lower()).strip("-")
    return f"bench-{benchmark}-{words}"
