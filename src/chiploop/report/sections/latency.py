"""How soon the chip knows, how long its events take, and how busy its cores are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from chiploop.measure.aggregate import split_experiments
from chiploop.measure.record import RunRecord
from chiploop.report.number import count, microseconds, percent
from chiploop.report.plot import INK, LOSS, MARKERS, MUTED, WIDE, colour, panel
from chiploop.report.results import Results
from chiploop.report.section import Block, Heading, Panels, Plot, Shown, Text, first_figures, section, seeds_shown
from chiploop.report.sections.summary import group_name
from chiploop.report.table import ABSENT, Cell, Column, Row, Table, row

_US_PER_MS, _NS_PER_US = 1_000, 1_000
_BAR = 0.62  # share of a layer's room that its bar takes
_TIMES = ("first_spike", "decision_time", "latency_median", "latency_p99", "stalls_per_sample")


@section("latency", title="How soon the chip knows", order=82)
def latency(records: Sequence[RunRecord]) -> Sequence[Block]:
    """Accuracy over time, times to a decision, latencies, and the load of each core with what congestion did."""
    blocks: list[Block] = []
    if curves := first_figures(records, "anytime"):
        caption = (
            "Accuracy of the output spikes up to each time of the recording; ties and silence are wrong. Bands: 95 % "
            f"Wilson intervals over samples. {seeds_shown(curves)}"
        )
        blocks.append(Panels((_anytime(curves),), caption))
    blocks.extend(_times(records))
    if histograms := first_figures(records, "latency"):
        plots = tuple(_histogram(item, number) for number, item in enumerate(histograms, 1))
        caption = "Modelled: from the sensor event to the output spike that descends from it."
        blocks.append(Panels(plots, f"{caption} {seeds_shown(histograms)}"))
    if loads := first_figures(records, "core-load"):
        plots = tuple(_load(item, number) for number, item in enumerate(loads, 1))
        caption = (
            "Synaptic updates a second of each core: bars over all recordings, ticks in the recording that asks most, "
            "crosses in the busiest millisecond where runs were timed; the dashed line is the limit that the profile "
            f"states. {seeds_shown(loads)}"
        )
        blocks += [Panels(plots, caption), *_congestion(loads)]
    return blocks


def _anytime(shown: Sequence[Shown]) -> Plot:
    def paint(axes: Axes) -> None:
        for number, item in enumerate(shown):
            data, shade = item.figure.data, colour(item.method)
            x = np.asarray(data["at_us"], np.float64) / _US_PER_MS
            low, value, high = (100 * np.asarray(data[name], np.float64) for name in ("low", "accuracy", "high"))
            axes.fill_between(x, low, high, color=shade, alpha=0.14, linewidth=0)
            mark = MARKERS[number % len(MARKERS)]
            axes.plot(x, value, marker=mark, markevery=0.12, markersize=5, color=shade, label=item.title)
        axes.set_ylim(bottom=0)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    ends = ", ".join(f"{item.title} {percent(item.figure.data['accuracy'][-1])} %" for item in shown)
    return panel(
        paint,
        name="anytime",
        alt=f"Accuracy over time of the recording; at the end {ends}",
        title="",
        x="time of the recording (ms)",
        y="accuracy so far (%)",
        size=WIDE,
    )


def _times(records: Sequence[RunRecord]) -> list[Block]:
    groups = split_experiments(records)
    blocks: list[Block] = []
    for group in groups:
        results = Results.of(group)
        rows: list[Row] = []
        sources: dict[str, None] = {}
        for method in results.methods:
            found = {name: results.find(name, method) for name in _TIMES}
            if not any(found.values()):
                continue
            cells = [Cell() if m is None else Cell(microseconds(m.value)) for m in list(found.values())[:-1]]
            stalls = found["stalls_per_sample"]
            rows.append(row(method, *cells, Cell() if stalls is None else Cell(count(stalls.value))))
            sources |= {m.source: None for m in found.values() if m is not None and m.source is not None}
        if not rows:
            continue
        if len(groups) > 1:
            blocks.append(Heading(group_name(group)))
        blocks.append(Table(_TIME_COLUMNS, tuple(rows), _TIME_CAPTION))
        blocks.extend(Text(f"Times on the chip are modelled from: {source}.") for source in sources)
    return blocks


_TIME_COLUMNS = (
    Column("Method", align="left"),
    Column("First output spike", "median"),
    Column("Final decision", "median"),
    Column("Latency", "median"),
    Column("Latency", "99th percentile"),
    Column("Stalled sends", "a sample"),
)
_TIME_CAPTION = (
    "First output spike and final decision: how much of the recording had passed, counted where processing takes no "
    "time; the final decision is reached when no later spike changes it. Latency: what processing and queues add, "
    "modelled."
)


def _histogram(item: Shown, number: int) -> Plot:
    data = item.figure.data
    marks = {level: value / _NS_PER_US for level, value in data["percentiles_ns"].items()}

    def paint(axes: Axes) -> None:
        counts = np.asarray(data["counts"], np.float64)
        edges = np.asarray(data["edges_ns"], np.float64) / _NS_PER_US
        axes.stairs(100 * counts / counts.sum(), edges, fill=True, color=colour(item.method), alpha=0.85)
        for level, value in marks.items():
            axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 2)))
            axes.annotate(f"{level} %", (value, 1), (2, -2), xycoords=("data", "axes fraction"), **_SMALL)

    told = ", ".join(f"{level} % within {microseconds(value)}" for level, value in marks.items())
    return panel(
        paint,
        name=f"latency-{number}",
        alt=f"Latency of output spikes of {item.title}: {told}",
        title=item.title,
        x="latency (µs)",
        y="share of output spikes (%)",
    )


_SMALL: dict[str, Any] = {"textcoords": "offset points", "va": "top", "fontsize": 7.5, "color": MUTED}


def _load(item: Shown, number: int) -> Plot:
    data = item.figure.data
    layers, limit = data["layers"], data["limit"]

    def paint(axes: Axes) -> None:
        x = np.arange(len(layers))
        axes.bar(x, _positive(data["synops_per_s"]), _BAR, color=colour(item.method), alpha=0.85)
        if "busiest_synops_per_s" in data:
            axes.plot(x, _positive(data["busiest_synops_per_s"]), "_", color=INK, markersize=16)
        if "peak_synops_per_s" in data:
            axes.plot(x, _positive(data["peak_synops_per_s"]), "x", color=INK, markersize=6)
        if limit is not None:
            axes.axhline(limit, color=LOSS, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
        axes.set_xticks(x, layers, rotation=30 if len(layers) > 4 else 0)
        axes.set_xlim(-0.5, len(layers) - 0.5)
        axes.grid(visible=False, axis="x")

    most = max(range(len(layers)), key=lambda i: data["synops_per_s"][i])
    of_limit = "" if limit is None else f", {percent(data['synops_per_s'][most] / limit)} % of the limit"
    return panel(
        paint,
        name=f"core-load-{number}",
        alt=f"Updates a second by core of {item.title}: most in {layers[most]}{of_limit}",
        title=item.title,
        x="",
        y="synaptic updates a second",
    )


def _positive(values: Sequence[float]) -> list[float]:
    """An idle core has no place on a logarithmic scale."""
    return [value if value > 0 else float("nan") for value in values]


def _congestion(shown: Sequence[Shown]) -> list[Block]:
    rows: list[Row] = []
    for item in shown:
        data = item.figure.data
        if "busy" not in data:
            continue
        for i, layer in enumerate(data["layers"]):
            rows.append(row(item.title if i == 0 else "", layer, *_congested(item, i)))
    columns = (
        Column("Method", align="left"),
        Column("Core of", align="left"),
        Column("Busiest millisecond", "% of the limit"),
        Column("Busy", "% of the time"),
        Column("Mean wait"),
        Column("Longest queue", "events"),
        Column("Stalled sends"),
        Column("Stalled"),
        Column("Dropped", "events"),
    )
    caption = "Modelled: what the timed runs met, over all of them. A stalled send waited for room in the next core."
    return [Table(columns, tuple(rows), caption)] if rows else []


def _congested(item: Shown, i: int) -> list[str]:
    data = item.figure.data
    peak, limit = data["peak_synops_per_s"][i], data["limit"]
    return [
        ABSENT if limit is None or peak is None else percent(peak / limit),
        percent(data["busy"][i]),
        microseconds(data["wait_ns"][i] / _NS_PER_US),
        count(data["fifo_peak"][i]),
        count(data["stalls"][i]),
        microseconds(data["stalled_ns"][i] / _NS_PER_US),
        count(data["dropped"][i]),
    ]
