"""Training one row of a recipe: the network, the method, the loop's device, the checkpoint."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from chiploop import tree
from chiploop.chip.device import Device
from chiploop.chip.faults import Fault, FaultyDevice, make_faults
from chiploop.chip.open import device_opener
from chiploop.chip.profile import read_profile
from chiploop.learn.balance import balance_thresholds, normalize_by_data
from chiploop.learn.batch import Samples
from chiploop.learn.correct import correct_counts
from chiploop.learn.determinism import share_threads
from chiploop.learn.distributed import ALONE, Ranks
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.failure import Failure, FailureLog, FailurePolicy
from chiploop.learn.fit import FitResult, Progress, fit
from chiploop.learn.method import METHODS, Method
from chiploop.learn.outputs import device_answers, software_answers
from chiploop.learn.resilient import ResilientDevice
from chiploop.measure.accuracy import accuracy, decide
from chiploop.network.network import Network
from chiploop.network.surrogate import SURROGATES
from chiploop.quantize.scheme import IntScheme
from chiploop.recipes.catalogue import require_loopable
from chiploop.recipes.identity import training_identity
from chiploop.recipes.options import fit_options, method_options
from chiploop.recipes.prepare import Parts
from chiploop.recipes.recipe import Recipe
from chiploop.recipes.tables import UNTRAINED, Chip, Learn
from chiploop.rng import derived_seed, stream
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation

CALIBRATION_SAMPLES = 256
"""Training recordings that thresholds are balanced, networks normalised and accelerators calibrated on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A row after training: the float network, the model it was trained as, how training went, what failed in it."""

    name: str
    spec: NetworkSpec
    model: Literal["frame", "windows"]
    result: FitResult | None
    seconds: float
    failures: tuple[Failure, ...] = ()


def scheme_of(recipe: Recipe) -> IntScheme:
    """Return the recipe's integer scheme."""
    q = recipe.quantize
    return IntScheme(bits=q.bits, search=q.search, percentile=q.percentile)


def policy_of(chip: Chip) -> FailurePolicy:
    """Return what a recipe wants done when the device fails."""
    f = chip.failures
    return FailurePolicy(retries=f.retries, reopen=f.reopen, then=f.then, wait_s=f.wait_s, max_skipped=f.max_skipped)


def faults_of(recipe: Recipe, level: float = 1.0) -> tuple[Fault, ...]:
    """Return the faults of a recipe's faulty chip, at a multiple of their strengths."""
    return () if recipe.faults is None else make_faults(dict(sorted(recipe.faults.kinds.items())), strength=level)


def open_device(
    chip: Chip,
    log: FailureLog | None = None,
    *,
    faults: tuple[Fault, ...] = (),
    fault_seed: int = 0,
    ranks: Ranks = ALONE,
) -> ResilientDevice:
    """Return the device that a recipe names, behind its policy for failures; it is opened when it is first used.

    With `faults` it is a faulty one, the individual chip `fault_seed`. Of several processes, each has its own.
    """
    name = chip.device_of(ranks.rank, ranks.size)
    require_loopable(name)
    threads = chip.threads if ranks.size == 1 else ranks.threads(chip.threads or os.cpu_count() or 1)
    opener = device_opener(
        name,
        threads=threads or None,
        timeout_s=chip.failures.timeout_s,
        profile=read_profile(chip.profile),
    )
    log = FailureLog(policy_of(chip)) if log is None else log
    if not faults:
        return ResilientDevice(opener, log)
    return ResilientDevice(lambda: FaultyDevice(opener(), faults, seed=fault_seed), log)


def open_loop(recipe: Recipe, row: Learn, log: FailureLog, ranks: Ranks = ALONE) -> ResilientDevice:
    """Return the device in a row's loop: the recipe's chip, or the faulty one where the row asks for it."""
    if not row.faults or recipe.faults is None:
        return open_device(recipe.chip, log, ranks=ranks)
    return open_device(recipe.chip, log, faults=faults_of(recipe), fault_seed=recipe.faults.seed, ranks=ranks)


def executor_on(device: Device, recipe: Recipe) -> DeviceExecutor:
    """Return the executor that quantises and compiles as the recipe says, on an open device."""
    return DeviceExecutor(
        device=device,
        profile=read_profile(recipe.chip.profile),
        scheme=scheme_of(recipe),
        spikes_per_update=recipe.chip.spikes_per_update,
    )


def calibration_samples(parts: Parts) -> Samples:
    """Return the first training samples of the split, for balancing and calibration."""
    return Samples.of(parts.train.dataset, parts.train.indices[:CALIBRATION_SAMPLES], parts.train.n_windows)


def initial_network(recipe: Recipe, parts: Parts, *, seed: int) -> Network:
    """Return the untrained network: weights from the seed, balanced on training recordings."""
    n = recipe.network
    neuron = NeuronSpec(kind=n.neuron, v_min=n.v_min, reset=n.reset, spikes_per_step=n.spikes_per_step, tau_us=n.tau_us)
    shape, dt_us = tuple(parts.train.dataset.shape), int(np.diff(parts.train.edges_us)[0])
    bias = None if n.leak is None else -n.leak
    weights = stream(seed, "weights")
    spec = parse_notation(n.layers, shape, neuron, weights, dt_us=dt_us, bias=bias, clock_us=n.clock_us)
    network = Network(spec, surrogate=SURROGATES.get(n.surrogate)(**_surrogate_options(recipe)))
    network.biases.requires_grad_(n.leak_trained)
    sample = calibration_samples(parts)
    batch = sample.batch(range(len(sample)))
    balance_thresholds(network, batch.x.sum(0), target=n.activity, edges_us=batch.edges_us)
    return network


