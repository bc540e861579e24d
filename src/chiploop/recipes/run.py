"""A recipe carried out: every row trained, deployed and measured, for one seed after the other, into records."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from chiploop import tree
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.profile import read_profile
from chiploop.errors import RecipeError
from chiploop.learn.allocator import keep_freed_memory
from chiploop.learn.determinism import pin
from chiploop.learn.distributed import ALONE, Ranks
from chiploop.learn.fit import Progress, Silent
from chiploop.measure.figure import Figure
from chiploop.measure.metric import Metric
from chiploop.measure.record import RunRecord, StageRecord, new_record, write_record
from chiploop.quantize.apply import quantize
from chiploop.recipes.cost import costs
from chiploop.recipes.evaluate import deploy, metrics_of
from chiploop.recipes.prepare import Parts, prepare
from chiploop.recipes.recipe import Recipe
from chiploop.recipes.series import figures_of, if_response, levels_figure
from chiploop.recipes.tables import UNTRAINED
from chiploop.recipes.train import Trained, initial_network, scheme_of, train_row
from chiploop.recipes.windows import windows_figure


class Watcher(Protocol):
    """Told what a run is at."""

    def stage(self, title: str) -> None:
        """Called when something begins."""

    def training(self, title: str, epochs: int) -> Progress:
        """Return the progress of a row's training, planned to last so many epochs."""

    def samples(self, title: str, total: int) -> None:
        """Called when `total` samples are about to be run through a row's places."""

    def done(self, n: int) -> None:
        """Called after each batch of samples."""

    def row(self, name: str, metrics: Sequence[Metric]) -> None:
        """Called with a row's metrics."""


class Unwatched:
    """Nobody looks on."""

    def stage(self, title: str) -> None:
        """Say nothing."""

    def training(self, title: str, epochs: int) -> Progress:
        """Return progress that says nothing."""
        del title, epochs
        return Silent()

    def samples(self, title: str, total: int) -> None:
        """Say nothing."""

    def done(self, n: int) -> None:
        """Say nothing."""

    def row(self, name: str, metrics: Sequence[Metric]) -> None:
        """Say nothing."""


def run_recipe(
    recipe: Recipe,
    *,
    root: Path | None,
    out: Path,
    seeds: int = 1,
    command: str = "",
    watcher: Watcher | None = None,
    ranks: Ranks = ALONE,
) -> list[RunRecord]:
    """Carry out a recipe for `seeds` seeds from the recipe's own on; return the records, also written below `out`.

    Each seed has a folder `seed-<n>` with networks, checkpoints and its record. A run that was cut off resumes at the
    epoch it had reached and ends in the same bits.

    Of several processes (`ranks`), all call this and train together; the first one does all else, writes all files and
    returns the records, while the others wait and return none.
    """
    recipe.chip.device_of(ranks.rank, ranks.size)  # raises now rather than after the first rows
    watcher = watcher or Unwatched()
    pin(recipe.threads)
    keep_freed_memory()
    records = []
    for seed in range(recipe.seed, recipe.seed + seeds):
        folder = out / f"seed-{seed}"
        record = _run_seed(recipe, root=root, folder=folder, seed=seed, command=command, watcher=watcher, ranks=ranks)
        if record is not None:
            records.append(record)
    return records


