"""How soon the chip knows: accuracy at any time, the time to a decision, and the latency of output spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chiploop.chip.profile import ChipProfile
from chiploop.chip.timing import TimingTrace
from chiploop.digest import ByContent, read_only
from chiploop.errors import DataError
from chiploop.measure.accuracy import UNDECIDED, decide, is_right
from chiploop.measure.energy import cite
from chiploop.measure.figure import Figure
from chiploop.measure.metric import METRICS, Metric, Where
from chiploop.measure.stats import wilson_interval

NEVER = -1
"""The time of what did not happen."""
PERCENTILES = (50, 90, 99)
NS_PER_US = 1_000
_BINS = 40


@dataclass(frozen=True, eq=False, kw_only=True)
class Anytime(ByContent):
    """Accuracy of the decisions that are there at each time: float64[K] all, with Wilson intervals over n samples."""

    at_us: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int

    def figure(self, *, method: str) -> Figure:
        """Return the curve for the report."""
        columns = {name: getattr(self, name) for name in ("at_us", "accuracy", "low", "high")}
        return Figure(kind="anytime", method=method, data={**columns, "n": self.n})


@dataclass(frozen=True, eq=False, kw_only=True)
class DecisionTimes(ByContent):
    """When each sample was decided: int64[B] from the start of the sample, NEVER where it was not.

    `first_us`: the first output spike. `settled_us`: the first time from which on the decision is the final one; a
    sample that ends silent or tied never settles.
    """

    first_us: NDArray[np.int64]
    settled_us: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("first_us", "settled_us"):
            object.__setattr__(self, name, read_only(getattr(self, name), np.int64))


def anytime_accuracy(
    times_us: Sequence[ArrayLike], classes: Sequence[ArrayLike], labels: ArrayLike, at_us: ArrayLike
) -> Anytime:
    """Return the accuracy that the output spikes up to and including each time give; ties and silence are wrong.

    `times_us[b]` and `classes[b]` are the output spikes of sample b, times from the sample's own start; `labels` [B];
    `at_us` [K], rising.

    >>> curve = anytime_accuracy([[5, 7, 9]], [[0, 1, 1]], [1], [4, 5, 7, 9])
    >>> curve.accuracy.tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    spikes, truth = _spikes(times_us, classes), np.asarray(labels)
    moments = np.asarray(at_us, np.int64)
    if moments.ndim != 1 or moments.size == 0 or (np.diff(moments) <= 0).any():
        raise DataError("at_us must be a row of rising times, at least one")
    n_classes = 1 + max([int(truth.max(initial=0)), *(int(c.max(initial=0)) for _, c in spikes)])
    counts = np.zeros((moments.size, len(spikes), n_classes), np.int64)
    for sample, (times, chosen) in enumerate(spikes):
        slot = np.searchsorted(moments, times, side="left")
        inside = slot < moments.size
        np.add.at(counts[:, sample], (slot[inside], chosen[inside]), 1)
    shares = [
        wilson_interval(int(is_right(decide(table), truth).sum()), len(spikes)) for table in counts.cumsum(axis=0)
    ]
    value, low, high = np.array(shares).T
    return Anytime(at_us=moments, accuracy=value, low=low, high=high, n=len(spikes))


def time_to_first_decision(times_us: Sequence[ArrayLike], classes: Sequence[ArrayLike]) -> DecisionTimes:
    """Return when each sample's first output spike came, and when its decision became the final one.

    Spikes of one time count together. Arguments as for `anytime_accuracy`.

    >>> times = time_to_first_decision([[5, 7, 9], []], [[0, 1, 1], []])
    >>> times.first_us.tolist(), times.settled_us.tolist()
    ([5, -1], [9, -1])
    """
    first, settled = [], []
    for times, chosen in _spikes(times_us, classes):
        first.append(int(times[0]) if times.size else NEVER)
        settled.append(_settled(times, chosen))
    return DecisionTimes(first_us=np.array(first, np.int64), settled_us=np.array(settled, np.int64))


def percentiles(values: ArrayLike, levels: Sequence[int] = PERCENTILES) -> dict[int, int]:
    """Return the smallest value that at least each percentage of the values does not exceed; NEVER is left out.

    >>> percentiles([1, 2, 3, 4, 100], (50, 90))
    {50: 3, 90: 100}
    """
    times = np.asarray(values, np.int64)
    times = times[times != NEVER]
    if times.size == 0:
        return {}
    return {level: int(np.percentile(times, level, method="inverted_cdf")) for level in levels}


