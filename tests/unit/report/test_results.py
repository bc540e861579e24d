from __future__ import annotations

import pytest

from chiploop.measure.metric import Metric
from chiploop.measure.record import Host, RunRecord
from chiploop.report.paper import PAPER
from chiploop.report.results import Results, results_table
from record_store import SHARES, make_record


def _record(*metrics: Metric) -> RunRecord:
    return RunRecord(id="a", recipe={}, recipe_hash="0" * 8, seed=0, host=Host(cpu="x", cores=1), metrics=metrics)


def _accuracy(method: str, where: str, value: float, **more: object) -> Metric:
    return Metric(name="accuracy", value=value, unit="share", how="counted", method=method, where=where, **more)  # type: ignore[arg-type]


def test_rows_follow_the_record_and_columns_the_datas_way() -> None:
    record = _record(_accuracy("zeta", "chip", 0.5), _accuracy("alpha", "software", 0.75))
    table = results_table([record])
    assert [column.title for column in table.columns][1:3] == ["Software", "Chip"]
    assert [[cell.text for cell in row.cells[:4]] for row in table.rows] == [
        ["zeta", "–", "50.0", "–"],
        ["alpha", "75.0", "–", "–"],
    ]


def test_the_papers_numbers_stand_below_ours_as_quoted() -> None:
    table = results_table([make_record(0)])
    quoted = {row.cells[0].text: [cell.text for cell in row.cells[1:6]] for row in table.rows if row.quoted}
    # Liu et al. 2024, Table 1, digit by digit; the gap is the difference of the two printed values
    assert quoted == {
        "cnn": ["97.39", "–", "96.89", "91.75", "−5.64"],
        "cnn-qat": ["95.98", "–", "93.33", "92.15", "−3.83"],
        "bptt": ["97.56", "–", "–", "95.24", "−2.32"],
        "cil-bptt": ["96.66", "–", "–", "95.71", "−0.95"],
    }
    assert all(row.cells[0].detail == "(paper, quoted)" for row in table.rows if row.quoted)
    names = [row.cells[0].text for row in table.rows if not row.quoted]
    assert names == list(SHARES)
    assert not any(row.quoted for row in results_table([make_record(0)], quote=False).rows)


def test_quoted_metrics_say_so() -> None:
    assert {metric.how for metric in PAPER} == {"quoted"}
    assert all("Table 1" in (metric.source or "") for metric in PAPER)
    assert len(PAPER) == 14


def test_a_gap_without_pairs_is_the_difference_and_has_no_interval() -> None:
    results = Results.of([_record(_accuracy("bptt", "software", 0.9), _accuracy("bptt", "chip", 0.8))])
    gap = results.gap("bptt")
    assert gap is not None
    assert gap.value == pytest.approx(-0.1)
    assert gap.low is None
    assert results.gap("cnn") is None


def test_accuracies_by_potential_are_marked_and_never_hide_the_strict_one() -> None:
    loose = _accuracy("bptt", "chip", 0.9, ties="potential")
    strict = _accuracy("bptt", "chip", 0.8, ties="wrong")
    assert results_table([_record(loose, strict)]).rows[0].cells[1].text == "80.0"
    table = results_table([_record(loose)])
    assert table.rows[0].cells[1].text == "90.0*"
    assert "*" in table.caption


def test_layers_do_not_stand_in_for_the_network() -> None:
    layer = Metric(name="spikes_per_sample", value=7, unit="spikes", how="counted", method="a", layer="fc")
    assert Results.of([_record(layer)]).find("spikes_per_sample", "a") is None


def test_no_record_gives_an_empty_table_that_says_so() -> None:
    table = results_table([])
    assert table.rows == ()
    assert "No accuracy" in table.to_text()
