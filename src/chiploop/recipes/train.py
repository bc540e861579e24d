"""Training one row of a recipe: the network, the method, the loop's device, the checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from chiploop import tree
from chiploop.chip.device import Device
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.digest import digest
from chiploop.errors import RecipeError, nearest
from chiploop.learn.augment import Augment
from chiploop.learn.balance import balance_thresholds, normalize_by_data
from chiploop.learn.batch import Samples
from chiploop.learn.correct import correct_counts
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.fit import FitOptions, FitResult, Progress, fit
from chiploop.learn.method import METHODS, Method, MethodOptions
from chiploop.learn.outputs import device_answers, software_answers
from chiploop.measure.accuracy import accuracy, decide
from chiploop.network.network import Network
from chiploop.network.surrogate import SURROGATES
from chiploop.quantize.scheme import IntScheme
from chiploop.recipes.catalogue import SIMULATORS
from chiploop.recipes.prepare import Parts
from chiploop.recipes.recipe import UNTRAINED, Chip, Learn, Recipe
from chiploop.rng import derived_seed, stream
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation

TRAINING_VERSION = 1
"""Raised when a change of the code changes what training gives, so that old checkpoints are not taken up."""

CALIBRATION_SAMPLES = 256
"""Training recordings that thresholds are balanced, networks normalised and accelerators calibrated on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A row after training: the float network, the model it was trained as, and how training went."""

    name: str
    spec: NetworkSpec
    model: Literal["frame", "windows"]
    result: FitResult | None
    seconds: float


def scheme_of(recipe: Recipe) -> IntScheme:
    """Return the recipe's integer scheme."""
    q = recipe.quantize
    return IntScheme(bits=q.bits, search=q.search, percentile=q.percentile)


def open_device(chip: Chip) -> Device:
    """Open the device that a recipe names."""
    if chip.device == "virtual":
        return VirtualDevice(threads=chip.threads or None)
    if chip.device == "oracle":
        return OracleDevice()
    raise RecipeError(f"chip.device = {chip.device!r} cannot be in the loop: {nearest(chip.device, SIMULATORS)}")


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
    spec = parse_notation(n.layers, shape, neuron, stream(seed, "weights"), dt_us=dt_us)
    network = Network(spec, surrogate=SURROGATES.get(n.surrogate)(**_surrogate_options(recipe)))
    sample = calibration_samples(parts)
    balance_thresholds(network, sample.batch(range(len(sample))).x.sum(0), target=n.activity)
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
) -> Trained:
    """Train one row, or take up its checkpoint; write the network to `folder`/<name>.network.safetensors."""
    row = recipe.learn[name]
    network = initial_network(recipe, parts, seed=seed)
    if row.warm_start is not None:
        network.load_weights(_start(row.warm_start, done))
    if row.method in UNTRAINED:
        trained = _remedied(recipe, name, network, parts, done)
    else:
        result, method = _fit(recipe, name, network, parts, seed=seed, folder=folder, progress=progress)
        trained = Trained(name=name, spec=network.to_spec(), model=method.model, result=result, seconds=result.seconds)
    tree.write(folder / f"{name}.network.safetensors", trained.spec)
    return trained


def _remedied(recipe: Recipe, name: str, network: Network, parts: Parts, done: Mapping[str, Trained]) -> Trained:
    """A row that rescales layers and trains nothing."""
    row, begin = recipe.learn[name], time.perf_counter()
    sample = calibration_samples(parts)
    batch = sample.batch(range(len(sample)))
    if row.method == "convert":
        model: Literal["frame", "windows"] = "frame"
        spec = normalize_by_data(network, batch.x.sum(0), percentile=row.percentile, gain=row.gain)
    else:
        assert row.warm_start is not None  # the recipe's own invariant
        model = done[row.warm_start].model if row.warm_start in done else "windows"
        with open_device(recipe.chip) as device:
            executor = executor_on(device, recipe)
            spec = correct_counts(network, batch, executor, model=model)
    return Trained(name=name, spec=spec, model=model, result=None, seconds=time.perf_counter() - begin)