def _run_seed(
    recipe: Recipe, *, root: Path | None, folder: Path, seed: int, command: str, watcher: Watcher, ranks: Ranks
) -> RunRecord | None:
    """Return one seed's record; None on ranks that only train."""
    watcher.stage(f"seed {seed}: data")
    parts = ranks.one_then_others(lambda: prepare(recipe, root, seed=seed))
    _read(parts, seed, watcher)
    require_fit(recipe, parts, seed=seed)
    found = _Found(figures=[if_response()])
    done: dict[str, Trained] = {}
    for name, row in recipe.learn.items():
        ranks.wait()  # for the first one, which measures the row before
        if not ranks.is_first and row.method in UNTRAINED:
            continue
        progress = watcher.training(f"seed {seed}: {name}", row.epochs)
        trained = train_row(recipe, name, parts, done, seed=seed, folder=folder, progress=progress, ranks=ranks)
        if not ranks.is_first:
            continue
        done[name] = trained
        processes = 1 if row.method in UNTRAINED else ranks.size
        artefacts = {"network": trained.spec.digest}
        found.stages.append(
            StageRecord(name="train", method=name, seconds=trained.seconds, artefacts=artefacts, processes=processes)
        )
        if row.report:
            _measure(recipe, trained, parts, seed=seed, folder=folder, watcher=watcher, found=found)
    record = None
    if ranks.is_first:
        record = new_record(
            recipe.model_dump(mode="json"),
            recipe.hash,
            seed,
            stages=found.stages,
            metrics=found.metrics,
            figures=found.figures,
            command=command,
        )
        write_record(folder, record)
    ranks.wait()
    return record


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What a record will hold, as it comes."""

    stages: list[StageRecord] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def _measure(
    recipe: Recipe, trained: Trained, parts: Parts, *, seed: int, folder: Path, watcher: Watcher, found: _Found
) -> None:
    """Run a trained row on the test recordings at every place, and note what came of it."""
    name = trained.name
    row = recipe.learn[name]
    begin = time.perf_counter()
    watcher.samples(f"seed {seed}: {name} deployed", len(parts.test) * (4 if trained.model == "frame" else 3))
    deployed = deploy(recipe, trained, parts, progress=watcher.done)
    row_metrics = metrics_of(deployed, seed=seed)
    watcher.stage(f"seed {seed}: {name} figures")
    place = ("faulty" if row.faults else "chip") if row.is_looped else "software"
    found.figures.extend(figures_of(recipe, deployed, parts.test, place=place))
    if trained.model == "windows" and recipe.network.neuron == "if":
        found.figures.append(windows_figure(deployed, parts.test))
    cost_metrics, cost_figures = costs(recipe, deployed, parts.test, seed=seed)
    found.figures.extend(cost_figures)
    if recipe.faults is not None:
        found.figures.append(levels_figure(recipe, deployed, parts.test))
    tree.write(folder / f"{name}.program.safetensors", deployed.program)
    artefacts = {"quantised": deployed.quant.digest, "program": deployed.program.digest}
    seconds = time.perf_counter() - begin
    found.stages.append(StageRecord(name="deploy", method=name, seconds=seconds, artefacts=artefacts))
    found.metrics.extend([*row_metrics, *cost_metrics])
    watcher.row(name, row_metrics)


def _read(parts: Parts, seed: int, watcher: Watcher) -> None:
    """Decode every recording now (the samples keep them), so that a damaged one is found before hours of training."""
    every = (parts.train, parts.validation, parts.test)
    watcher.samples(f"seed {seed}: recordings", sum(map(len, every)))
    for part in every:
        for position in range(len(part)):
            part.events(position)
            watcher.done(1)


def require_fit(recipe: Recipe, parts: Parts, *, seed: int) -> None:
    """Raise now, before hours of training, unless the network has an output a class and a place on the chip.

    Raises RecipeError or DesignRuleError.
    """
    network = initial_network(recipe, parts, seed=seed)
    # Those of the last neurons: a pool after them would be folded into their core, and answers are read before it.
    outputs, dataset = math.prod(network.spec.spiking[-1].out_shape), parts.train.dataset
    if outputs != dataset.n_classes:
        raise RecipeError(
            f"network.layers = {recipe.network.layers!r} gives {outputs} outputs, but {dataset.name!r} has "
            f"{dataset.n_classes} classes: end it in -{dataset.n_classes}"
        )
    compile_program(quantize(network.to_spec(), scheme_of(recipe)), read_profile(recipe.chip.profile))
