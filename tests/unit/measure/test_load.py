"""The load of cores, by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.chip.profile import read_profile
from chiploop.chip.timing import CoreLoad, TimingTrace
from chiploop.errors import DataError
from chiploop.measure.load import core_load_figure, core_rates, rate_metrics

SPECK = read_profile("speck2f")


def trace(**layers: dict[str, list[int]]) -> BatchTrace:
    tables = {}
    for layer, columns in layers.items():
        tables[layer] = np.zeros((2, len(COUNTER_NAMES)), np.int64)
        for name, values in columns.items():
            tables[layer][:, COUNTER_NAMES.index(name)] = values
    blank = np.zeros((2, 3))
    return BatchTrace(output_counts=blank.astype(np.int64), output_potentials=blank.astype(np.int16), counters=tables)


RUN = trace(conv={"synops": [1_000, 9_000], "events_in": [10, 30]}, fc={"synops": [100, 100], "events_in": [0, 0]})
SPANS = [1_000, 3_000]


def timed(conv: CoreLoad, fc: CoreLoad | None = None) -> TimingTrace:
    return TimingTrace(
        latency_ns={}, output_ns={}, load={"conv": conv, "fc": fc or CoreLoad()}, input_load=CoreLoad(), end_ns=0
    )


def test_rates_by_hand() -> None:
    conv, fc = core_rates(RUN, SPANS, SPECK)
    assert (conv.layer, conv.synops_per_s, conv.busiest_synops_per_s) == ("conv", 2_500_000, 3_000_000)
    assert (fc.synops_per_s, fc.busiest_synops_per_s) == (50_000, 100_000)
    assert conv.limit == SPECK.timing.max_synops_per_s == 30_000_000  # type: ignore[union-attr]
    assert conv.peak_synops_per_s is conv.busy is conv.stalls is None
    assert not conv.over_limit


def test_timed_runs_add_peaks_queues_and_congestion() -> None:
    runs = [
        timed(CoreLoad(busy_ns=250_000, wait_ns=100, stalls=2, stalled_ns=70, dropped=1, fifo_peak=3, peak_synops=900)),
        timed(CoreLoad(busy_ns=750_000, wait_ns=300, stalls=1, stalled_ns=30, dropped=4, fifo_peak=9, peak_synops=800)),
    ]
    conv, fc = core_rates(RUN, SPANS, SPECK, timings=runs)
    assert conv.peak_synops_per_s == 900_000  # 900 within a millisecond
    assert conv.busy == pytest.approx(1_000_000 / 4_000_000)
    assert conv.wait_ns == 400 / 40
    assert (conv.stalls, conv.stalled_ns, conv.dropped, conv.fifo_peak) == (3, 100, 5, 9)
    assert (fc.busy, fc.wait_ns) == (0.0, 0.0)  # no event ever came


def test_the_limit_is_held_against_the_busiest_millisecond() -> None:
    calm = core_rates(RUN, SPANS, SPECK)[0]
    assert not calm.over_limit
    assert dataclasses.replace(calm, peak_synops_per_s=30_000_001).over_limit
    assert not dataclasses.replace(calm, peak_synops_per_s=30_000_000).over_limit
    assert dataclasses.replace(calm, limit=2_999_999).over_limit
    assert not dataclasses.replace(calm, limit=None).over_limit


def test_the_busiest_core_is_the_metric() -> None:
    (metric,) = rate_metrics(core_rates(RUN, SPANS, SPECK), n=2, method="bptt")
    assert (metric.name, metric.value, metric.unit, metric.how) == ("synop_rate", 2_500_000, "synops/s", "counted")
    assert metric.note == "layer 'conv'; the profile's limit is 30,000,000 a core"
    assert rate_metrics(core_rates(RUN, SPANS, read_profile("ideal")), n=2)[0].note == "layer 'conv'"


def test_the_figure_has_columns_of_timed_runs_only_where_there_were_some() -> None:
    figure = core_load_figure(core_rates(RUN, SPANS, SPECK), method="bptt")
    assert figure.data == {
        "layers": ["conv", "fc"],
        "limit": 30_000_000,
        "synops_per_s": [2_500_000, 50_000],
        "busiest_synops_per_s": [3_000_000, 100_000],
    }
    both = [timed(CoreLoad(stalls=2)), timed(CoreLoad())]
    loaded = core_load_figure(core_rates(RUN, SPANS, read_profile("ideal"), timings=both), method="bptt")
    assert loaded.data["stalls"] == [2, 0]
    assert loaded.data["limit"] is None
    with pytest.raises(DataError, match="no cores"):
        core_load_figure([], method="bptt")


def test_spans_and_timed_runs_are_one_a_sample() -> None:
    with pytest.raises(DataError, match="span of at least 1 us"):
        core_rates(RUN, [1_000], SPECK)
    with pytest.raises(DataError, match="span of at least 1 us"):
        core_rates(RUN, [1_000, 0], SPECK)
    with pytest.raises(DataError, match="1 timed runs for 2 samples"):
        core_rates(RUN, SPANS, SPECK, timings=[timed(CoreLoad())])
