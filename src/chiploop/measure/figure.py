"""Plain-data series for the report: what a plot needs, kept in the record so that the report never needs a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ConfigDict

from chiploop.errors import DataError, nearest
from chiploop.events.types import Events

FIGURE_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # kind: (columns of one length, further required entries)
    "if-response": (("x", "relu", "if_counts"), ()),
    "weight-distribution": (("counts",), ("edges", "kurtosis", "entropy_bits")),
    "raster": ((), ("input", "output")),
    "learning-curve": (("epoch", "train_loss"), ("validation",)),
    "layer-correlation": (("layers", "correlation"), ()),
    "rates": (("layers", "spikes_per_sample"), ()),
    "quantisation": (("layers", "scale", "snr_db", "clipped", "zeroed"), ()),
    "causes": (
        (
            "causes",
            "accuracy",
            "difference",
            "low",
            "high",
            "n_lost",
            "n_gained",
            "p_value",
            "layer",
            "measured",
            "share",
        ),
        ("layers", "correlation", "ratio", "classes", "start", "n", "advice"),
    ),
    "fault-levels": (("levels", "accuracy", "low", "high"), ("n", "faults", "trained_through")),
    "anytime": (("at_us", "accuracy", "low", "high"), ("n",)),
    "latency": (("counts",), ("edges_ns", "percentiles_ns")),
    "core-load": (("layers", "synops_per_s"), ("limit",)),
    "windows": (("windows", "accuracy", "agreement", "relative_counts"), ("layers", "chip_accuracy")),
}
EDGES = {"weight-distribution": "edges", "latency": "edges_ns"}
"""Histograms: the entry that is one longer than counts."""
OPTIONAL_COLUMNS = {
    "core-load": (
        "busiest_synops_per_s",
        "peak_synops_per_s",
        "busy",
        "wait_ns",
        "stalls",
        "stalled_ns",
        "dropped",
        "fifo_peak",
    ),
}
"""Columns that need not be there, but must be as long as the others if they are."""
RASTER_COLUMNS = ("t_us", "address", "polarity")
DEFAULT_BINS = 61  # odd, so that zero falls into the middle of a bin and not on an edge


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One series of data: a kind, the method it shows, and columns of plain numbers.

    Kinds and their entries (columns of one kind have one length):

    - if-response: x, relu, if_counts; optionally threshold
    - weight-distribution: counts [n], edges [n + 1], kurtosis, entropy_bits; optionally layer
    - raster: input and output, each t_us, address, polarity; optionally label, decision
    - learning-curve: epoch, train_loss, validation {place: [accuracy or None per epoch]}
    - layer-correlation: layers, correlation (None where a layer never varies); optionally modelled, observed (means)
    - rates: layers, spikes_per_sample; optionally synops_per_sample, neurons
    - quantisation: layers, scale, snr_db, clipped, zeroed (shares)
    - windows: windows, accuracy, agreement (with the chip's decisions), relative_counts (one list by layer for each
      number of windows: counts over the chip's), layers, chip_accuracy
    - causes: causes in order, the accuracy with each, its difference with interval, and so on (measure.causes); start
      [value, low, high] of the model itself; correlation and ratio, one list by layer for each cause
    - fault-levels: levels (multiples of the faults' strengths), accuracy, low, high, n, faults in words, and whether
      the network was trained_through them
    - anytime: at_us, accuracy, low, high, n: accuracy of the output spikes up to each time
    - latency: counts [k], edges_ns [k + 1], percentiles_ns {percentage: ns} of the output spikes
    - core-load: layers, synops_per_s, limit (None where the chip states none); optionally busiest_synops_per_s and, of
      timed runs, peak_synops_per_s, busy (share of time), wait_ns (mean), stalls, stalled_ns, dropped, fifo_peak
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: str
    data: dict[str, Any]
    method: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in FIGURE_KINDS:
            raise DataError(f"no figure of kind {self.kind!r}; {nearest(self.kind, FIGURE_KINDS)}")
        object.__setattr__(self, "data", plain_data(self.data, self.kind))
        columns, entries = FIGURE_KINDS[self.kind]
        for name in (*columns, *entries):
            if name not in self.data:
                raise DataError(f"figure {self.kind!r} lacks {name!r}; it needs {', '.join((*columns, *entries))}")
        given = [name for name in OPTIONAL_COLUMNS.get(self.kind, ()) if name in self.data]
        _require_one_length(self.kind, {name: self.data[name] for name in (*columns, *given)})
        edges = EDGES.get(self.kind)
        if edges is not None and len(self.data[edges]) != len(self.data["counts"]) + 1:
            raise DataError(f"figure {self.kind!r}: {edges} must be one more than counts")
        if self.kind == "learning-curve":
            _require_one_length(self.kind, {"epoch": self.data["epoch"], **self.data["validation"]})
        if self.kind == "raster":
            for side in ("input", "output"):
                _require_one_length(f"raster {side}", {name: self.data[side][name] for name in RASTER_COLUMNS})


def weight_distribution(weights: ArrayLike, *, method: str, layer: str, bins: int = DEFAULT_BINS) -> Figure:
    """Return the histogram of a layer's weights with its shape in two numbers (the paper's figure 3).

    Bins are symmetric about zero. `kurtosis` is the fourth standardised moment less 3 (0 for a normal distribution,
    -1.2 for a uniform one); `entropy_bits` is that of the histogram, log2(bins) for a perfectly even spread.
    """
    w = np.asarray(weights, np.float64).ravel()
    if w.size == 0 or not np.isfinite(w).all():
        raise DataError(f"weights of {layer!r}: {w.size} values, all must be finite and there must be some")
    reach = float(np.abs(w).max()) or 1.0
    counts, edges = np.histogram(w, bins=bins, range=(-reach, reach))
    share = counts[counts > 0] / w.size
    variance = float(w.var())
    kurtosis = float(((w - w.mean()) ** 4).mean() / variance**2 - 3) if variance > 0 else 0.0
    data = {
        "layer": layer,
        "edges": edges,
        "counts": counts,
        "kurtosis": kurtosis,
        "entropy_bits": abs(float((share * np.log2(share)).sum())),
    }
    return Figure(kind="weight-distribution", method=method, data=data)


def raster(inputs: Events, outputs: Events, *, method: str, label: int, decision: int | None = None) -> Figure:
    """Return one sample's input and output events as columns; an address is y * width + x (outputs: the class)."""
    return Figure(
        kind="raster",
        method=method,
        data={
            "input": _columns(inputs, by_channel=False),
            "output": _columns(outputs, by_channel=True),
            "label": int(label),
            "decision": None if decision is None else int(decision),
        },
    )


