"""Recipes with a faulty chip: level 0 is the sound one, and training through the faults beats training without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.errors import RecipeError
from chiploop.measure.record import RunRecord
from chiploop.recipes.explain.run import conditions_of, explain_run
from chiploop.recipes.folder import claim_folder
from chiploop.recipes.recipe import Recipe, read_recipe
from chiploop.recipes.run import run_recipe
from chiploop.recipes.toml import to_toml

ROW = {"method": "cil-bptt", "batch_size": 32, "warm_start": "bptt", "lr": 1e-2, "epochs": 6}


def recipe(**faults: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "faulty-shapes",
            "threads": 1,
            "data": {"dataset": "shapes", "n": 300, "test": 0.4},
            "encode": {"n_windows": 4},
            "network": {"layers": "8c3p1-P2-8c3p1-3", "activity": 1.0},
            "chip": {"threads": 1},
            "faults": {"kinds": {"mismatch": {"sd": 0.4}, "dead": {"share": 0.0}}, "seed": 2, **faults},
            "learn": {
                "bptt": {"method": "bptt", "batch_size": 32, "epochs": 8, "lr": 1e-2},
                "clean": ROW,
                "through": {**ROW, "faults": True},
            },
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRecord]:
    out = tmp_path_factory.mktemp("faulty")
    claim_folder(out, recipe())
    (record,) = run_recipe(recipe(), root=None, out=out)
    return out, record


def accuracy(record: RunRecord, method: str, where: str) -> float:
    (found,) = (m for m in record.metrics if (m.name, m.method, m.where) == ("accuracy", method, where))
    return found.value


def test_training_through_the_faults_beats_training_without(run: tuple[Path, RunRecord]) -> None:
    record = run[1]
    faulty = {row: accuracy(record, row, "faulty") for row in ("bptt", "clean", "through")}
    assert faulty["through"] > max(faulty["bptt"], faulty["clean"]) + 0.05
    assert faulty["clean"] < accuracy(record, "clean", "chip") - 0.05  # the faults do harm


def test_levels_begin_at_the_sound_chip_and_hold_the_faulty_one(run: tuple[Path, RunRecord]) -> None:
    record = run[1]
    figures = {figure.method: figure.data for figure in record.figures if figure.kind == "fault-levels"}
    assert list(figures) == ["bptt", "clean", "through"]
    for row, data in figures.items():
        assert data["levels"] == [0.0, 0.5, 1.0, 2.0]
        assert data["accuracy"][0] == accuracy(record, row, "chip")
        assert data["accuracy"][2] == accuracy(record, row, "faulty")
        assert data["trained_through"] == (row == "through")
        assert data["faults"] == "DeadNeurons(share=0.0), ThresholdMismatch(sd=0.4)"
    gaps = [m for m in record.metrics if (m.name, m.where, m.versus) == ("gap", "faulty", "chip")]
    assert [m.method for m in gaps] == ["bptt", "clean", "through"]
    for gap in gaps:
        assert gap.value == pytest.approx(
            accuracy(record, str(gap.method), "faulty") - accuracy(record, str(gap.method), "chip")
        )


def test_an_explanation_ends_on_the_faulty_chip(run: tuple[Path, RunRecord]) -> None:
    folder, record = run
    (one,) = explain_run(folder, rows=["clean"])
    last = one.explanation.steps[-1]
    assert last.cause == "mismatch"
    assert not last.measured
    assert last.accuracy == accuracy(record, "clean", "faulty")
    assert one.explanation.gap == pytest.approx(one.recorded_gap)
    assert any("faults = true" in line for line in one.advice)


def test_conditions_hold_what_the_recipe_names() -> None:
    conditions = conditions_of(recipe())
    assert (len(conditions.program_faults), len(conditions.stream_faults), conditions.fault_seed) == (2, 0, 2)
    assert conditions.timing is not None
    assert conditions.timing.overflow == "stall"


def test_the_tables_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "faulty.toml"
    path.write_text(to_toml(recipe()))
    assert read_recipe(str(path)) == recipe()
    assert read_recipe(str(path), ["faults.kinds.dead.share=0.3"]).hash != recipe().hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("faults.kinds.ded.share=0.1", r"faults.kinds: no fault 'ded': did you mean 'dead'"),
        ("faults.kinds.dead.part=0.1", r"faults.dead: unknown option 'part'"),
        ("faults.kinds.dead.share=1.5", r"DeadNeurons: share = 1.5 must be in 0..1"),
        ("faults.levels=[-1]", "faults.levels.0"),
        ("learn.bptt.faults=true", "learn.bptt.faults is true, but 'bptt' has no chip in its loop"),
        ("faults=none", "learn.through.faults is true, but there is no table of faults"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "faulty.toml"
    path.write_text(to_toml(recipe()))
    with pytest.raises(RecipeError, match=message):
        read_recipe(str(path), [change])
