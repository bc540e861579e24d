"""The synchronous network on finer and finer clocks, against the chip: where the gap comes from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from chiploop.chip.device import COUNTER_NAMES
from chiploop.learn.batch import Samples
from chiploop.learn.outputs import software_answers
from chiploop.measure.accuracy import accuracy, decide
from chiploop.measure.figure import Figure
from chiploop.network.network import Network
from chiploop.quantize.apply import dequantize
from chiploop.recipes.evaluate import Deployed

WINDOWS = (1, 3, 10, 30, 100)
"""Numbers of windows a recording is cut into; the chip stands for one event each."""

MAX_SAMPLES = 200
BATCH_WINDOWS = 1_000
"""Windows times recordings at once, which bounds the memory."""


@torch.no_grad()
def windows_figure(deployed: Deployed, test: Samples) -> Figure:
    """Return accuracy, agreement with the chip, and each layer's counts relative to the chip's, by number of windows.

    The same integers throughout: what changes is only how finely time is cut. Without a leak the network does not
    depend on the length of a step, so any clock may be tried on the weights of another.
    """
    some = test.some(MAX_SAMPLES)
    rows = test.places_of(some)
    spec = dequantize(deployed.quant)
    chip = deployed.answers["chip"]
    chip_choice = decide(chip.counts[rows]).choice
    spikes = COUNTER_NAMES.index("spikes")
    neurons = {core.layer: int(np.prod(core.neuron_shape)) for core in deployed.program.cores}
    chip_rates = {name: float(table[rows, spikes].mean()) / neurons[name] for name, table in chip.counters.items()}
    accuracies, agreement, relative = [], [], []
    for n_windows in WINDOWS:
        samples = Samples.of(test.dataset, some.indices, n_windows)
        clocked = Network(replace(spec, dt_us=int(np.diff(samples.edges_us)[0])))
        answers = software_answers(clocked, samples, "windows", batch_size=max(1, BATCH_WINDOWS // n_windows // 2))
        decisions = decide(answers.counts)
        accuracies.append(float(accuracy(decisions, samples.labels).value))
        agreement.append(float((decisions.choice == chip_choice).mean()))
        relative.append([answers.rates[name] / rate if rate > 0 else None for name, rate in chip_rates.items()])
    data = {
        "windows": list(WINDOWS),
        "accuracy": accuracies,
        "agreement": agreement,
        "chip_accuracy": float(accuracy(decide(chip.counts[rows]), samples.labels).value),
        "layers": list(chip_rates),
        "relative_counts": relative,
    }
    return Figure(kind="windows", method=deployed.trained.name, data=data)
