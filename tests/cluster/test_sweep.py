"""Sweeps: the same records however they are run, whoever is killed, and nothing done twice."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from chiploop.errors import ClusterError, RecipeError
from chiploop.measure.record import RunRecord, read_record
from chiploop.recipes.grid import Cell, cells_of, find_record, parse_variation, points_of
from chiploop.recipes.run import run_recipe
from chiploop.recipes.sweep import Errand, Finished, require_room, run_cell, sweep
from recordings import SHAPES_RECIPE
from worker_processes import living, pids_of

ERRAND = Errand(command="chiploop sweep tiny.toml")


@pytest.fixture(autouse=True, scope="module")
def _torch_as_it_was() -> Iterator[None]:
    """A run pins torch's threads and determinism; other tests must not depend on that."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(SHAPES_RECIPE)
    return path


def cells(tiny: Path, out: Path, *vary: str, seeds: int = 2, changes: tuple[str, ...] = ()) -> tuple[Cell, ...]:
    return cells_of(points_of([str(tiny)], [parse_variation(text) for text in vary], changes, out=out), seeds)


def lasting(record: RunRecord) -> RunRecord:
    """What two runs of the same cell have in common: all but the times, and the names that hold them."""
    stages = tuple(stage.model_copy(update={"seconds": 0.0}) for stage in record.stages)
    metrics = tuple(
        dataclasses.replace(m, value=0.0, low=None, high=None, interval=None) if m.how == "measured" else m
        for m in record.metrics
    )
    update = {"id": "x", "created_utc": "", "stages": stages, "metrics": metrics, "command": ""}
    return record.model_copy(update=update)


def files(folder: Path) -> dict[str, bytes]:
    kinds = ("network", "program")
    return {path.name: path.read_bytes() for kind in kinds for path in sorted(folder.glob(f"*.{kind}.safetensors"))}


def require_same(one: Finished, other: Finished) -> None:
    assert one.record is not None, one.error
    assert other.record is not None, other.error
    assert lasting(one.record) == lasting(other.record)
    assert files(one.cell.folder) == files(other.cell.folder)
    assert len(files(one.cell.folder)) == 4


def history(checkpoint: Path) -> list[object]:
    """The epochs in a checkpoint's header, with the seconds that each took."""
    content = checkpoint.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found: list[object] = json.loads(header["__metadata__"]["chiploop"])["history"]
    return found


def by_title(found: list[Finished]) -> dict[str, Finished]:
    return {one.cell.title: one for one in found}


VARY = "learn.cil.lr=0.001,0.01"


@pytest.fixture(scope="module")
def alone(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """The sweep's cells, run one by one as `chiploop run` does."""
    found = {}
    for cell in cells(tiny, tmp_path_factory.mktemp("alone"), VARY):
        (record,) = run_recipe(cell.recipe, root=None, out=cell.point.folder, command="chiploop run")
        found[cell.title] = Finished(cell=cell, record=record)
    return found


@pytest.mark.usefixtures("ray")
def test_a_sweep_gives_what_its_cells_give_one_by_one(tiny: Path, tmp_path: Path, alone: dict[str, Finished]) -> None:
    todo = cells(tiny, tmp_path, VARY)
    found = by_title(list(sweep(todo, ERRAND)))
    assert found.keys() == alone.keys()
    for title, one in found.items():
        require_same(one, alone[title])
        assert one.fresh
        assert one.record == read_record(one.cell.folder / "record.json")
        assert one.record.command == ERRAND.command

    # Nothing is done twice, and one more value costs its own cells only.
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    again = list(sweep(cells(tiny, tmp_path, VARY), ERRAND, local=True))
    assert [one.fresh for one in again] == [False] * 4
    more = list(sweep(cells(tiny, tmp_path, f"{VARY},0.1", seeds=1), ERRAND, local=True))
    assert [(one.fresh, one.cell.title) for one in more if one.fresh] == [
        (True, "tiny-shapes learn.cil.lr=0.1, seed 0")
    ]
    assert {path: path.read_bytes() for path in before} == before


def test_a_sweep_in_this_process_gives_the_same(tiny: Path, tmp_path: Path, alone: dict[str, Finished]) -> None:
    found = list(sweep(cells(tiny, tmp_path, VARY, seeds=1), ERRAND, local=True))
    assert len(found) == 2
    for one in found:
        require_same(one, alone[one.cell.title])


@pytest.mark.usefixtures("ray")
def test_a_killed_worker_s_cell_goes_on_from_its_checkpoint(tiny: Path, tmp_path: Path) -> None:
    long = ("learn.cil.epochs=40",)  # so that there is time to kill it in mid-training
    (cell,) = cells(tiny, tmp_path / "killed", seeds=1, changes=long)
    (calm,) = sweep(cells(tiny, tmp_path / "calm", seeds=1, changes=long), ERRAND, local=True)
    checkpoint = cell.folder / "cil.checkpoint.safetensors"
    killed: list[int] = []
    reached: list[object] = []

    def kill_in_training() -> None:
        while not (checkpoint.exists() and (pids := pids_of("cell"))):
            time.sleep(0.005)
        killed.extend(pids)
        reached.extend(history(checkpoint))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_in_training, daemon=True)
    killer.start()
    (found,) = sweep([cell], ERRAND)
    killer.join()
    assert len(killed) == 1
    assert not living(*killed)
    require_same(found, calm)
    # The epochs before its death were not trained again: those that were would have taken other times.
    assert 0 < len(reached) < 40
    assert history(checkpoint)[: len(reached)] == reached
    assert len(history(checkpoint)) == 40
    assert not (cell.folder / "record-2.json").exists()


