"""Plain-data series of a deployed row for the report: what its figures show."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from chiploop.chip.device import COUNTER_NAMES, Monitor
from chiploop.chip.program import STATE_MIN, CoreConfig, Program, Target
from chiploop.chip.virtual import VirtualDevice
from chiploop.events.types import Events, SensorShape
from chiploop.learn.batch import Batch, Samples
from chiploop.learn.fit import FitResult
from chiploop.measure.accuracy import accuracy, decide
from chiploop.measure.figure import Figure, layer_correlation, raster, weight_distribution
from chiploop.network.network import Network
from chiploop.network.run import run_frame, run_windows
from chiploop.quantize.scheme import QuantSpec
from chiploop.recipes.evaluate import Deployed, faulty_answers
from chiploop.recipes.recipe import Recipe
from chiploop.recipes.train import faults_of, open_device

DRIFT_SAMPLES = 64
"""Test recordings that the correlation of modelled and observed counts is taken over."""

RESPONSE_EVENTS, RESPONSE_THRESHOLD = 20, 64
"""Events and integer threshold of the swept neuron in the IF-versus-ReLU figure."""


def figures_of(recipe: Recipe, deployed: Deployed, test: Samples, *, place: str) -> tuple[Figure, ...]:
    """Return a row's figures: learning curve, drift, rates, quantisation, output weights, one raster."""
    name, fc = deployed.trained.name, deployed.trained.spec.spiking[-1]
    assert fc.weight is not None
    figures = [
        _drift(recipe, deployed, test),
        _rates(deployed),
        _quantisation(deployed.quant, name),
        weight_distribution(fc.weight, method=name, layer=fc.name),
        _one_raster(recipe, deployed, test),
    ]
    if deployed.trained.result is not None:
        figures.insert(0, _learning_curve(deployed.trained.result, name, place))
    return tuple(figures)


def levels_figure(recipe: Recipe, deployed: Deployed, test: Samples) -> Figure:
    """Return the accuracy on the recipe's faulty chip at several multiples of its faults' strengths."""
    assert recipe.faults is not None  # the caller asks for it
    found = []
    for level in recipe.faults.levels:
        answers = faulty_answers(recipe, deployed.program, test, level=level)
        broken = recipe.measure.ties == "potential"
        found.append(accuracy(decide(answers.counts, answers.potentials if broken else None), answers.labels))
    row = recipe.learn[deployed.trained.name]
    data = {
        "levels": list(recipe.faults.levels),
        "accuracy": [metric.value for metric in found],
        "low": [metric.low for metric in found],
        "high": [metric.high for metric in found],
        "n": len(test),
        "faults": ", ".join(map(repr, faults_of(recipe))),
        "trained_through": row.faults,
    }
    return Figure(kind="fault-levels", method=deployed.trained.name, data=data)


def if_response() -> Figure:
    """Return the spike counts of one integrate-and-fire neuron on the chip against the sampled ReLU (figure 1).

    One neuron hears N events through a weight w, swept over the whole range: ReLU gives max(0, N w / theta).
    """
    weights = np.arange(-127, 128)
    pixel = SensorShape(1, 1, 1)
    nowhere = np.zeros(RESPONSE_EVENTS, int)
    events = Events.from_columns(np.arange(RESPONSE_EVENTS), nowhere, nowhere, nowhere, pixel)
    core = CoreConfig(
        core=0,
        layer="neurons",
        weight=weights.astype(np.int8).reshape(1, 1, 1, -1),
        threshold=RESPONSE_THRESHOLD,
        floor=STATE_MIN,
        reset="subtract",
        spikes_per_update="one",
        stride=1,
        padding=0,
        pool=0,
        in_shape=pixel,
        neuron_shape=SensorShape(len(weights), 1, 1),
        targets=(),
    )
    with VirtualDevice(threads=1) as device:
        device.load(one_core_program(core))
        counts = device.run_batch([events]).output_counts[0]
    x = RESPONSE_EVENTS * weights / RESPONSE_THRESHOLD
    data = {"x": x, "relu": np.maximum(x, 0), "if_counts": counts, "threshold": RESPONSE_THRESHOLD}
    return Figure(kind="if-response", data=data)


def one_core_program(core: CoreConfig) -> Program:
    """Return the program in which a single core hears the input and answers."""
    return Program(
        profile_hash="",
        quant_hash="",
        cores=(core,),
        input_shape=core.in_shape,
        inputs=(Target(core.core),),
        outputs=(core.core,),
    )


def _learning_curve(result: FitResult, name: str, place: str) -> Figure:
    history = result.history
    data = {
        "epoch": [epoch.epoch + 1 for epoch in history],
        "train_loss": [epoch.loss for epoch in history],
        "validation": {place: [epoch.score for epoch in history]},
    }
    return Figure(kind="learning-curve", method=name, data=data)


def _drift(recipe: Recipe, deployed: Deployed, test: Samples) -> Figure:
    some = test.some(DRIFT_SAMPLES)
    batch = some.batch(range(len(some)))
    network = Network(deployed.trained.spec)
    with torch.no_grad():
        clocked = deployed.trained.model == "windows"
        edges_us = batch.edges_us
        if clocked:
            run = run_windows(network, batch.x, edges_us=edges_us)
        else:
            run = run_frame(network, batch.x.sum(0), edges_us=edges_us)
    modelled = {name: value.sum(0).flatten(1).numpy() for name, value in run.counts.items()}
    return layer_correlation(modelled, _observed(recipe, deployed.program, batch), method=deployed.trained.name)


def _observed(recipe: Recipe, program: Program, batch: Batch) -> Mapping[str, NDArray[np.float64]]:
    names = tuple(core.layer for core in program.cores)
    monitor = Monitor(counts=names, window_edges_us=(batch.edges_us[0], batch.edges_us[-1]))
    with open_device(recipe.chip) as device:
        device.load(program)
        counts = device.run_batch(batch.events, monitor=monitor).counts
    return {name: counts[name].sum(0).reshape(len(batch.events), -1).astype(np.float64) for name in names}


def _rates(deployed: Deployed) -> Figure:
    counters = deployed.answers["chip"].counters
    layers = list(counters)

    def per_sample(counter: str) -> list[float]:
        return [float(counters[name][:, COUNTER_NAMES.index(counter)].mean()) for name in layers]

    neurons = [int(np.prod(deployed.program.layer(name).neuron_shape)) for name in layers]
    data = {
        "layers": layers,
        "spikes_per_sample": per_sample("spikes"),
        "synops_per_sample": per_sample("synops"),
        "neurons": neurons,
    }
    return Figure(kind="rates", method=deployed.trained.name, data=data)


def _quantisation(quant: QuantSpec, name: str) -> Figure:
    columns = ("scale", "snr_db", "clipped", "zeroed")
    data = {column: [getattr(layer, column) for layer in quant.layers] for column in columns}
    return Figure(kind="quantisation", method=name, data={"layers": [layer.name for layer in quant.layers], **data})


def _one_raster(recipe: Recipe, deployed: Deployed, test: Samples) -> Figure:
    """The first test recording that the chip got right, else the first."""
    labels, choice = test.labels, deployed.decisions["chip"].choice
    right = np.flatnonzero(labels == choice)
    at = int(right[0]) if len(right) else 0
    with open_device(recipe.chip) as device:
        device.load(deployed.program)
        outputs = device.run(test.events(at)).outputs
    decision = int(choice[at])
    return raster(
        test.events(at),
        outputs[deployed.program.output_layer],
        method=deployed.trained.name,
        label=int(labels[at]),
        decision=None if decision < 0 else decision,
    )
