"""Energies by hand: counts times prices, and that a modelled number cannot pass for a measured one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.chip.profile import ChipProfile, parse_profile, read_profile
from chiploop.errors import DataError
from chiploop.measure.energy import Price, chip_prices, energy_metrics, energy_of, modelled_energy
from chiploop.measure.metric import Metric

PRICED = """
name = "priced"
revision = "1"
cores = [{ kernel_words = 64, neuron_words = 32, bias_words = 8 }]
rest_power_uw = 100
[energy]
synop_pj = [2.0, 8.0]
event_pj = [1.0, 4.0]
spike_pj = [10.0, 10.0]
[references]
sheet = "Sheet of the chip, page 3"
[sources]
cores = "assumed"
rest_power_uw = "measured"
energy.synop_pj = "datasheet: sheet"
energy.event_pj = "assumed"
energy.spike_pj = "assumed"
[notes]
"energy.event_pj" = "a guess"
"""


def priced() -> ChipProfile:
    return parse_profile(PRICED, where="text")


def trace(**layers: dict[str, list[int]]) -> BatchTrace:
    n = len(next(iter(next(iter(layers.values())).values())))
    tables = {}
    for layer, columns in layers.items():
        tables[layer] = np.zeros((n, len(COUNTER_NAMES)), np.int64)
        for name, values in columns.items():
            tables[layer][:, COUNTER_NAMES.index(name)] = values
    return BatchTrace(
        output_counts=np.zeros((n, 2), np.int64), output_potentials=np.zeros((n, 2), np.int16), counters=tables
    )


RUN = trace(
    conv={"synops": [1_000, 3_000], "events_in": [50, 70], "spikes": [5, 15], "clocked": [0, 400]},
    fc={"synops": [100, 300], "events_in": [5, 15], "spikes": [1, 2]},
)


def test_energy_by_hand() -> None:
    operations, whole = energy_metrics(RUN, priced(), spans_us=[1_000, 3_000], method="bptt", seed=2)
    # 4,400 synops and 400 clocked updates at 2..8 pJ, 140 events at 1..4 pJ, 23 spikes at 10 pJ; two samples
    low, middle, high = 4_800 * 2 + 140 + 230, 4_800 * 4 + 280 + 230, 4_800 * 8 + 560 + 230
    assert operations.name == "operation_energy_per_sample"
    assert (operations.low, operations.value, operations.high) == pytest.approx((low / 2e6, middle / 2e6, high / 2e6))
    # 100 uW for 4 ms: 400,000 pJ
    assert whole.name == "energy_per_sample"
    rest = 400_000 / 2e6
    assert (whole.low, whole.value, whole.high) == pytest.approx(
        (low / 2e6 + rest, middle / 2e6 + rest, high / 2e6 + rest)
    )
    for metric in (operations, whole):
        assert (metric.how, metric.interval, metric.unit, metric.n) == ("modelled", "range", "uJ", 2)
        assert (metric.method, metric.where, metric.seed) == ("bptt", "chip", 2)


def test_the_source_names_every_price_and_its_origin() -> None:
    operations, whole = energy_metrics(RUN, priced(), spans_us=[1, 1])
    assert operations.source == (
        "synaptic update 2 to 8 pJ, update by the slow clock 2 to 8 pJ (datasheet: Sheet of the chip, page 3); "
        "event 1 to 4 pJ (assumed: a guess); spike 10 pJ (assumed)"
    )
    assert whole.source == f"{operations.source}; microsecond at rest 100 pJ (measured)"
    assert operations.note == "chip profile 'priced'"


def test_what_has_no_price_is_named() -> None:
    operations, _ = energy_metrics(RUN, read_profile("speck2f"), spans_us=[1, 1])
    assert operations.note == "chip profile 'speck2f'; no price of their own: spikes"
    assert operations.source is not None
    assert "spike " not in operations.source


def test_without_ticks_the_slow_clock_has_no_part() -> None:
    still = trace(fc={"synops": [10], "events_in": [2], "spikes": [1]})
    operations = energy_metrics(still, priced(), spans_us=[10])[0]
    assert operations.source is not None
    assert "slow clock" not in operations.source
    assert operations.low == pytest.approx((20 + 2 + 10) / 1e6)


def test_a_chip_without_prices_has_no_energy_and_without_rest_power_none_with_rest() -> None:
    assert energy_metrics(RUN, read_profile("ideal"), spans_us=[1, 1]) == ()
    assert [m.name for m in energy_metrics(RUN, read_profile("mini"), spans_us=[1, 1])] == [
        "operation_energy_per_sample"
    ]


def test_rest_dominates_a_short_run_on_speck_as_published() -> None:
    # N-MNIST on this family is published at 0.14 to 0.18 mJ a recording of 0.3 s: nearly all of it is rest
    one = trace(conv={"synops": [410_000], "events_in": [10_000], "spikes": [5_000]})
    whole = energy_metrics(one, read_profile("speck2f"), spans_us=[300_000])[1]
    assert whole.low is not None
    assert whole.high is not None
    assert 126 < whole.low < whole.value < whole.high < 180


def test_prices_of_shipped_chips() -> None:
    prices = chip_prices(read_profile("speck2f"))
    assert (prices["synops"].low_pj, prices["synops"].high_pj) == (1.5, 26.0)
    assert prices["clocked"].low_pj == prices["synops"].low_pj
    assert prices["rest_us"].low_pj == prices["rest_us"].high_pj == 420.0
    assert "Yao et al. 2024" in prices["rest_us"].source
    assert prices["synops"].source.startswith("assumed, after Tang et al. 2023")


@pytest.mark.parametrize("how", ["measured", "counted", "quoted"])
def test_a_modelled_energy_never_passes_for_another_kind(how: str) -> None:
    for metric in energy_metrics(RUN, priced(), spans_us=[1, 1]):
        with pytest.raises(DataError, match=rf"how is '{how}'|is {how}; a range of assumptions"):
            dataclasses.replace(metric, how=how)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="how"):
        modelled_energy("energy_per_sample", {}, {}, n=1, method=None, where=None, seed=None, how=how)  # type: ignore[call-arg]


def test_a_board_may_report_an_energy_it_measured() -> None:
    measured = Metric(name="energy_per_sample", value=150.0, unit="uJ", how="measured", where="chip", n=10)
    assert measured.low is None
    with pytest.raises(DataError, match="it can be modelled or measured or quoted"):
        dataclasses.replace(measured, how="counted")


@pytest.mark.parametrize("spans", [[1], [1, 2, 3], [1.5, 2.0], [-1, 5]])
def test_every_sample_needs_a_length(spans: list[float]) -> None:
    with pytest.raises(DataError, match="one whole number of us"):
        energy_metrics(RUN, priced(), spans_us=spans)


@pytest.mark.parametrize(
    ("low", "high", "source"), [(0.0, 1.0, "x"), (2.0, 1.0, "x"), (1.0, math.inf, "x"), (1, 2, "")]
)
def test_a_price_is_positive_and_has_a_source(low: float, high: float, source: str) -> None:
    with pytest.raises(DataError, match=r"price of a synop"):
        Price(what="synop", low_pj=low, high_pj=high, source=source)


counts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 10**9))


@given(first=counts, second=counts)
def test_energy_is_additive(first: dict[str, int], second: dict[str, int]) -> None:
    prices = {name: Price(what=name, low_pj=1.0 + i, high_pj=9.0 * (1 + i), source="x") for i, name in enumerate("abc")}
    both = {name: first.get(name, 0) + second.get(name, 0) for name in "abc"}
    for one, two, sum_ in zip(
        energy_of(first, prices), energy_of(second, prices), energy_of(both, prices), strict=True
    ):
        assert one + two == pytest.approx(sum_)
    low, value, high = energy_of(both, prices)
    assert value == pytest.approx(math.sqrt(low * high))  # every price has the same ratio here