@pytest.mark.usefixtures("ray")
def test_a_failing_cell_stops_no_other(tiny: Path, tmp_path: Path) -> None:
    # More recordings than there are: only the data say so.
    found = by_title(list(sweep(cells(tiny, tmp_path, "data.n=60,100000000", seeds=1), ERRAND)))
    good, bad = found["tiny-shapes data.n=60, seed 0"], found["tiny-shapes data.n=100000000, seed 0"]
    assert good.record is not None
    assert bad.record is None
    assert "n = 100000000, but shapes has" in bad.error
    assert not bad.cell.point.folder.exists()  # nothing came of it
    assert good.cell.point.folder.is_dir()


@pytest.mark.usefixtures("ray")
def test_a_sweep_that_is_closed_ends_its_cells_and_goes_on(tiny: Path, tmp_path: Path) -> None:
    long = ("learn.cil.epochs=40",)
    todo = cells(tiny, tmp_path, changes=long, seeds=3)
    running = sweep(todo, ERRAND, jobs=2)
    first = next(running)
    running.close()
    assert first.record is not None
    while pids_of("cell"):
        time.sleep(0.01)
    left = [cell for cell in todo if find_record(cell) is None]
    assert left
    assert not list(tmp_path.rglob(".*"))  # no file was left half-written
    rest = list(sweep(todo, ERRAND, local=True))
    assert [one.fresh for one in rest].count(True) == len(left)
    assert all(one.record for one in rest)


def test_a_fault_of_ours_is_told_as_one(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("chiploop.recipes.run.run_recipe", broken)
    (cell,) = cells(tiny, tmp_path, seeds=1)
    assert run_cell(cell, ERRAND).error == "ZeroDivisionError: oh (a fault of chiploop, please report it)"


def test_a_folder_of_another_recipe_is_refused_before_anything_runs(tiny: Path, tmp_path: Path) -> None:
    todo = cells(tiny, tmp_path, VARY, seeds=1)
    last = todo[-1].point.folder
    last.mkdir(parents=True)
    (last / "recipe.toml").write_text(SHAPES_RECIPE)
    with pytest.raises(RecipeError, match="holds runs of another recipe"):
        next(sweep(todo, ERRAND, local=True))
    assert not list(tmp_path.rglob("seed-*"))


def test_wishes_that_contradict_each_other_are_refused() -> None:
    assert require_room(local=True, jobs=1, address=None, ray=True)
    assert require_room(local=False, jobs=None, address=None, ray=False)
    assert not require_room(local=False, jobs=4, address=None, ray=True)
    with pytest.raises(ClusterError, match="leave out --jobs and --address"):
        require_room(local=True, jobs=2, address=None, ray=True)
    for wish in ({"jobs": 2, "address": None}, {"jobs": None, "address": "auto"}):
        with pytest.raises(ClusterError, match=r"pip install 'chiploop\[cluster\]'"):
            require_room(local=False, ray=False, **wish)
