"""Rows become lines and curves: ratios are worked out round by round, aims are held to the median."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from chiploop.bench.benchmark import Aim, BenchOptions, Outcome, Row, in_turn
from chiploop.bench.plots import bench_plots
from chiploop.bench.record import BenchRecord, new_bench_record, read_bench_records, write_bench_record
from chiploop.bench.tables import aims_table, measured_table, quantity
from chiploop.errors import DataError

OURS = Row(what="a step", who="chiploop", unit="s", better="lower", values=(0.1, 0.2, 0.1), setting={"T": 20})
PEER = Row(what="a step", who="norse", unit="s", better="lower", values=(0.3, 0.5, 0.4), setting={"T": 20})
LONGER = Row(what="a step", who="chiploop", unit="s", better="lower", values=(0.3, 0.4), setting={"T": 40})


def aim(value: float, better: str) -> Aim:
    return Aim(
        what="times as fast",
        unit="x",
        better=better,  # type: ignore[arg-type]
        wanted=2.0,
        value=value,
        low=value - 1.0,
        high=value + 1.0,
        limit="memory",
    )


def record(*rows: Row, aims: tuple[Aim, ...] = ()) -> BenchRecord:
    return new_bench_record("training", BenchOptions(), Outcome(rows=rows, aims=aims, notes=("On paper.",)))


def test_a_peer_is_compared_round_by_round() -> None:
    """3, 2.5 and 4 times: the median is 3, not the ratio of the medians, 4."""
    assert PEER.ratio_to(OURS) == (pytest.approx(3.0), pytest.approx(2.5), pytest.approx(4.0))
    lines = [[cell.line for cell in row.cells] for row in measured_table(record(OURS, PEER, LONGER)).rows]
    assert lines[0] == ["a step", "T 20", "chiploop", "100 ms", "100 ms to 200 ms", "–"]
    assert lines[1][2:] == ["norse", "400 ms", "300 ms to 500 ms", "3.00 x (2.50 to 4.00)"]
    assert lines[2][-1] == "–"


def test_one_work_in_two_units_is_compared_unit_by_unit() -> None:
    rates = [dataclasses.replace(row, unit="steps/s", better="higher", values=(9.0,)) for row in (OURS, PEER)]
    both = record(OURS, PEER, *rates)
    lines = [row.cells[-1].text for row in measured_table(both).rows]
    assert lines == ["–", "3.00 x (2.50 to 4.00)", "–", "1.00 x (1.00 to 1.00)"]
    names = [plot.name for plot in bench_plots(both)]
    assert names == ["bench-training-a-step-t-20-s", "bench-training-a-step-t-20-steps-s"]


def test_rates_are_compared_the_other_way_round() -> None:
    fast = Row(what="bin", who="chiploop", unit="rec/s", better="higher", values=(40.0, 60.0))
    slow = Row(what="bin", who="numpy", unit="rec/s", better="higher", values=(20.0, 20.0))
    assert measured_table(record(fast, slow)).rows[1].cells[-1].text == "2.50 x (2.00 to 3.00)"


@pytest.mark.parametrize(
    ("value", "better", "said"), [(2.0, "higher", "yes"), (1.9, "higher", "no"), (2.1, "lower", "no")]
)
def test_an_aim_is_reached_by_its_median(value: float, better: str, said: str) -> None:
    cells = aims_table([record(OURS, aims=(aim(value, better),))]).rows[0].cells
    assert cells[3].text == said
    worst, best = (value - 1.0, value + 1.0) if better == "higher" else (value + 1.0, value - 1.0)
    assert cells[2].line == f"{value:.3g} x [{worst:.3g} x, {best:.3g} x]"


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = record(OURS, PEER, aims=(aim(2.5, "higher"),))
    path = write_bench_record(tmp_path / "deep", made)
    assert read_bench_records(tmp_path) == [made]
    path.write_text(path.read_text(encoding="utf-8").replace('"rows"', '"lines"'), encoding="utf-8")
    with pytest.raises(DataError, match=path.name):
        read_bench_records(tmp_path)


def test_a_value_that_is_no_number_makes_no_record() -> None:
    broken = Row(what="a step", who="chiploop", unit="s", better="lower", values=(0.1, float("nan")))
    with pytest.raises(DataError, match="chiploop"):
        record(broken)


def test_equal_work_makes_bars_and_a_changing_number_a_curve() -> None:
    plots = bench_plots(record(OURS, PEER, LONGER))
    assert [plot.name for plot in plots] == ["bench-training-a-step-t-20-s", "bench-training-a-step-over-t-s"]
    assert "norse 400 ms" in plots[0].alt
    assert all(plot.svg.startswith("<svg") for plot in plots)


def test_everybody_works_once_a_round_and_the_first_round_does_not_count() -> None:
    done: list[str] = []
    taken = in_turn({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, rounds=2)
    assert done == ["a", "b"] * 3
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 2, "b": 2}


def test_units_are_scaled() -> None:
    assert [quantity(3e-5, "s"), quantity(17.0, "events/s"), quantity(512.0, "bytes")] == [
        "30 µs",
        "17 events/s",
        "512 B",
    ]
