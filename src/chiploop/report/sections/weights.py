"""The paper's figure 3: how the weights of the fully connected layer are spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from chiploop.measure.record import RunRecord
from chiploop.report.number import real
from chiploop.report.plot import INK, colour, panel
from chiploop.report.section import Block, Panels, Plot, Shown, first_figures, section, seeds_shown
from chiploop.report.table import Column, Table, row


@section("weights", title="Weights of the fully connected layer", order=40)
def weights(records: Sequence[RunRecord]) -> Sequence[Block]:
    """A histogram for every method on one scale, and the shape in numbers."""
    shown = first_figures(records, "weight-distribution")
    if not shown:
        return []
    reach = max(abs(edge) for item in shown for edge in item.figure.data["edges"])
    top = max(float(_share(item).max()) for item in shown)
    plots = tuple(_plot(item, number, reach, top) for number, item in enumerate(shown, 1))
    return [
        Panels(plots, f"Share of weights in each bin, all panels on one scale. {seeds_shown(shown)}"),
        _table(shown),
    ]


def _share(item: Shown) -> NDArray[np.float64]:
    counts = np.asarray(item.figure.data["counts"], np.float64)
    return np.asarray(100 * counts / counts.sum(), np.float64)


def _plot(item: Shown, number: int, reach: float, top: float) -> Plot:
    data = item.figure.data

    def paint(axes: Axes) -> None:
        axes.stairs(_share(item), data["edges"], fill=True, color=colour(item.method), alpha=0.85)
        axes.set_xlim(-reach, reach)
        axes.set_ylim(0, 1.05 * top)
        numbers = f"kurtosis {real(data['kurtosis'])}\nentropy {real(data['entropy_bits'])} bits"
        axes.text(0.98, 0.96, numbers, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=INK)

    return panel(
        paint,
        name=f"weights-{number}",
        alt=f"Weights of {item.title}: kurtosis {real(data['kurtosis'])}",
        title=item.title,
        x="weight",
        y="share of weights (%)",
    )


def _table(shown: Sequence[Shown]) -> Table:
    rows = tuple(
        row(
            item.title,
            str(item.figure.data.get("layer", "")),
            f"{sum(item.figure.data['counts']):,}",
            real(item.figure.data["kurtosis"]),
            real(item.figure.data["entropy_bits"]),
        )
        for item in shown
    )
    columns = (
        Column("Method", align="left"),
        Column("Layer", align="left"),
        Column("Weights"),
        Column("Excess kurtosis"),
        Column("Entropy", "bits"),
    )
    return Table(
        columns,
        rows,
        (
            "Excess kurtosis: 0 for a normal distribution, −1.2 for a uniform one, larger for a few large weights "
            "among many small ones, which a common scale quantises badly. "
            "Entropy is that of the histogram, larger the more even."
        ),
    )