def _fit(
    recipe: Recipe, name: str, network: Network, parts: Parts, *, seed: int, folder: Path, progress: Progress | None
) -> tuple[FitResult, Method]:
    row, train = recipe.learn[name], parts.train
    if row.data == "pretrain":
        assert parts.pretrain is not None  # the recipe's own invariant
        train = parts.pretrain
    with ExitStack() as stack:
        executor = executor_on(stack.enter_context(open_device(recipe.chip)), recipe)
        method = METHODS.get(row.method)(_method_options(recipe, row), executor)
        result = fit(
            method,
            network,
            train,
            _fit_options(recipe, row),
            seed=derived_seed(seed, "fit", name) % (1 << 31),
            score=lambda net: validation_accuracy(recipe, row, net, method, parts.validation),
            identity=_identity(recipe, name, network, seed, train, parts.validation),
            checkpoint=folder / f"{name}.checkpoint.safetensors",
            progress=progress,
        )
    return result, method


def validation_accuracy(recipe: Recipe, row: Learn, network: Network, method: Method, validation: Samples) -> float:
    """Return the accuracy on validation recordings where the method's counts: in software or on the chip."""
    if method.place == "software":
        answers = software_answers(network, validation, method.model, whole_counts=row.whole_counts)
    else:
        with open_device(recipe.chip) as device:
            executor_on(device, recipe).load(network)
            answers = device_answers(device, validation)
    potentials = answers.potentials if recipe.measure.ties == "potential" else None
    return float(accuracy(decide(answers.counts, potentials), answers.labels).value)


def _method_options(recipe: Recipe, row: Learn) -> MethodOptions:
    return MethodOptions(
        quantized=row.quantized,
        whole_counts=row.whole_counts,
        plan=row.plan,
        loss=row.loss,
        temperature=row.temperature,
        joint=row.joint,
        activity=row.activity,
        max_rate=row.max_rate,
        scheme=scheme_of(recipe),
    )


def _fit_options(recipe: Recipe, row: Learn) -> FitOptions:
    changes = (row.augment or recipe.augment).model_dump()
    return FitOptions(
        epochs=row.epochs,
        batch_size=row.batch_size,
        lr=row.lr,
        final_lr=row.final_lr,
        warmup=row.warmup,
        weight_decay=row.weight_decay,
        clip=row.clip,
        patience=row.patience,
        select=row.select,
        augment=Augment(**changes) if any(changes.values()) else None,
    )


def _surrogate_options(recipe: Recipe) -> dict[str, float]:
    name, value = recipe.network.surrogate, recipe.network.sharpness
    return {"sharpness": value} if name in ("exponential", "fast-sigmoid") else {"width": 1.0 / value}


def _start(warm_start: str, done: Mapping[str, Trained]) -> NetworkSpec:
    if warm_start in done:
        return done[warm_start].spec
    return tree.read(Path(warm_start), NetworkSpec)


def _identity(recipe: Recipe, name: str, network: Network, seed: int, train: Samples, validation: Samples) -> str:
    """Name what is trained and on what it is selected: the same name gives the same bits."""
    parts = recipe.model_dump(mode="json", include={"network", "encode", "quantize", "chip", "augment", "threads"})
    row = recipe.learn[name].model_dump(mode="json")
    start = network.to_spec().digest
    data = [_data_identity(part) for part in (train, validation)]
    return digest([TRAINING_VERSION, parts, row, recipe.measure.ties, start, seed, data])


def _data_identity(samples: Samples) -> list[str | int]:
    """Name a part by its recordings; a simulated one by its camera, too."""
    dataset = samples.dataset
    keys = digest([str(dataset.keys[i]) for i in samples.indices])
    camera = getattr(dataset, "camera", None)
    return [dataset.name, keys, math.prod(dataset.shape), dataset.duration_us, "" if camera is None else digest(camera)]
