"""Drift between the model and the chip: how well modelled counts follow observed ones, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from chiploop.measure.record import RunRecord
from chiploop.report.number import real
from chiploop.report.plot import MARKERS, WIDE, colour, panel
from chiploop.report.section import Block, Panels, Plot, Shown, first_figures, section, seeds_shown
from chiploop.report.table import ABSENT, Cell, Column, Table, row


@section("correlation", title="Does the model still know the chip?", order=70)
def correlation(records: Sequence[RunRecord]) -> Sequence[Block]:
    """Correlation of modelled and observed counts by layer, all methods in one plot."""
    shown = first_figures(records, "layer-correlation")
    if not shown:
        return []
    caption = (
        "Correlation, over samples and neurons, of the spike counts that the model predicts and those that the chip "
        f"gives. Where it falls, gradients through the model stop meaning anything. {seeds_shown(shown)}"
    )
    return [Panels((_plot(shown),), caption), _table(shown)]


def _plot(shown: Sequence[Shown]) -> Plot:
    layers = _layers(shown)

    def paint(axes: Axes) -> None:
        for number, item in enumerate(shown):
            found = dict(zip(item.figure.data["layers"], item.figure.data["correlation"], strict=True))
            values = [np.nan if found.get(layer) is None else found[layer] for layer in layers]
            axes.plot(
                range(len(layers)),
                values,
                marker=MARKERS[number % len(MARKERS)],
                markersize=6,
                color=colour(item.method),
                label=item.title,
            )
        axes.set_xticks(range(len(layers)), layers)
        axes.set_ylim(top=1.03)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    methods = ", ".join(item.title for item in shown)
    return panel(
        paint,
        name="correlation",
        alt=f"Correlation of modelled and observed counts by layer: {methods}",
        title="",
        x="layer",
        y="correlation",
        size=WIDE,
    )


def _table(shown: Sequence[Shown]) -> Table:
    layers = _layers(shown)
    rows = []
    for item in shown:
        data = item.figure.data
        r = dict(zip(data["layers"], data["correlation"], strict=True))
        ratio = _ratios(data)
        cells = (Cell(ABSENT if r.get(layer) is None else real(r[layer], 3), ratio.get(layer, "")) for layer in layers)
        rows.append(row(item.title, *cells))
    columns = (Column("Method", align="left"), *(Column(layer) for layer in layers))
    caption = "Correlation, and below it × observed / modelled mean count: above 1 the clocked model fires too seldom."
    return Table(columns, tuple(rows), caption)


def _ratios(data: Mapping[str, Any]) -> dict[str, str]:
    if "modelled" not in data or "observed" not in data:
        return {}
    means = zip(data["layers"], data["modelled"], data["observed"], strict=True)
    return {layer: f"× {real(observed / modelled)}" for layer, modelled, observed in means if modelled > 0}


def _layers(shown: Sequence[Shown]) -> list[str]:
    return list(dict.fromkeys(layer for item in shown for layer in item.figure.data["layers"]))
