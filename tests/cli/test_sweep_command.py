"""`chiploop sweep`: what it prints and writes, what it refuses, and how it ends."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import ModuleType

import pytest

from chiploop.measure.record import read_records
from chiploop.measure.stats import seed_interval
from command_line import Command, Outcome, finish, start
from recordings import SHAPES_RECIPE
from worker_processes import pids_of

VARY = ("--vary", "learn.cil.lr=0.001,0.01")


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.toml"
    path.write_text(SHAPES_RECIPE)
    return path


def test_a_sweep_prints_a_line_a_point_and_writes_records_and_a_report(chiploop: Command, shapes: Path) -> None:
    ran = chiploop("sweep", shapes, *VARY, "--seeds", 2, "--local", "--out", "out")
    assert ran.code == 0, ran.err
    header, _, *lines = ran.out.splitlines()
    assert header.split() == ["learn.cil.lr", "Seeds", "bptt", "(%)", "cil", "(%)"]
    assert [line.split()[:2] for line in lines[:2]] == [["0.001", "2"], ["0.01", "2"]]
    assert ran.out.endswith("report: out/report.html\n")
    assert "4 cells into out" in ran.err
    assert "✓ tiny-shapes learn.cil.lr=0.001, seed 0  bptt " in ran.err
    assert "(4 of 4 · " in ran.err
    assert {(r.seed, r.recipe["learn"]["cil"]["lr"]) for r in read_records(Path("out"))} == {
        (seed, lr) for seed in (0, 1) for lr in (0.001, 0.01)
    }

    again = chiploop("sweep", shapes, *VARY, "--seeds", 2, "--local", "--out", "out", "--json", "--quiet")
    assert (again.code, again.err) == (0, "")
    assert again.json["cells"] == {"run": 0, "recorded_before": 4, "failed": []}
    for point in again.json["points"]:
        (mean,) = (m for m in point["metrics"] if (m["name"], m["where"], m["method"]) == ("accuracy", "chip", "cil"))
        values = [
            metric.value
            for record in read_records(Path(point["folder"]))
            for metric in record.metrics
            if (metric.name, metric.where, metric.method) == ("accuracy", "chip", "cil")
        ]
        assert len(values) == 2
        assert mean["value"] == pytest.approx(seed_interval(values).value)
        assert (mean["interval"], mean["n_seeds"]) == ("t", 2)
    assert chiploop("report", "out", "--json").code == 0


def test_a_failing_cell_is_told_at_the_end(chiploop: Command, shapes: Path) -> None:
    ran = chiploop("sweep", shapes, "--vary", "data.n=60,100000000", "--local", "--out", "out")
    assert ran.code == 1
    failed = "failed: tiny-shapes data.n=100000000, seed 0: data: n = 100000000, but shapes has "
    assert ran.err.splitlines()[-1].startswith(failed)
    assert ran.out.splitlines()[3].split() == ["100000000", "0", "–", "–"]
    as_json = chiploop("sweep", shapes, "--vary", "data.n=100000000", "--local", "--out", "none", "--json", "--quiet")
    assert as_json.code == 1
    assert as_json.json["report"] is None
    (one,) = as_json.json["cells"]["failed"]
    assert (one["varied"], one["seed"]) == ({"data.n": "100000000"}, 0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--vary", "learn.cil.lrr=1,2"), "unknown key 'learn.cil.lrr': did you mean 'lr'?"),
        (("--vary", "learn.cil.lr=0.1,-1"), "learn.cil.lr: input should be greater than 0"),
        (("--vary", "seed=1,2"), "seeds are asked for by --seeds"),
        (("--local", "--jobs", 2), "--local runs one cell after the other"),
        (("--local", "--address", "auto"), "--local runs one cell after the other"),
    ],
)
def test_bad_input_is_found_before_anything_starts(
    chiploop: Command, shapes: Path, more: tuple[object, ...], message: str
) -> None:
    ran = chiploop("sweep", shapes, "--out", "out", *more)
    assert ran.code == 2
    assert message in ran.error
    assert not Path("out").exists()


def test_a_cluster_that_is_not_there_is_one_line(chiploop: Command, shapes: Path) -> None:
    ran = finish(start("sweep", shapes, "--out", "out", "--address", "127.0.0.1:1", "--quiet", folder=Path.cwd()))
    assert ran.code == 2
    assert ran.error.startswith("no Ray cluster answers at '127.0.0.1:1': ")
    assert not Path("out").exists()


def test_a_sweep_joins_a_cluster_that_runs(chiploop: Command, shapes: Path, ray: ModuleType) -> None:
    address = ray.get_runtime_context().gcs_address
    line = ("sweep", shapes, *VARY, "--out", "out", "--address", address, "--json", "--quiet")
    ran = finish(start(*line, folder=Path.cwd()))
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["cells"]["run"] == 2
    assert len(read_records(Path("out"))) == 2
    assert ray.is_initialized()  # who was there before stays


def test_an_interrupted_sweep_leaves_no_process_and_goes_on(chiploop: Command, shapes: Path) -> None:
    line = ("sweep", shapes, "--set", "learn.cil.epochs=40", "--seeds", 2, "--out", "out", "--quiet")
    process = start(*line, folder=Path.cwd())
    while not list(Path("out").glob("*/seed-*/cil.checkpoint.safetensors")) and process.poll() is None:
        time.sleep(0.01)
    mine = pids_of("cell")
    process.send_signal(signal.SIGINT)
    cut = finish(process)
    _check_interrupted(cut)
    assert not pids_of("cell") & mine
    assert not list(Path("out").rglob(".*"))
    done = len(read_records(Path("out")))
    assert done < 2
    rest = chiploop(*line, "--local", "--json")
    assert rest.json["cells"] == {"run": 2 - done, "recorded_before": done, "failed": []}


def _check_interrupted(cut: Outcome) -> None:
    assert cut.code == 130, cut.err
    assert cut.out == ""
    assert (
        cut.error == "interrupted; finished cells and epochs are kept in out, and the same command goes on from there"
    )
    assert cut.err.count("\n") == 1
