"""What goes into the chip and what comes out: one sample's events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from chiploop.measure.record import RunRecord
from chiploop.report.plot import GAIN, INK, LOSS, colour, draw
from chiploop.report.section import Block, Panels, Plot, Shown, first_figures, section, seeds_shown
from chiploop.units import US_PER_MS

_SIZE = (4.2, 4.4)  # inches: two plots above each other, at phone width


@section("rasters", title="One sample, event by event", order=50)
def rasters(records: Sequence[RunRecord]) -> Sequence[Block]:
    """Input events over time by address, and the output spikes by class, for every method."""
    shown = first_figures(records, "raster")
    plots = tuple(_plot(item, number) for number, item in enumerate(shown, 1))
    caption = (
        (
            "Above: input events by address (row by row), on (blue) and off (orange). Below: output spikes by class, "
            f"the true class in green. {seeds_shown(shown)}"
        )
        if shown
        else ""
    )
    return [Panels(plots, caption)] if plots else []


def _plot(item: Shown, number: int) -> Plot:
    data = item.figure.data

    def paint(canvas: Canvas) -> None:
        above, below = canvas.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        _paint_input(above, data["input"])
        above.set_title(item.title)
        above.set_ylabel("input address (pixel)")
        _paint_output(below, data["output"], data.get("label"), item)
        below.set_xlabel("time (ms)")
        below.set_ylabel("class")

    n_in, n_out = len(data["input"]["t_us"]), len(data["output"]["t_us"])
    alt = f"One sample for {item.title}: {n_in} input events, {n_out} output spikes, class {data.get('label')}"
    return draw(paint, name=f"raster-{number}", alt=alt, size=_SIZE)


def _paint_input(axes: Axes, events: dict[str, list[int]]) -> None:
    t, address, polarity = _columns(events)
    for value, shade in ((1, GAIN), (0, LOSS)):
        picked = polarity == value
        # thousands of points as vectors would make the page heavy: they are drawn as pixels, the axes stay vectors
        axes.scatter(t[picked], address[picked], s=1.6, color=shade, linewidths=0, rasterized=True)


def _paint_output(axes: Axes, events: dict[str, list[int]], label: int | None, item: Shown) -> None:
    t, address, _ = _columns(events)
    if label is not None:
        axes.axhspan(label - 0.5, label + 0.5, color="#009E73", alpha=0.18, linewidth=0)
    axes.scatter(t, address, marker="|", s=40, color=colour(item.method) if item.method else INK, linewidths=1.1)
    highest = max([int(address.max()) if address.size else 0, label or 0, 9])  # ten classes unless more are seen
    axes.set_ylim(highest + 0.6, -0.6)
    axes.set_yticks(range(0, highest + 1, max(1, (highest + 1) // 5)))


def _columns(events: dict[str, list[int]]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    t = np.asarray(events["t_us"], np.float64) / US_PER_MS
    return t, np.asarray(events["address"], np.int64), np.asarray(events["polarity"], np.int64)