def train_row(
    recipe: Recipe,
    name: str,
    parts: Parts,
    done: Mapping[str, Trained],
    *,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train one row, or take up its checkpoint; write the network to `folder`/<name>.network.safetensors.

    Of several processes all train, and the first one alone needs the rows `done` and the folder; rows that train
    nothing are for the first one.
    """
    row = recipe.learn[name]
    network = initial_network(recipe, parts, seed=seed)
    if row.warm_start is not None and ranks.is_first:
        network.load_weights(_start(row.warm_start, done))
    if row.method in UNTRAINED:
        trained = _remedied(recipe, name, network, parts, done)
    else:
        trained = _fit(recipe, name, network, parts, seed=seed, folder=folder, progress=progress, ranks=ranks)
    if ranks.is_first:
        tree.write(folder / f"{name}.network.safetensors", trained.spec)
    return trained


def _remedied(recipe: Recipe, name: str, network: Network, parts: Parts, done: Mapping[str, Trained]) -> Trained:
    """A row that rescales layers and trains nothing."""
    row, begin = recipe.learn[name], time.perf_counter()
    log = FailureLog(policy_of(recipe.chip))
    sample = calibration_samples(parts)
    batch = sample.batch(range(len(sample)))
    if row.method == "convert":
        model: Literal["frame", "windows"] = "frame"
        x, edges_us = batch.x.sum(0), batch.edges_us
        spec = normalize_by_data(network, x, percentile=row.percentile, gain=row.gain, edges_us=edges_us)
    else:
        assert row.warm_start is not None  # the recipe's own invariant
        model = done[row.warm_start].model if row.warm_start in done else "windows"
        with open_device(recipe.chip, log) as device:
            executor = executor_on(device, recipe)
            spec = correct_counts(network, batch, executor, model=model)
    seconds = time.perf_counter() - begin
    return Trained(name=name, spec=spec, model=model, result=None, seconds=seconds, failures=log.entries)


def _fit(
    recipe: Recipe,
    name: str,
    network: Network,
    parts: Parts,
    *,
    seed: int,
    folder: Path,
    progress: Progress | None,
    ranks: Ranks,
) -> Trained:
    row, train = recipe.learn[name], parts.train
    if row.data == "pretrain":
        assert parts.pretrain is not None  # the recipe's own invariant
        train = parts.pretrain
    identity = training_identity(recipe, name, network, seed, train, parts.validation)
    path = folder / f"{name}.failures.json" if ranks.is_first else None
    log = FailureLog(policy_of(recipe.chip), path=path, identity=identity)
    with open_loop(recipe, row, log, ranks) as device, share_threads(ranks.threads(recipe.threads)):
        method = METHODS.get(row.method)(method_options(row, scheme_of(recipe), ranks), executor_on(device, recipe))
        result = fit(
            method,
            network,
            train,
            fit_options(recipe, row),
            seed=derived_seed(seed, "fit", name) % (1 << 31),
            score=lambda net: validation_accuracy(
                recipe, row, net, method, parts.validation, device=device, ranks=ranks
            ),
            identity=identity,
            checkpoint=folder / f"{name}.checkpoint.safetensors",
            progress=progress,
            failures=log,
            ranks=ranks,
        )
    spec, entries = network.to_spec(), log.entries
    return Trained(name=name, spec=spec, model=method.model, result=result, seconds=result.seconds, failures=entries)


def validation_accuracy(
    recipe: Recipe,
    row: Learn,
    network: Network,
    method: Method,
    validation: Samples,
    *,
    device: Device,
    ranks: Ranks = ALONE,
) -> float:
    """Return the accuracy on validation recordings where the method's counts: in software or on the chip.

    The device is the loop's own: a remote one cannot be opened twice. The next step loads its program again. Each of
    several processes runs its share of the recordings.
    """
    if ranks.size > 1:
        own = validation.part(ranks.share)
        n, (_, count) = len(validation), ranks.weights(len(validation))

        def alone() -> int:
            found = validation_accuracy(recipe, row, network, method, own, device=device)
            return round(found * len(own))

        _, (right,) = ranks.agree(alone, lambda n_right: [n_right * count])
        return right / n
    if method.place == "software":
        answers = software_answers(network, validation, method.model, whole_counts=row.whole_counts)
    else:
        executor_on(device, recipe).load(network)
        answers = device_answers(device, validation)
    potentials = answers.potentials if recipe.measure.ties == "potential" else None
    return float(accuracy(decide(answers.counts, potentials), answers.labels).value)


def _surrogate_options(recipe: Recipe) -> dict[str, float]:
    name, value = recipe.network.surrogate, recipe.network.sharpness
    return {"sharpness": value} if name in ("exponential", "fast-sigmoid") else {"width": 1.0 / value}


def _start(warm_start: str, done: Mapping[str, Trained]) -> NetworkSpec:
    if warm_start in done:
        return done[warm_start].spec
    return tree.read(Path(warm_start), NetworkSpec)