def layer_correlation(modelled: Mapping[str, ArrayLike], observed: Mapping[str, ArrayLike], *, method: str) -> Figure:
    """Return, per layer, Pearson's correlation of modelled and observed counts, and both means: the drift."""
    if list(modelled) != list(observed):
        raise DataError(f"modelled layers {list(modelled)} and observed layers {list(observed)} must be the same")
    correlation, means = [], []
    for name in modelled:
        a, b = (np.asarray(side[name], np.float64).ravel() for side in (modelled, observed))
        if a.shape != b.shape or a.size == 0:
            raise DataError(f"layer {name!r}: {a.size} modelled against {b.size} observed values")
        spread = float(a.std() * b.std())
        covariance = float(((a - a.mean()) * (b - b.mean())).mean())
        correlation.append(max(-1.0, min(1.0, covariance / spread)) if spread > 0 else None)
        means.append((float(a.mean()), float(b.mean())))
    return Figure(
        kind="layer-correlation",
        method=method,
        data={
            "layers": list(modelled),
            "correlation": correlation,
            "modelled": [m for m, _ in means],
            "observed": [o for _, o in means],
        },
    )


def _columns(events: Events, *, by_channel: bool) -> dict[str, list[int]]:
    position = events.y.astype(np.int64) * events.shape.width + events.x
    if by_channel:  # a class's spikes: the class is the address
        position = position + events.channel.astype(np.int64) * events.shape.height * events.shape.width
    polarity = np.ones(len(position), np.int64) if by_channel else events.channel.astype(np.int64)
    columns = zip(RASTER_COLUMNS, (events.t_us, position, polarity), strict=True)
    return {name: column.tolist() for name, column in columns}


def _require_one_length(what: str, columns: Mapping[str, Sequence[Any]]) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"figure {what!r}: columns differ in length, {lengths}")


def plain_data(value: Any, where: str) -> Any:
    """Return JSON's own types, read-only inputs copied: arrays become lists, a number that is none is refused."""
    if isinstance(value, np.ndarray):
        return plain_data(value.tolist(), where)
    if isinstance(value, np.generic):
        return plain_data(value.item(), where)
    if isinstance(value, Mapping):
        return {str(key): plain_data(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(item, where) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"figure {where}: {value} is no number; use None for a missing value")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise DataError(f"figure {where}: cannot keep a {type(value).__name__} as plain data")
