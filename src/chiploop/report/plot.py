"""One look for every plot: colours by method that colour-blind readers can tell apart, and SVG without surprises."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from chiploop.report.section import Plot

# Okabe and Ito 2008, Color Universal Design; yellow is left out, being invisible on white
_PALETTE = ("#E69F00", "#D55E00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#4D4D4D")
METHOD_COLOURS = {
    "cnn": "#E69F00",
    "cnn-qat": "#D55E00",
    "cnn-norm": "#4D4D4D",
    "bptt": "#0072B2",
    "cil-ann": "#56B4E9",
    "cil-bptt": "#009E73",
    "cil-qat": "#CC79A7",
}
INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
LOSS, GAIN = "#D55E00", "#0072B2"
PLACE_MARKERS = {"software": "o", "int-sync": "s", "accelerator": "^", "chip": "D", "faulty": "X"}
PLACE_LINES = {
    "software": (0, (1, 1.5)),
    "int-sync": (0, (4, 2)),
    "accelerator": (0, (4, 1.5, 1, 1.5)),
    "chip": "solid",
    "faulty": (0, (6, 2)),
}
MARKERS = "oDs^vPX"
"""Marks of methods in one plot, so that colour is never the only difference."""
PANEL, WIDE = (4.2, 3.0), (8.6, 3.4)
"""Inches: a panel is read at phone width, a wide plot at page width."""

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "chiploop",
    "axes.unicode_minus": True,
    "lines.linewidth": 1.8,
}
_RASTER_DPI = 150


def colour(method: str | None) -> str:
    """Return a method's colour: always the same one, also for methods nobody has heard of."""
    if method in METHOD_COLOURS:
        return METHOD_COLOURS[method]
    return _PALETTE[hashlib.sha256((method or "").encode()).digest()[0] % len(_PALETTE)]


def draw(paint: Callable[[Canvas], None], *, name: str, alt: str, size: tuple[float, float] = PANEL) -> Plot:
    """Return what `paint` draws on an empty canvas, as SVG; the same input gives the same bytes."""
    return Plot(name=name, alt=alt, svg=_canvas_svg(paint, size), wide=size[0] > PANEL[0])


def panel(
    paint: Callable[[Axes], None],
    *,
    name: str,
    alt: str,
    title: str,
    x: str,
    y: str,
    size: tuple[float, float] = PANEL,
) -> Plot:
    """Return a plot with one pair of axes, its title and its labels (with units)."""

    def whole(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        paint(axes)
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(y)

    return draw(whole, name=name, alt=alt, size=size)


def _canvas_svg(paint: Callable[[Canvas], None], size: tuple[float, float]) -> str:
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=size, layout="constrained")  # no pyplot: no global state, no display
        FigureCanvasAgg(canvas)
        paint(canvas)
        out = io.StringIO()
        canvas.savefig(out, format="svg", dpi=_RASTER_DPI, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]