def decision_metrics(
    times: DecisionTimes, *, method: str | None = None, where: Where | None = "chip", seed: int | None = None
) -> tuple[Metric, ...]:
    """Return the median times to the first output spike and to the final decision, over the samples that have one.

    Times come from a device on which processing takes none: what is counted is how much of the recording was needed.
    """
    found = {"first_spike": times.first_us, "decision_time": times.settled_us}
    return tuple(
        Metric(
            name=name,
            value=percentiles(values, (50,))[50],
            unit=METRICS.get(name).unit,
            how="counted",
            n=int((values != NEVER).sum()),
            method=method,
            where=where,
            seed=seed,
            note=f"of {values.size} samples",
        )
        for name, values in found.items()
        if (values != NEVER).any()
    )


def latency_metrics(
    timings: Sequence[TimingTrace],
    profile: ChipProfile,
    *,
    method: str | None = None,
    where: Where | None = "chip",
    seed: int | None = None,
) -> tuple[Metric, ...]:
    """Return median and 99th percentile of the latency of output spikes, and stalled sends a sample; all modelled."""
    if not timings:
        raise DataError("no timed runs to take latencies from")
    common: dict[str, Any] = {"how": "modelled", "method": method, "where": where, "seed": seed}
    common["source"] = timing_source(profile)
    values = _latencies(timings)
    found = percentiles(values, (50, 99))
    loads = [load for timing in timings for load in (*timing.load.values(), timing.input_load)]
    stalls = sum(load.stalls for load in loads) / len(timings)
    metrics = [Metric(name="stalls_per_sample", value=stalls, unit="stalls", n=len(timings), **common)]
    if found:
        note = f"over {values.size} output spikes"
        for name, level in (("latency_median", 50), ("latency_p99", 99)):
            value = found[level] / NS_PER_US
            metrics.append(Metric(name=name, value=value, unit="us", n=len(timings), note=note, **common))
    return tuple(metrics)


def latency_figure(timings: Sequence[TimingTrace], *, method: str, bins: int = _BINS) -> Figure | None:
    """Return the histogram of the latencies of output spikes with their percentiles; None where nothing came out."""
    values = _latencies(timings)
    if values.size == 0:
        return None
    counts, edges = np.histogram(values, bins=bins, range=(0, max(int(values.max()), 1)))
    shares = {str(level): value for level, value in percentiles(values).items()}
    data: Mapping[str, Any] = {"counts": counts, "edges_ns": edges, "percentiles_ns": shares}
    return Figure(kind="latency", method=method, data=dict(data))


def timing_source(profile: ChipProfile) -> str:
    """Return the constants of a profile's timing with where they come from, in one line."""
    if profile.timing is None:
        raise DataError(f"chip profile {profile.name!r} states no timing")
    facts = []
    for name in ("event_ns", "synop_ns", "hop_ns", "fifo_depth", "overflow"):
        value, field = getattr(profile.timing, name), f"timing.{name}"
        if value is not None:
            facts.append((f"{name} {value}", profile.source(field).text if field in profile.sources else ""))
    return f"chip profile {profile.name!r}: {cite(facts)}"


def _latencies(timings: Sequence[TimingTrace]) -> NDArray[np.int64]:
    rows = [row for timing in timings for row in timing.latency_ns.values()]
    return np.concatenate(rows) if rows else np.zeros(0, np.int64)


def _settled(times: NDArray[np.int64], chosen: NDArray[np.int64]) -> int:
    if times.size == 0:
        return NEVER
    one_hot = np.zeros(
        (times.size, int(chosen.max()) + 2), np.int64
    )  # a class that never spikes: one alone can tie not
    one_hot[np.arange(times.size), chosen] = 1
    last_of_its_time = np.append(np.diff(times) > 0, True)
    moments = times[last_of_its_time]
    choice = decide(one_hot.cumsum(axis=0)[last_of_its_time]).choice
    if choice[-1] == UNDECIDED:
        return NEVER
    other = np.flatnonzero(choice != choice[-1])
    return int(moments[other[-1] + 1 if other.size else 0])


def _spikes(
    times_us: Sequence[ArrayLike], classes: Sequence[ArrayLike]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    if len(times_us) != len(classes) or not len(times_us):
        raise DataError(f"{len(times_us)} rows of times for {len(classes)} rows of classes; one of each a sample")
    spikes = []
    for sample, (row, column) in enumerate(zip(times_us, classes, strict=True)):
        times, chosen = np.asarray(row, np.int64).ravel(), np.asarray(column, np.int64).ravel()
        if times.shape != chosen.shape or (np.diff(times) < 0).any() or (times.size and times[0] < 0):
            raise DataError(f"sample {sample}: times must not fall or be negative, with one class each")
        if chosen.size and chosen.min() < 0:
            raise DataError(f"sample {sample}: classes must be indices from 0")
        spikes.append((times, chosen))
    return spikes
