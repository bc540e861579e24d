"""How busy each core is: its synaptic updates a second against the chip's limit, and what congestion did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.chip.profile import ChipProfile
from chiploop.chip.timing import CoreLoad, TimingTrace
from chiploop.errors import DataError
from chiploop.measure.figure import Figure
from chiploop.measure.metric import METRICS, Metric, Where

US_PER_S = 1_000_000
MS_PER_S = 1_000
NS_PER_US = 1_000


@dataclass(frozen=True, kw_only=True)
class CoreRate:
    """What one core had to do, over all samples of a batch.

    `synops_per_s`: updates over recorded time. `busiest_synops_per_s`: of the sample that asks most of it. What follows
    is None without timed runs: `peak_synops_per_s` in the busiest millisecond, `busy` as a share of the recorded
    time, `wait_ns` a waiting event on average, and totals of stalls and drops. `limit` is the profile's, if any.
    """

    layer: str
    synops_per_s: float
    busiest_synops_per_s: float
    limit: int | None
    peak_synops_per_s: float | None = None
    busy: float | None = None
    wait_ns: float | None = None
    stalls: int | None = None
    stalled_ns: int | None = None
    dropped: int | None = None
    fifo_peak: int | None = None

    @property
    def over_limit(self) -> bool:
        """Whether the core is asked for more than its limit, in the busiest millisecond or else the busiest sample."""
        asked = self.busiest_synops_per_s if self.peak_synops_per_s is None else self.peak_synops_per_s
        return self.limit is not None and asked > self.limit


def core_rates(
    trace: BatchTrace, spans_us: ArrayLike, profile: ChipProfile, *, timings: Sequence[TimingTrace] = ()
) -> tuple[CoreRate, ...]:
    """Return one rate a core; `spans_us` [B] is how long each sample lasted, `timings` [B] or empty its timed run."""
    spans = np.asarray(spans_us, np.int64)
    sizes = {len(table) for table in trace.counters.values()}
    if sizes != {spans.size} or spans.ndim != 1 or (spans < 1).any():
        raise DataError(f"{sorted(sizes)} samples counted; give a span of at least 1 us for each, not {spans.tolist()}")
    if timings and len(timings) != spans.size:
        raise DataError(f"{len(timings)} timed runs for {spans.size} samples; give one each, or none")
    limit = None if profile.timing is None else profile.timing.max_synops_per_s
    return tuple(
        _rate(layer, table, spans, limit, [timing.load[layer] for timing in timings if layer in timing.load])
        for layer, table in trace.counters.items()
    )


def rate_metrics(
    rates: Sequence[CoreRate],
    *,
    n: int,
    method: str | None = None,
    where: Where | None = "chip",
    seed: int | None = None,
) -> tuple[Metric, ...]:
    """Return the rate of the busiest core, counted over the recorded time of n samples."""
    busiest = max(rates, key=lambda rate: rate.synops_per_s)
    limit = "" if busiest.limit is None else f"; the profile's limit is {busiest.limit:,} a core"
    return (
        Metric(
            name="synop_rate",
            value=busiest.synops_per_s,
            unit=METRICS.get("synop_rate").unit,
            how="counted",
            n=n,
            method=method,
            where=where,
            seed=seed,
            note=f"layer {busiest.layer!r}{limit}",
        ),
    )


def core_load_figure(rates: Sequence[CoreRate], *, method: str) -> Figure:
    """Return the cores' rates for the report; columns of timed runs only where there were some."""
    if not rates:
        raise DataError("no cores to show the load of")
    columns: tuple[str, ...] = ("synops_per_s", "busiest_synops_per_s")
    if rates[0].busy is not None:
        columns = (*columns, "peak_synops_per_s", "busy", "wait_ns", "stalls", "stalled_ns", "dropped", "fifo_peak")
    data = {column: [getattr(rate, column) for rate in rates] for column in columns}
    layers = [rate.layer for rate in rates]
    return Figure(kind="core-load", method=method, data={"layers": layers, "limit": rates[0].limit, **data})


def _rate(
    layer: str, table: NDArray[np.int64], spans: NDArray[np.int64], limit: int | None, loads: Sequence[CoreLoad]
) -> CoreRate:
    synops, events = (table[:, COUNTER_NAMES.index(name)] for name in ("synops", "events_in"))
    rate = CoreRate(
        layer=layer,
        synops_per_s=float(synops.sum() * US_PER_S / spans.sum()),
        busiest_synops_per_s=float((synops * US_PER_S / spans).max()),
        limit=limit,
    )
    if not loads:
        return rate
    waiting = int(events.sum())
    return CoreRate(
        layer=layer,
        synops_per_s=rate.synops_per_s,
        busiest_synops_per_s=rate.busiest_synops_per_s,
        limit=limit,
        peak_synops_per_s=float(max(load.peak_synops for load in loads) * MS_PER_S),
        busy=sum(load.busy_ns for load in loads) / float(spans.sum() * NS_PER_US),
        wait_ns=sum(load.wait_ns for load in loads) / waiting if waiting else 0.0,
        stalls=sum(load.stalls for load in loads),
        stalled_ns=sum(load.stalled_ns for load in loads),
        dropped=sum(load.dropped for load in loads),
        fifo_peak=max(load.fifo_peak for load in loads),
    )
