"""The gap closing as the clock gets finer: the synchronous network on more and more windows, against the chip."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from chiploop.measure.record import RunRecord
from chiploop.report.plot import MARKERS, WIDE, colour, panel
from chiploop.report.section import Block, Panels, Plot, Shown, first_figures, section, seeds_shown

_MARGIN = 0.8
"""Of the first number of windows, where the axis begins; it ends as far past the last."""


@section("windows", title="The finer the clock, the smaller the gap", order=75)
def windows(records: Sequence[RunRecord]) -> Sequence[Block]:
    """Agreement with the chip, and the output of each layer relative to the chip's, by number of windows."""
    shown = first_figures(records, "windows")
    if not shown:
        return []
    caption = (
        "The same integer network run synchronously with the recording cut into more and more windows. Left: share of "
        "decisions that equal the chip's. Right: spikes of the last layer relative to the chip's; on a coarse clock "
        "positive and negative inputs cancel within a window before they can fire a neuron. The chip computes event by "
        f"event. {seeds_shown(shown)}"
    )
    return [Panels((_agreement(shown), _relative(shown)), caption)]


def _agreement(shown: Sequence[Shown]) -> Plot:
    def paint(axes: Axes) -> None:
        for number, item in enumerate(shown):
            data = item.figure.data
            axes.plot(
                data["windows"],
                [100 * value for value in data["agreement"]],
                marker=MARKERS[number % len(MARKERS)],
                color=colour(item.method),
                label=item.title,
            )
        _log_windows(axes, shown)
        axes.legend(loc="best")

    return panel(
        paint,
        name="windows-agreement",
        alt="Agreement of the synchronous network with the chip by number of windows",
        title="",
        x="windows a recording",
        y="same decision as the chip (%)",
        size=WIDE,
    )


def _log_windows(axes: Axes, shown: Sequence[Shown]) -> None:
    """Set a logarithmic axis by the numbers of windows themselves: a silent network leaves nothing to scale it by."""
    counts = [number for item in shown for number in item.figure.data["windows"]]
    axes.set_xlim(_MARGIN * min(counts), max(counts) / _MARGIN)
    axes.set_xscale("log")


def _relative(shown: Sequence[Shown]) -> Plot:
    def paint(axes: Axes) -> None:
        for number, item in enumerate(shown):
            data = item.figure.data
            last = [row[-1] if row[-1] is not None else float("nan") for row in data["relative_counts"]]
            axes.plot(
                data["windows"],
                last,
                marker=MARKERS[number % len(MARKERS)],
                color=colour(item.method),
                label=f"{item.title}, {data['layers'][-1]}",
            )
        axes.axhline(1.0, color="0.6", linewidth=1)
        _log_windows(axes, shown)
        axes.legend(loc="best")

    return panel(
        paint,
        name="windows-counts",
        alt="Spikes of the last layer relative to the chip's by number of windows",
        title="",
        x="windows a recording",
        y="spikes relative to the chip",
        size=WIDE,
    )
