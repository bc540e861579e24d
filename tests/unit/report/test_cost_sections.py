"""The sections on energy and on time: what they show, and that they stay away where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chiploop.measure.figure import Figure
from chiploop.measure.record import RunRecord
from chiploop.report.section import SECTIONS, Block, Heading, Panels, Text
from chiploop.report.table import Table
from cost_records import METHODS, make_cost_record
from record_store import LAYERS, make_record


@pytest.fixture(scope="module")
def one() -> RunRecord:
    return make_cost_record(0)


def blocks(name: str, records: Sequence[RunRecord]) -> Sequence[Block]:
    return SECTIONS.get(name).blocks(records)


def tables(name: str, records: Sequence[RunRecord]) -> list[Table]:
    return [block for block in blocks(name, records) if isinstance(block, Table)]


def value(record: RunRecord, name: str, method: str, where: str) -> float:
    (found,) = (m.value for m in record.metrics if (m.name, m.method, m.where, m.layer) == (name, method, where, None))
    return found


@pytest.mark.parametrize("name", ["energy", "latency"])
def test_without_costs_there_is_no_section(name: str) -> None:
    assert blocks(name, [make_record(0, methods=("cnn",), n_events=10)]) == []
    assert blocks(name, []) == []


def test_every_method_has_a_row_at_every_place_with_an_energy(one: RunRecord) -> None:
    costs, _ = tables("energy", [one])
    places = [(row.cells[0].text, row.cells[1].text) for row in costs.rows]
    assert places == [
        ("cnn", "Software"),
        *(("", place) for place in ("Int-sync", "Accelerator", "Chip")),
        ("bptt", "Software"),
        *(("", place) for place in ("Int-sync", "Chip")),
        ("cil-bptt", "Software"),
        *(("", place) for place in ("Int-sync", "Chip")),
    ]
    assert costs.caption.startswith("Modelled, not measured")


def test_rows_hold_the_records_numbers(one: RunRecord) -> None:
    costs, _ = tables("energy", [one])
    frame, chip, windows = costs.rows[0].cells, costs.rows[3].cells, costs.rows[5].cells
    assert frame[3].text == f"{value(one, 'macs_per_sample', 'cnn', 'software'):,.0f} MACs"
    assert frame[4].text == f"{value(one, 'operation_energy_per_sample', 'cnn', 'software'):.3g} µJ"
    assert (frame[4].detail, frame[5].text) == ("", "–")
    synops = next(
        m.value
        for m in one.metrics
        if (m.name, m.method, m.where, m.layer) == ("synops_per_sample", "cnn", "chip", None)
    )
    assert chip[3].text == f"{synops:,.0f} synaptic updates"
    assert " to " in chip[4].detail
    assert chip[5].text == f"{value(one, 'energy_per_sample', 'cnn', 'chip'):.3g} µJ"
    assert windows[3].text == f"{value(one, 'acs_per_sample', 'bptt', 'int-sync'):,.0f} ACs"
    assert windows[3].detail == "120,000 neuron updates"


def test_prices_are_listed_once_with_the_places_they_were_used_for(one: RunRecord) -> None:
    prices = tables("energy", [one])[1]
    used = [(row.cells[0].text, row.cells[1].text.split(" (")[0]) for row in prices.rows]
    assert used == [
        ("Software", "multiply-accumulate"),
        ("Int-sync, Accelerator", "multiply-accumulate"),
        ("Chip", "synaptic update 1.5 to 26 pJ"),
        ("Software", "accumulate"),
        ("Int-sync", "accumulate"),
    ]
    chip = prices.rows[2].cells
    assert "assumed, after Tang et al. 2023" in chip[1].text
    assert "microsecond at rest 420 pJ" in chip[1].text
    assert "no price of their own: spikes" in chip[2].text


def test_over_seeds_the_chip_keeps_its_range() -> None:
    costs, _ = tables("energy", [make_cost_record(seed, methods=("cnn",)) for seed in (0, 1)])
    software, chip = costs.rows[0].cells[4], costs.rows[3].cells[4]
    assert software.detail.startswith("± ")
    assert " to " in chip.detail


def test_two_experiments_have_a_table_each(one: RunRecord) -> None:
    other = one.model_copy(update={"recipe": {"name": "wide", "seed": 0}, "id": "wide"})
    headings = [block.text for block in blocks("energy", [one, other]) if isinstance(block, Heading)]
    assert headings == ["nmnist-table", "wide"]
    assert len(tables("energy", [one, other])) == 4
    plots = [plot.name for block in blocks("energy", [one, other]) if isinstance(block, Panels) for plot in block.plots]
    assert plots == ["energy-accuracy-1", "energy-accuracy-2"]


def test_time_shows_curve_times_latencies_and_load(one: RunRecord) -> None:
    shown = blocks("latency", [one])
    kinds = [type(block).__name__ for block in shown]
    assert kinds == ["Panels", "Table", "Text", "Panels", "Panels", "Table"]
    names = [plot.name for block in shown if isinstance(block, Panels) for plot in block.plots]
    numbers = (1, 2, 3)
    assert names == ["anytime", *(f"latency-{i}" for i in numbers), *(f"core-load-{i}" for i in numbers)]
    (sentence,) = (block.text for block in shown if isinstance(block, Text))
    assert sentence.startswith("Times on the chip are modelled from: chip profile 'speck2f': event_ns 287")


def test_times_are_the_records(one: RunRecord) -> None:
    times = tables("latency", [one])[0]
    assert [row.cells[0].text for row in times.rows] == list(METHODS)
    found = {m.name: m.value for m in one.metrics if m.method == "bptt" and m.layer is None}
    cells = [cell.text for cell in times.rows[1].cells[1:]]
    assert cells == [
        f"{found['first_spike'] / 1_000:.3g} ms",
        f"{found['decision_time'] / 1_000:.3g} ms",
        f"{found['latency_median']:.3g} µs",
        f"{found['latency_p99']:.3g} µs",
        f"{found['stalls_per_sample']:.3g}",
    ]


def test_congestion_is_told_core_by_core(one: RunRecord) -> None:
    congestion = tables("latency", [one])[1]
    assert len(congestion.rows) == len(METHODS) * len(LAYERS)
    data = next(f.data for f in one.figures if f.kind == "core-load" and f.method == "cnn")
    first = [cell.text for cell in congestion.rows[0].cells]
    assert first[:3] == ["cnn", "conv1", f"{100 * data['peak_synops_per_s'][0] / 30_000_000:.1f}"]
    assert first[6] == str(data["stalls"][0])
    assert congestion.rows[1].cells[0].text == ""


def test_untimed_runs_have_rates_and_no_congestion() -> None:
    shown = blocks("latency", [make_cost_record(0, timed=False)])
    assert [type(block).__name__ for block in shown] == ["Panels", "Table", "Panels"]
    (times,) = (block for block in shown if isinstance(block, Table))
    assert [cell.text for cell in times.rows[0].cells[3:]] == ["–", "–", "–"]


def test_silent_cores_and_unlimited_chips_leave_gaps_and_do_not_fail(one: RunRecord) -> None:
    load = {"layers": ["a", "b"], "limit": None, "synops_per_s": [0.0, 5.0], "busiest_synops_per_s": [0.0, 9.0]}
    timed = {"peak_synops_per_s": [0.0, 9.0], "busy": [0.0, 0.5], "wait_ns": [0.0, 12.5]}
    congested = {"stalls": [0, 1], "stalled_ns": [0, 4], "dropped": [0, 7], "fifo_peak": [0, 2]}
    silent = {"at_us": [1, 2], "accuracy": [0.0, 0.0], "low": [0.0, 0.0], "high": [0.1, 0.1], "n": 30}
    figures = (
        Figure(kind="core-load", method="x", data={**load, **timed, **congested}),
        Figure(kind="anytime", method="x", data=silent),
    )
    bare = one.model_copy(update={"figures": figures, "metrics": ()})
    (congestion,) = tables("latency", [bare])
    assert [cell.text for cell in congestion.rows[1].cells] == [
        *("", "b", "–", "50.0", "12.5 ns", "2", "1", "4 ns", "7")
    ]


def test_energies_without_an_accuracy_are_not_lost(one: RunRecord) -> None:
    accuracy = [m for m in one.metrics if m.name == "accuracy" and m.where == "chip"]
    kept = tuple(m for m in one.metrics if m.name != "accuracy" or m in accuracy)
    costs, _ = tables("energy", [one.model_copy(update={"metrics": kept})])
    assert len(costs.rows) == 10
    assert costs.rows[0].cells[2].text == "–"


def test_modelled_numbers_are_told_from_counted_ones(one: RunRecord) -> None:
    (origins,) = tables("origins", [one])
    found = {row.cells[0].text: row.cells[1].text for row in origins.rows}
    assert "Energy a sample, rest included" in found["modelled"]
    assert "Energy" not in found["measured"] + found["counted"]
    assert "Multiply-accumulates a sample" in found["counted"]
