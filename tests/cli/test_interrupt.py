"""Ctrl-C in mid-training: one line, and the same command ends in the same bits."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from chiploop.recipes.recipe import read_recipe
from chiploop.recipes.run import run_recipe
from command_line import Command, Outcome, finish, start

EPOCHS = 30


def test_an_interrupted_run_goes_on_to_the_same_bits(chiploop: Command, recipe: Path, bars: Path) -> None:
    only = ("cnn=none", "bptt=none", "cil-bptt.warm_start=none", f"cil-bptt.epochs={EPOCHS}")
    line = ("run", recipe, "--data", bars, "--quiet", *(word for key in only for word in ("--set", f"learn.{key}")))
    process = start(*line, "--out", "cut", folder=Path.cwd())
    checkpoint = Path("cut/seed-0/cil-bptt.checkpoint.safetensors")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    cut = finish(process)
    _check_interrupted(cut)
    assert len(chiploop("show", checkpoint, "--json").json["history"]) < EPOCHS  # it was cut in mid-training
    assert not Path("cut/seed-0/cil-bptt.network.safetensors").exists()
    assert not list(Path("cut").rglob(".*"))

    assert chiploop(*line, "--out", "cut").code == 0
    run_recipe(read_recipe("cut/recipe.toml"), root=bars, out=Path("whole"))
    for name in ("cil-bptt.network.safetensors", "cil-bptt.program.safetensors"):
        assert Path("cut/seed-0", name).read_bytes() == Path("whole/seed-0", name).read_bytes(), name


def _check_interrupted(cut: Outcome) -> None:
    assert cut.code == 130, cut.err
    assert cut.out == ""
    assert cut.error == "interrupted; finished epochs are kept in cut, and the same command goes on from there"
    assert cut.err.count("\n") == 1
