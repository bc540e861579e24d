"""Spikes and synaptic updates by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from chiploop.measure.record import RunRecord
from chiploop.report.number import count
from chiploop.report.plot import MARKERS, WIDE, colour, panel
from chiploop.report.section import Block, Panels, Plot, Shown, first_figures, section, seeds_shown

_COLUMNS = (("spikes_per_sample", "spikes a sample"), ("synops_per_sample", "synaptic updates a sample"))
_GROUP = 0.8  # share of a layer's room that its dots take


@section("rates", title="Activity by layer", order=80)
def rates(records: Sequence[RunRecord]) -> Sequence[Block]:
    """Dots by layer on a logarithmic scale, for spikes and for synaptic updates where recorded."""
    shown = first_figures(records, "rates")
    plots = tuple(
        _plot([item for item in shown if column in item.figure.data], column, label)
        for column, label in _COLUMNS
        if any(column in item.figure.data for item in shown)
    )
    return [Panels(plots, f"Counted on the chip; logarithmic scale. {seeds_shown(shown)}")] if plots else []


def _plot(shown: Sequence[Shown], column: str, label: str) -> Plot:
    layers = list(dict.fromkeys(layer for item in shown for layer in item.figure.data["layers"]))
    width = _GROUP / len(shown)

    def paint(axes: Axes) -> None:
        for number, item in enumerate(shown):
            found = dict(zip(item.figure.data["layers"], item.figure.data[column], strict=True))
            x = np.arange(len(layers)) + (number - (len(shown) - 1) / 2) * width
            heights = [found.get(layer) or np.nan for layer in layers]  # a silent layer has no place on a log scale
            mark = MARKERS[number % len(MARKERS)]
            axes.plot(x, heights, mark, color=colour(item.method), label=item.title, markersize=7)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xticks(range(len(layers)), layers)
        axes.set_xlim(-0.5, len(layers) - 0.5)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    methods = ", ".join(item.title for item in shown)
    return panel(
        paint,
        name=f"rates-{column.split('_', maxsplit=1)[0]}",
        alt=f"{label} by layer: {methods}",
        title="",
        x="layer",
        y=label,
        size=WIDE,
    )
