"""Programs to measure on: the reference network, trained for a few epochs on the spot, or one from a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from chiploop import tree
from chiploop.bench.benchmark import Tell
from chiploop.chip.program import Program
from chiploop.errors import MissingDataError

PROGRAM = "CHIPLOOP_BENCH_PROGRAM"
"""Environment variable: a saved program of the reference network that is used instead of training one."""

SEED = 0
N_SAMPLES, EPOCHS = 600, 3
"""Enough for activity like that of a trained network: a balanced load, with spikes in each layer."""


def reference_program(root: Path | None, tell: Tell) -> tuple[Program, str]:
    """Return the shipped reference network as a program, and where it comes from."""
    given = os.environ.get(PROGRAM)
    if given:
        return tree.read(Path(given), Program), f"the program that {PROGRAM} names"
    tell(f"training the reference network, {EPOCHS} epochs of {N_SAMPLES} recordings")
    program = trained_program(root, n=N_SAMPLES, epochs=EPOCHS)
    return program, f"row bptt of recipe demo, {EPOCHS} epochs of {N_SAMPLES} recordings, seed {SEED}"


def trained_program(root: Path | None, *, n: int, epochs: int, layers: str | None = None) -> Program:
    """Train the demo's row bptt on real recordings, or on simulated ones where there are none, and compile it."""
    from chiploop.chip.compile import compile as compile_program
    from chiploop.chip.profile import read_profile
    from chiploop.quantize.apply import quantize
    from chiploop.recipes.prepare import prepare
    from chiploop.recipes.recipe import read_recipe
    from chiploop.recipes.train import scheme_of, train_row

    others = ("cnn", "cnn-norm", "cnn-qat", "cil-ann", "cil-bptt", "cil-qat")
    changes = [f"data.n={n}", f"learn.bptt.epochs={epochs}", "chip.profile=ideal"]
    changes += [f"learn.{row}=none" for row in others]
    if layers is not None:
        changes.append(f'network.layers="{layers}"')
    try:
        recipe = read_recipe("demo", [*changes, "data.dataset=nmnist", "data.split=train"])
        parts = prepare(recipe, root, seed=SEED)
    except MissingDataError:
        recipe = read_recipe("demo", changes)
        parts = prepare(recipe, root, seed=SEED)
    with tempfile.TemporaryDirectory(prefix="chiploop-bench-") as folder:
        trained = train_row(recipe, "bptt", parts, {}, seed=SEED, folder=Path(folder))
    return compile_program(quantize(trained.spec, scheme_of(recipe)), read_profile(recipe.chip.profile))
