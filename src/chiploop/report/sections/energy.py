"""What a sample costs: the operations of every method at every place, and their modelled energy with its prices."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from chiploop.measure.aggregate import split_experiments
from chiploop.measure.metric import WHERES, Metric, Where
from chiploop.measure.record import RunRecord
from chiploop.report.number import count, energy_cell, share_cell
from chiploop.report.number import energy as energy_text
from chiploop.report.plot import INK, PLACE_MARKERS, WIDE, colour, panel
from chiploop.report.results import PLACE_TITLES, Results
from chiploop.report.section import Block, Heading, Panels, Plot, section
from chiploop.report.sections.summary import group_name
from chiploop.report.table import Cell, Column, Row, Table, row

_ENERGY, _WITH_REST = "operation_energy_per_sample", "energy_per_sample"
_COUNTS = {
    "macs_per_sample": "MACs",
    "acs_per_sample": "ACs",
    "updates_per_sample": "neuron updates",
    "synops_per_sample": "synaptic updates",
}
_CAPTION = (
    "Modelled, not measured: exact operations times prices. Below an energy stands what the lowest and the highest "
    "price give, or the half of its 95 % interval over seeds where prices are single numbers. The synchronous rows are "
    "priced for arithmetic alone, a synaptic update of the chip with reading its weight and writing its state; rest is "
    "the chip's power without events over the length of the recordings. MACs: multiply-accumulates of one frame; ACs: "
    "accumulates, one for each neuron that a spike reaches."
)


@section("energy", title="What a sample costs", order=85)
def energy(records: Sequence[RunRecord]) -> Sequence[Block]:
    """One table and one plot for every group of comparable experiments, and the prices behind them."""
    groups = split_experiments(records)
    blocks: list[Block] = []
    for number, group in enumerate(groups, 1):
        results = Results.of(group)
        places = _places(results)
        if not places:
            continue
        if len(groups) > 1:
            blocks.append(Heading(group_name(group)))
        blocks.append(_table(results, places))
        if any(results.find("accuracy", method, where) is not None for method, where in places):
            blocks.append(Panels((_plot(results, places, number),), _plot_caption(results, places)))
        blocks.append(_prices(results, places))
    return blocks


def _places(results: Results) -> list[tuple[str, Where]]:
    """Every method and place with a modelled energy, in the table's order."""
    return [
        (method, where)
        for method in results.methods
        for where in WHERES
        if results.find(_ENERGY, method, where) is not None
    ]


def _table(results: Results, places: Sequence[tuple[str, Where]]) -> Table:
    rows: list[Row] = []
    last = ""
    for method, where in places:
        rows.append(
            row(
                method if method != last else "",  # once a method: the eye finds the groups
                PLACE_TITLES[where],
                share_cell(results.find("accuracy", method, where)),
                _operations(results, method, where),
                energy_cell(results.find(_ENERGY, method, where)),
                energy_cell(results.find(_WITH_REST, method, where)),
            )
        )
        last = method
    columns = (
        Column("Method", align="left"),
        Column("Place", align="left"),
        Column("Accuracy", "%"),
        Column("Operations", "a sample"),
        Column("Energy of operations", "a sample"),
        Column("Energy with rest", "a sample"),
    )
    return Table(columns, tuple(rows), _CAPTION)


def _operations(results: Results, method: str, where: Where) -> Cell:
    found = {what: results.find(name, method, where) for name, what in _COUNTS.items()}
    texts = [f"{count(metric.value)} {what}" for what, metric in found.items() if metric is not None]
    return Cell(texts[0], ", ".join(texts[1:])) if texts else Cell()


def _prices(results: Results, places: Sequence[tuple[str, Where]]) -> Table:
    """One row for each set of prices, with the places that it was used for."""
    used: dict[tuple[str, str], dict[str, None]] = {}
    for method, where in places:
        for name in (_WITH_REST, _ENERGY):
            metric = results.find(name, method, where)
            if metric is not None and metric.source is not None:
                used.setdefault((metric.source, metric.note or ""), {})[PLACE_TITLES[where]] = None
                break  # the energy with rest names the prices of the operations too
    rows = tuple(row(", ".join(titles), source, note) for (source, note), titles in used.items())
    columns = tuple(Column(t, align="left", wraps=t == "Prices, and where they come from") for t in _PRICE_TITLES)
    return Table(columns, rows)


_PRICE_TITLES = ("Place", "Prices, and where they come from", "Note")


def _plot(results: Results, places: Sequence[tuple[str, Where]], number: int) -> Plot:
    shown = [
        (method, where, cost, right)
        for method, where in places
        if (cost := results.find(_ENERGY, method, where)) is not None
        and (right := results.find("accuracy", method, where)) is not None
    ]

    def paint(axes: Axes) -> None:
        for method, where, cost, right in shown:
            _paint_point(axes, method, where, cost, right)
        for method in dict.fromkeys(method for method, *_ in shown):
            axes.plot([], [], color=colour(method), linewidth=5, label=method)
        for where in dict.fromkeys(where for _, where, *_ in shown):
            axes.plot([], [], PLACE_MARKERS[where], color=INK, markersize=6, label=PLACE_TITLES[where])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: energy_text(value)))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    told = "; ".join(
        f"{m} {where} {energy_cell(cost).line}, {share_cell(right).text} %" for m, where, cost, right in shown
    )
    return panel(
        paint,
        name=f"energy-accuracy-{number}",
        alt=f"Accuracy by modelled energy of operations: {told}",
        title="",
        x="modelled energy of operations a sample",
        y="accuracy (%)",
        size=WIDE,
    )


def _paint_point(axes: Axes, method: str, where: Where, cost: Metric, right: Metric) -> None:
    shade, y = colour(method), 100 * right.value
    if cost.interval == "range" and cost.low is not None and cost.high is not None:
        axes.plot([cost.low, cost.high], [y, y], color=shade, linewidth=4, alpha=0.3, solid_capstyle="butt")
    if right.low is not None and right.high is not None:
        axes.plot([cost.value, cost.value], [100 * right.low, 100 * right.high], color=shade, linewidth=1.2, alpha=0.75)
    axes.plot(cost.value, y, PLACE_MARKERS[where], color=shade, markersize=7, zorder=3)


def _plot_caption(results: Results, places: Sequence[tuple[str, Where]]) -> str:
    accuracies = [metric for place in places if (metric := results.find("accuracy", *place)) is not None]
    over = "seeds" if any((metric.n_seeds or 1) > 1 for metric in accuracies) else "samples"
    return f"Bands: what the prices leave open. Lines: 95 % intervals of the accuracy over {over}."
