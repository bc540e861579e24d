"""`chiploop run`: what it prints and writes, run again, and which folders it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.measure.record import read_records
from command_line import Command, Outcome

ROWS = ("cnn", "bptt", "cil-bptt")


def test_results_go_to_stdout_and_progress_to_stderr(first_run: tuple[Path, Outcome]) -> None:
    folder, ran = first_run
    assert ran.code == 0, ran.err
    assert all(f"\n{row} " in ran.out for row in ROWS)
    assert ran.out.endswith(f"report: {folder}/report.html\n")
    assert "epoch" not in ran.out
    assert "bptt: epoch 2/2, loss" in ran.err
    for row in ROWS:
        (line,) = (line for line in ran.err.splitlines() if line.startswith(f"✓ {row} "))
        assert all(f"{where} " in line for where in ("software", "int-sync", "chip"))
    assert {path.name for path in folder.iterdir()} == {
        "recipe.toml", "report.html", "report.md", "figures", "seed-0",
    }  # fmt: skip


def test_a_finished_run_goes_on_with_more_seeds(chiploop: Command, done: Path, recipe: Path, bars: Path) -> None:
    before = {path.name: path.read_bytes() for path in done.glob("seed-0/*.safetensors")}
    first = (done / "seed-0" / "record.json").read_bytes()
    # A name does not change what is computed, so the folder stays the recipe's own.
    more = ("--seeds", 2, "--set", "name=renamed")
    ran = chiploop("run", recipe, "--data", bars, "--out", done, *more, "--json", "--quiet")
    assert (ran.code, ran.err) == (0, "")

    assert {path.name: path.read_bytes() for path in done.glob("seed-0/*.safetensors")} == before
    assert (done / "seed-0" / "record.json").read_bytes() == first
    records = read_records(done)
    assert sorted(record.seed for record in records) == [0, 0, 1]
    once, again = ([m for m in r.metrics if m.how == "counted"] for r in records if r.seed == 0)
    assert once == again

    result = ran.json
    assert (result["recipe"], result["seeds"], result["out"]) == ("renamed", [0, 1], str(done))
    assert Path(result["report"]).is_file()
    _check_metrics(result["metrics"])


def _check_metrics(metrics: list[dict[str, object]]) -> None:
    seeds = [metric["seed"] for metric in metrics]
    first = seeds.index(0)
    assert set(seeds[:first]) == {None}
    assert set(seeds[first:]) == {0, 1}
    found = {(m["method"], m["where"], m["seed"]): m for m in metrics if m["name"] == "accuracy"}
    for row in ROWS:
        for where in ("software", "int-sync", "chip", *(("accelerator",) if row == "cnn" else ())):
            mean, one, two = (found[row, where, seed] for seed in (None, 0, 1))
            assert mean["value"] == pytest.approx((one["value"] + two["value"]) / 2)  # type: ignore[operator]
            assert mean["n_seeds"] == 2
            assert one["low"] <= one["value"] <= one["high"]  # type: ignore[operator]
            assert one["n"] == 12  # 30 % of 40 recordings


def test_default_folder_is_named_by_recipe_and_hash(chiploop: Command, recipe: Path) -> None:
    resolved = chiploop("show", recipe, "--json").json
    folder = Path("runs") / f"tiny-{resolved['hash'][:8]}"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text("not TOML")
    refused = chiploop("run", recipe)
    assert str(folder) in refused.error


def test_the_folder_of_another_recipe_is_refused_before_anything_is_read(
    chiploop: Command, done: Path, recipe: Path
) -> None:
    kept = (done / "recipe.toml").read_bytes()
    other = chiploop("run", recipe, "--set", "learn.cnn.epochs=3", "--data", "nowhere", "--out", done)
    assert other.code == 2
    assert "holds runs of another recipe ('tiny'" in other.error
    assert "name another --out" in other.error
    assert (done / "recipe.toml").read_bytes() == kept


def test_a_recipe_that_lies_in_its_own_folder_is_left_as_it_is(chiploop: Command, recipe: Path, tmp_path: Path) -> None:
    mine = Path("mine/recipe.toml")
    mine.parent.mkdir()
    mine.write_text("# my own words\n" + recipe.read_text())
    assert chiploop("run", mine, "--data", "nowhere", "--out", "mine").code == 2
    assert mine.read_text().startswith("# my own words\n")


def test_a_damaged_recipe_in_the_folder_is_refused(chiploop: Command, recipe: Path) -> None:
    Path("out").mkdir()
    Path("out/recipe.toml").write_text("[data\n")
    refused = chiploop("run", recipe, "--out", "out")
    assert refused.code == 2
    assert "holds runs of a recipe that this version cannot read" in refused.error


def test_a_checkpoint_of_another_training_is_refused(chiploop: Command, done: Path, recipe: Path, bars: Path) -> None:
    (done / "seed-0" / "bptt.checkpoint.safetensors").replace(done / "seed-0" / "cnn.checkpoint.safetensors")
    refused = chiploop("run", recipe, "--data", bars, "--out", done, "--quiet")
    assert refused.code == 2
    assert "cnn.checkpoint.safetensors belongs to another training" in refused.error
    assert "name another --out or delete it" in refused.error


def test_a_damaged_checkpoint_is_refused(chiploop: Command, done: Path, recipe: Path, bars: Path) -> None:
    checkpoint = done / "seed-0" / "cnn.checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    refused = chiploop("run", recipe, "--data", bars, "--out", done, "--quiet")
    assert refused.code == 2
    assert "cnn.checkpoint.safetensors is damaged" in refused.error
    assert "delete it" in refused.error
