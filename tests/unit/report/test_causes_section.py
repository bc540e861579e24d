"""Causes and faults in the report: tables whose differences add up, and plots that say what they show."""

from __future__ import annotations

import pytest

from chiploop.measure.figure import Figure
from chiploop.measure.record import RunRecord
from chiploop.report.causes import causes_table, difference_of
from chiploop.report.section import SECTIONS, Heading, Panels, Text
from chiploop.report.table import Table
from record_store import make_record


def causes(method: str, *, lost: tuple[float, float, float] = (0.04, 0.1, 0.2)) -> Figure:
    """Return three causes, the last beyond the chip; each loses what it is told to."""
    names = ["weights", "event-order", "mismatch"]
    accuracy = [0.9 - sum(lost[: i + 1]) for i in range(3)]
    return Figure(
        kind="causes",
        method=method,
        data={
            "causes": names,
            "accuracy": accuracy,
            "difference": [-value for value in lost],
            "low": [-value - 0.05 for value in lost],
            "high": [-value + 0.05 for value in lost],
            "n_lost": [10, 20, 40],
            "n_gained": [2, 0, 0],
            "p_value": [0.04, 0.001, 0.001],
            "layer": ["conv1", None, "fc1"],
            "measured": [False, True, False],
            "share": [value / (sum(lost) or 1.0) for value in lost],
            "layers": ["conv1", "fc1"],
            "correlation": [[0.9, 0.95], [1.0, None], [0.8, 0.7]],
            "ratio": [[1.0, 1.0], [1.1, None], [0.9, 0.8]],
            "classes": [{"0": -8}, {"1": -20}, {"2": -40}],
            "start": [0.9, 0.85, 0.95],
            "n": 200,
            "advice": [f"Advice for {method}."],
        },
    )


def record(seed: int, *figures: Figure) -> RunRecord:
    return make_record(seed, methods=("cnn",)).model_copy(update={"figures": figures, "id": f"explained-{seed}"})


def test_one_seed_has_its_paired_intervals() -> None:
    table = causes_table([causes("cnn").data])
    cells = [[cell.line for cell in row.cells] for row in table.rows]
    assert cells[0][:2] == ["the model itself", "90.0"]
    assert cells[1] == ["+ weights to integers", "86.0", "−4.0 [−9.0, +1.0]", "12 %", "0.900", "conv1"]
    assert cells[2] == [
        "+ event by event instead of window by window", "76.0", "−10.0 [−15.0, −5.0]", "29 %", "1.000", "–",
    ]  # fmt: skip
    assert "1 seed, 200 samples each" in table.caption
    assert "paired difference" in table.caption


def test_several_seeds_have_means_and_t_intervals() -> None:
    seeds = [causes("cnn").data, causes("cnn", lost=(0.06, 0.1, 0.2)).data]
    mean = difference_of(seeds, 0)
    # Two values 0.02 apart: s / sqrt(2) = 0.01, and t with one degree of freedom is 12.706.
    assert mean.value == pytest.approx(-0.05)
    assert mean.high - mean.value == pytest.approx(0.12706, rel=1e-4)
    table = causes_table(seeds)
    assert table.rows[1].cells[2].text == "−5.0"
    assert "t interval over seeds" in table.caption


def test_the_section_shows_every_method_its_table_and_its_advice() -> None:
    blocks = SECTIONS.get("causes").blocks([record(0, causes("cnn"), causes("bptt")), record(1, causes("cnn"))])
    assert [block.text for block in blocks if isinstance(block, Heading)] == ["cnn", "bptt"]
    tables = [block for block in blocks if isinstance(block, Table)]
    assert ["2 seeds" in table.caption for table in tables] == [True, False]
    assert [block.text for block in blocks if isinstance(block, Text)][1:] == [
        "Run 1: Advice for cnn.", "Run 2: Advice for cnn.", "Advice for bptt.",
    ]  # fmt: skip
    (plot,) = next(block for block in blocks if isinstance(block, Panels)).plots
    assert "Weights to integers −4.0" in plot.alt
    assert plot.svg.startswith("<svg")


def test_the_latest_explanation_of_a_seed_counts() -> None:
    later = record(0, causes("cnn", lost=(0.0, 0.0, 0.0))).model_copy(update={"id": "later"})
    blocks = SECTIONS.get("causes").blocks([record(0, causes("cnn")), later])
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert table.rows[1].cells[1].text == "90.0"


def test_faults_by_level_mark_what_was_trained_through_them() -> None:
    def levels(method: str, accuracy: list[float], *, through: bool) -> Figure:
        data = {
            "levels": [0.0, 1.0],
            "accuracy": accuracy,
            "low": [a - 0.1 for a in accuracy],
            "high": [a + 0.1 for a in accuracy],
            "n": 50,
            "faults": "LostEvents(share=0.2)",
            "trained_through": through,
        }
        return Figure(kind="fault-levels", method=method, data=data)

    figures = (levels("bptt", [0.9, 0.4], through=False), levels("cil-robust", [0.85, 0.8], through=True))
    blocks = SECTIONS.get("fault-levels").blocks([record(0, *figures)])
    panels, table = blocks
    assert isinstance(panels, Panels)
    assert "LostEvents(share=0.2)" in panels.caption
    assert isinstance(table, Table)
    assert [row.cells[0].text for row in table.rows] == ["bptt", "cil-robust *"]
    assert [row.cells[2].line for row in table.rows] == ["40.0 [30.0, 50.0]", "80.0 [70.0, 90.0]"]

    # A second seed 0.02 apart: mean 0.81, s / sqrt(2) = 0.01, t with one degree of freedom 12.706: held at 0..100 %.
    more = record(1, levels("cil-robust", [0.85, 0.82], through=True))
    _, table = SECTIONS.get("fault-levels").blocks([record(0, *figures), more])
    assert isinstance(table, Table)
    assert table.rows[1].cells[2].line == "81.0 [68.3, 93.7]"
    assert "t interval over 2 seeds" in table.caption


def test_without_figures_there_is_nothing_to_show() -> None:
    for name in ("causes", "fault-levels"):
        assert list(SECTIONS.get(name).blocks([])) == []
