"""The paper's figure 1: an integrate-and-fire neuron counts like a sampled ReLU."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from chiploop.measure.record import RunRecord
from chiploop.report.plot import GAIN, MUTED, panel
from chiploop.report.section import Block, Panels, Plot, Shown, first_figures, section


@section("if-response", title="An IF neuron against the sampled ReLU", order=30)
def if_response(records: Sequence[RunRecord]) -> Sequence[Block]:
    """One panel a recorded sweep."""
    shown = first_figures(records, "if-response")
    plots = tuple(_plot(item, number) for number, item in enumerate(shown, 1))
    caption = "Output spikes of one IF neuron for a swept input, and the ReLU of the same input in thresholds."
    return [Panels(plots, caption)] if plots else []


def _plot(item: Shown, number: int) -> Plot:
    data = item.figure.data

    def paint(axes: Axes) -> None:
        axes.plot(data["x"], data["relu"], color=MUTED, linewidth=1.6, label="ReLU")
        axes.step(data["x"], data["if_counts"], where="mid", color=GAIN, linewidth=1.6, label="IF neuron, spikes")
        axes.legend(loc="upper left")

    return panel(
        paint,
        name=f"if-response-{number}",
        alt=f"Spike count of an IF neuron against the ReLU, {item.title}",
        title=item.title,
        x="summed input (thresholds)" if "threshold" not in data else "summed input (weight units)",
        y="output (spikes)",
    )
