"""Learning curves: the loss, and validation accuracy by place."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from chiploop.measure.record import RunRecord
from chiploop.report.plot import MUTED, PLACE_LINES, PLACE_MARKERS, colour, draw
from chiploop.report.section import Block, Panels, Plot, Shown, first_figures, section, seeds_shown

_SIZE = (4.2, 4.0)


@section("learning", title="Learning curves", order=60)
def learning(records: Sequence[RunRecord]) -> Sequence[Block]:
    """Training loss and validation accuracy by epoch, a panel for every method."""
    shown = first_figures(records, "learning-curve")
    plots = tuple(_plot(item, number) for number, item in enumerate(shown, 1))
    caption = "Above: training loss. Below: accuracy on the validation split; the test set plays no part in training."
    return [Panels(plots, f"{caption} {seeds_shown(shown)}")] if plots else []


def _plot(item: Shown, number: int) -> Plot:
    data = item.figure.data

    def paint(canvas: Canvas) -> None:
        above, below = canvas.subplots(2, 1, sharex=True, height_ratios=(1, 1.4))
        above.plot(data["epoch"], _gaps(data["train_loss"]), "-o", color=MUTED, markersize=3)
        above.set_title(item.title)
        above.set_ylabel("training loss")
        _paint_validation(below, item)
        below.set_xlabel("epoch")
        below.set_ylabel("accuracy (%)")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))

    ends = {place: row[-1] for place, row in data["validation"].items() if row and row[-1] is not None}
    last = ", ".join(f"{place} {100 * value:.1f} %" for place, value in ends.items())
    alt = f"Learning curve of {item.title}, {len(data['epoch'])} epochs; at the end {last or 'not validated'}"
    return draw(paint, name=f"learning-{number}", alt=alt, size=_SIZE)


def _paint_validation(axes: Axes, item: Shown) -> None:
    validation = item.figure.data["validation"]
    for place, row in validation.items():
        axes.plot(
            item.figure.data["epoch"],
            [None if value is None else 100 * value for value in _gaps(row)],
            linestyle=PLACE_LINES.get(place, "solid"),
            marker=PLACE_MARKERS.get(place, "."),
            markersize=3.5,
            color=colour(item.method),
            label=place,
        )
    if validation:
        axes.legend(loc="best")


def _gaps(row: Sequence[float | None]) -> list[float]:
    """An epoch without a value interrupts the line."""
    return [float("nan") if value is None else value for value in row]
