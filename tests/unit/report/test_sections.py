from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from chiploop.measure.figure import Figure
from chiploop.measure.record import RunRecord
from chiploop.report.plot import METHOD_COLOURS, colour
from chiploop.report.section import SECTIONS, Panels, first_figures, sections
from chiploop.report.table import Table
from record_store import make_record


@pytest.fixture(scope="module")
def one() -> RunRecord:
    return make_record(0, methods=("cnn", "cil-bptt"))


def _tables(name: str, records: Sequence[RunRecord]) -> list[Table]:
    return [block for block in SECTIONS.get(name).blocks(records) if isinstance(block, Table)]


def test_sections_come_in_the_order_of_the_story() -> None:
    story = ["summary", "gap", "if-response", "weights", "rasters", "learning", "correlation", "rates", "quantisation"]
    names = [name for name, _ in sections()]
    assert [name for name in names if name in story] == story
    assert names[-2:] == ["origins", "reproduce"]  # whatever is added in between


def test_the_waterfall_shows_every_stage_and_its_steps(one: RunRecord) -> None:
    (panels,) = (block for block in SECTIONS.get("gap").blocks([one]) if isinstance(block, Panels))
    assert [plot.name for plot in panels.plots] == ["gap-1-cnn", "gap-1-cil-bptt"]
    (table,) = _tables("gap", [one])
    gaps = [m for m in one.metrics if m.name == "gap" and m.versus != "accelerator" and m.where != "accelerator"]
    assert len(table.rows) == len(gaps) == 6
    assert [row.cells[0].text for row in table.rows] == ["cnn", "", "", "cil-bptt", "", ""]
    first = gaps[0]
    assert table.rows[0].cells[2].text == f"{100 * first.value:+.1f}".replace("-", "−")


def test_figures_of_the_lowest_seed_are_shown_and_the_latest_of_it(one: RunRecord) -> None:
    later = one.model_copy(update={"id": "later"})
    other = make_record(1, methods=("cnn",))
    shown = first_figures([other, one, later], "rates")
    assert [(item.title, item.record.id) for item in shown] == [("cnn", "later"), ("cil-bptt", "later")]


def test_one_method_in_two_recipes_is_told_apart(one: RunRecord) -> None:
    other = one.model_copy(update={"recipe": {"name": "wide", "seed": 0}, "id": "wide"})
    titles = [item.title for item in first_figures([one, other], "rates")]
    assert titles == ["cnn (nmnist-table)", "cil-bptt (nmnist-table)", "cnn (wide)", "cil-bptt (wide)"]
    assert len(_tables("summary", [one, other])) == 2


def test_origins_tell_measured_from_counted_and_quoted(one: RunRecord) -> None:
    (table,) = _tables("origins", [one])
    found = {row.cells[0].text: row.cells[1].text for row in table.rows}
    assert list(found) == ["counted", "measured", "quoted"]
    assert found["measured"] == "Training time"
    assert found["quoted"] == "Accuracy, Difference in accuracy"
    assert "Accuracy" in found["counted"]
    assert "Training time" not in found["counted"]


def test_reproduction_names_recipe_hash_seed_and_command(one: RunRecord) -> None:
    (table,) = _tables("reproduce", [one])
    cells = [cell.text for cell in table.rows[0].cells]
    assert cells[0] == "nmnist-table"
    assert cells[1] == one.recipe_hash[:12]
    assert cells[2] == "0"
    assert cells[5] == "chiploop run nmnist-table --seed 0"
    blank = one.model_copy(update={"command": "", "stages": ()})
    assert _tables("reproduce", [blank])[0].rows[0].cells[5].text == "chiploop run nmnist-table --set seed=0"


def test_missing_values_leave_gaps_and_do_not_fail(one: RunRecord) -> None:
    figures = (
        Figure(kind="layer-correlation", method="x", data={"layers": ["a", "b"], "correlation": [None, 0.5]}),
        Figure(kind="rates", method="x", data={"layers": ["a", "b"], "spikes_per_sample": [0.0, 0.0]}),
        Figure(kind="learning-curve", method="x", data={"epoch": [], "train_loss": [], "validation": {}}),
        Figure(
            kind="raster",
            method="x",
            data={side: {"t_us": [], "address": [], "polarity": []} for side in ("input", "output")},
        ),
        Figure(
            kind="quantisation",
            method="x",
            data={
                "layers": ["a"],
                "scale": [0.5],
                "snr_db": [None],
                "clipped": [0],
                "zeroed": [1],
            },
        ),
    )
    bare = one.model_copy(update={"figures": figures, "metrics": ()})
    for name, section in sections():
        if name in ("summary", "rasters", "learning", "correlation", "rates", "quantisation", "reproduce"):
            assert section.blocks([bare]), name
    (table,) = _tables("correlation", [bare])
    assert [cell.text for cell in table.rows[0].cells] == ["x", "–", "0.500"]


def test_colours_are_fixed_and_apart_for_colour_blind_readers() -> None:
    assert len(set(METHOD_COLOURS.values())) == len(METHOD_COLOURS)
    assert colour("somebody's") == colour("somebody's")
    # Viénot 1999: what a deuteranope sees, as a linear map of linear RGB; two methods must still differ
    seen = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    points = []
    for text in METHOD_COLOURS.values():
        srgb = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        points.append(np.clip(seen @ srgb**2.2, 0, 1) ** (1 / 2.2))
    distances = [np.linalg.norm(a - b) for i, a in enumerate(points) for b in points[:i]]
    assert min(distances) > 0.1  # a tenth of the way from black to one primary


def test_a_silent_network_is_shown_as_it_is() -> None:
    windows = Figure(
        kind="windows",
        method="silent",
        data={
            "windows": [1, 10],
            "accuracy": [0.0, 0.0],
            "agreement": [1.0, 1.0],
            "relative_counts": [[None], [None]],
            "layers": ["fc1"],
            "chip_accuracy": 0.0,
        },
    )
    data = {"layers": ["fc1"], "spikes_per_sample": [0.0], "synops_per_sample": [0.0], "neurons": [10]}
    rates = Figure(kind="rates", method="silent", data=data)
    record = make_record(0, methods=("cnn",)).model_copy(update={"figures": (windows, rates), "id": "silent"})
    for name in ("windows", "rates"):
        (panels,) = (block for block in SECTIONS.get(name).blocks([record]) if isinstance(block, Panels))
        assert len(panels.plots) == 2
