from __future__ import annotations

import pytest

from chiploop.measure.metric import Metric
from chiploop.report.number import (
    count,
    count_cell,
    energy,
    energy_cell,
    microseconds,
    percent,
    real,
    seconds,
    seconds_cell,
    share_cell,
)
from chiploop.report.table import Cell


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0001, "0.0"),
        (0.0001, "0.0"),
        (-0.01, "−1.0"),
        (0.01, "+1.0"),
    ],
)
def test_signed_percentages_have_no_minus_zero(value: float, text: str) -> None:
    assert percent(value, signed=True) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (12_345, "12,345"),
        (99.96, "100"),
        (1234.4, "1,234"),
        (0.001234, "0.00123"),
        (-3.14159, "−3.14"),
    ],
)
def test_counts(value: float, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0005, "0.5 ms"),
        (1, "1 s"),
        (59.94, "59.9 s"),
        (60, "1.0 min"),
        (3600, "1.0 h"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 nJ"),
        (0.0000123, "0.0123 nJ"),
        (0.5, "500 nJ"),
        (1.0, "1 µJ"),
        (126.4, "126 µJ"),
        (1_500.0, "1.5 mJ"),
        (2_345_678.0, "2,346 mJ"),
    ],
)
def test_energies_in_fitting_units(value: float, text: str) -> None:
    assert energy(value) == text


def test_times_on_the_chip_in_fitting_units() -> None:
    assert [microseconds(value) for value in (0.373, 3.36, 300_000)] == ["373 ns", "3.36 µs", "300 ms"]


def test_an_energy_shows_what_its_prices_leave_open() -> None:
    fields = {"name": "energy_per_sample", "value": 2.0, "unit": "uJ", "how": "modelled", "source": "prices"}
    plain = Metric(**fields)  # type: ignore[arg-type]
    ranged = Metric(**fields, low=0.5, high=1_200.0, interval="range")  # type: ignore[arg-type]
    assert energy_cell(plain) == Cell("2 µJ")
    assert energy_cell(ranged) == Cell("2 µJ", "500 nJ to 1.2 mJ")
    seeds = Metric(**fields, low=1.5, high=2.5, interval="t", n_seeds=3)  # type: ignore[arg-type]
    assert energy_cell(seeds) == Cell("2 µJ", "± 500 nJ")
    assert energy_cell(None) == Cell("–")


def test_cells() -> None:
    accuracy = Metric(name="accuracy", value=0.95, unit="share", how="counted", low=0.921, high=0.97, ties="wrong")
    assert share_cell(accuracy) == Cell("95.0", "[92.1, 97.0]")
    by_potential = Metric(name="accuracy", value=0.95, unit="share", how="counted", ties="potential")
    assert share_cell(by_potential) == Cell("95.0*")
    gap = Metric(name="gap", value=-0.0232, unit="share", how="quoted", versus="software", where="chip", source="paper")
    assert share_cell(gap) == Cell("−2.32")
    spikes = Metric(name="spikes_per_sample", value=5000, unit="spikes", how="counted", low=4000, high=6000)
    assert count_cell(spikes) == Cell("5,000", "± 1,000")
    assert share_cell(None) == count_cell(None) == seconds_cell(None) == Cell("–")
    assert real(-0.5) == "−0.50"
