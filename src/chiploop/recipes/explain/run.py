"""The explanation of a finished run: every row it reported, on its own test recordings, into a further record."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chiploop import tree
from chiploop.chip.profile import read_profile
from chiploop.chip.timing import Timing
from chiploop.errors import DataError, RecipeError, nearest
from chiploop.learn.executor import ModelExecutor
from chiploop.learn.method import METHODS, MethodOptions
from chiploop.measure.causes import Explanation
from chiploop.measure.figure import Figure
from chiploop.measure.record import FILE_NAME, StageRecord, new_record, read_record, write_record
from chiploop.quantize.apply import quantize
from chiploop.recipes.explain.advice import advise
from chiploop.recipes.explain.conditions import Conditions
from chiploop.recipes.explain.ladder import explain, n_stages
from chiploop.recipes.folder import FILE_NAME as RECIPE_NAME
from chiploop.recipes.prepare import prepare
from chiploop.recipes.recipe import Recipe, read_recipe
from chiploop.recipes.run import Unwatched, Watcher
from chiploop.recipes.train import faults_of, scheme_of
from chiploop.spec.graph import NetworkSpec


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One row of one seed: the explanation, the advice drawn from it, and the gap that the run itself recorded.

    `recorded_gap` is None where the run's record has none, or where fewer samples were explained than tested.
    """

    seed: int
    explanation: Explanation
    advice: tuple[str, ...]
    recorded_gap: float | None


def explain_run(
    folder: Path,
    *,
    rows: Sequence[str] = (),
    n: int | None = None,
    root: Path | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> list[Explained]:
    """Explain rows (all that were reported, by default) of every seed below a run's folder; write a record a seed.

    `n` bounds the test recordings. Raises DataError where there is no run, RecipeError for a row that it does not have.
    """
    watcher = watcher or Unwatched()
    recipe = read_run(folder)
    names = _rows(recipe, rows)
    found_seeds = (path.parent.name.removeprefix("seed-") for path in folder.glob(f"seed-*/{FILE_NAME}"))
    seeds = sorted(int(name) for name in found_seeds if name.isdigit())
    if not seeds:
        raise DataError(
            f"{folder} holds no finished run: run `chiploop run {folder / RECIPE_NAME} --out {folder}` first"
        )
    found: list[Explained] = []
    for seed in seeds:
        begin = time.perf_counter()
        explained = _explain_seed(recipe, folder / f"seed-{seed}", names, seed, n=n, root=root, watcher=watcher)
        record = new_record(
            recipe.model_dump(mode="json"),
            recipe.hash,
            seed,
            stages=[StageRecord(name="explain", seconds=time.perf_counter() - begin)],
            figures=[causes_figure(one) for one in explained],
            command=command,
        )
        write_record(folder / f"seed-{seed}", record)
        found += explained
    return found


def read_run(folder: Path) -> Recipe:
    """Return the recipe of a run's folder; raises DataError that says what the folder should be."""
    path = folder / RECIPE_NAME
    if not path.is_file():
        raise DataError(f"{folder} is no run: it has no {RECIPE_NAME}; give the folder that `chiploop run` wrote to")
    return read_recipe(str(path))


def model_of(recipe: Recipe, name: str) -> Literal["frame", "windows"]:
    """Return the model that a row was trained as: a row that trains nothing is what it started from."""
    row = recipe.learn[name]
    if row.method == "convert":
        return "frame"
    if row.method == "correct":
        return model_of(recipe, row.warm_start) if row.warm_start in recipe.learn else "windows"
    return METHODS.get(row.method)(MethodOptions(), ModelExecutor()).model


def conditions_of(recipe: Recipe) -> Conditions:
    """Return the conditions that a recipe names: its chip, the time of its chip, and its faults."""
    profile = read_profile(recipe.chip.profile)
    return Conditions(
        profile=profile,
        scheme=scheme_of(recipe),
        spikes_per_update=recipe.chip.spikes_per_update,
        timing=None if profile.timing is None else Timing.of(profile),
        faults=faults_of(recipe),
        fault_seed=0 if recipe.faults is None else recipe.faults.seed,
        ties=recipe.measure.ties,
        threads=recipe.chip.threads or None,
    )


def causes_figure(explained: Explained) -> Figure:
    """Return an explanation as plain data for records and reports."""
    e = explained.explanation
    steps = e.steps
    layers = list(steps[0].correlation) if steps else []
    return Figure(
        kind="causes",
        method=e.method,
        data={
            "causes": [step.cause for step in steps],
            **{
                name: [getattr(step, name) for step in steps]
                for name in (
                    "accuracy",
                    "difference",
                    "low",
                    "high",
                    "n_lost",
                    "n_gained",
                    "p_value",
                    "layer",
                    "measured",
                )
            },
            "share": [e.share(step) for step in steps],
            "layers": layers,
            "correlation": [[step.correlation[name] for name in layers] for step in steps],
            "ratio": [[step.ratio[name] for name in layers] for step in steps],
            "classes": [dict(step.classes) for step in steps],
            "start": list(e.start),
            "n": e.n,
            "advice": list(explained.advice),
        },
    )


def _explain_seed(
    recipe: Recipe, folder: Path, names: Sequence[str], seed: int, *, n: int | None, root: Path | None, watcher: Watcher
) -> list[Explained]:
    watcher.stage(f"seed {seed}: data")
    test = prepare(recipe, root, seed=seed).test
    if n is not None and n < len(test):
        test = test.some(n)
    record = read_record(folder / FILE_NAME)
    gaps = {
        metric.method: metric.value
        for metric in record.metrics
        if (metric.name, metric.where, metric.versus, metric.n) == ("gap", "chip", "software", len(test))
    }
    found = []
    for name in names:
        path = folder / f"{name}.network.safetensors"
        spec = tree.read(path, NetworkSpec)
        model, conditions = model_of(recipe, name), _in_time(conditions_of(recipe), spec)
        conditions = dataclasses.replace(conditions, whole_counts=recipe.learn[name].whole_counts)
        stages = n_stages(spec, test, conditions, model=model)
        watcher.samples(f"seed {seed}: {name}, {stages} stages", stages * len(test))
        explanation = explain(spec, test, conditions, model=model, method=name, progress=watcher.done)
        advice = advise(explanation, quantize(spec, conditions.scheme))
        gap = gaps.get(name)
        found.append(Explained(seed=seed, explanation=explanation, advice=tuple(advice), recorded_gap=gap))
    return found


def _in_time(conditions: Conditions, spec: NetworkSpec) -> Conditions:
    """Leave time out where it can change nothing: a chain without a leak, on a chip that stalls and drops nothing."""
    timing = conditions.timing
    changes = timing is not None and timing.overflow == "drop" and timing.fifo_depth is not None
    leaks = any(layer.bias is not None or (layer.neuron is not None and layer.neuron.tau_us) for layer in spec.layers)
    if changes or leaks or not spec.is_chain:
        return conditions
    return dataclasses.replace(conditions, timing=None)


def _rows(recipe: Recipe, rows: Sequence[str]) -> list[str]:
    reported = [name for name, row in recipe.learn.items() if row.report]
    for name in rows:
        if name not in recipe.learn:
            raise RecipeError(f"the run has no row {name!r}: {nearest(name, recipe.learn)}")
    return list(dict.fromkeys(rows)) or reported
