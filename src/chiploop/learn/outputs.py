"""What a network answers, in software or on a device, for every sample of a part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from chiploop.chip.device import Device
from chiploop.learn.batch import Samples
from chiploop.learn.prefetch import Prefetch
from chiploop.network.network import Network
from chiploop.network.run import run_frame, run_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Outputs of n samples: `counts` [n, classes] (spikes, or activations of an analogue network), `potentials`
    [n, classes] of the output neurons at the end where there are any, `labels` [n].

    `rates`: mean spikes per neuron and sample by layer, in software; `counters` int64[n, 9] by layer, on a device.
    """

    counts: NDArray[np.float64]
    potentials: NDArray[np.float64] | None
    labels: NDArray[np.int64]
    rates: Mapping[str, float]
    counters: Mapping[str, NDArray[np.int64]]


Progress = Callable[[int], None]
"""Told the number of samples just done."""


def _ignore(_: int) -> None:
    return None


@torch.no_grad()
def software_answers(
    network: Network,
    samples: Samples,
    model: Literal["frame", "windows"],
    *,
    whole_counts: bool = False,
    batch_size: int = 64,
    progress: Progress = _ignore,
) -> Answers:
    """Run the network in torch, as the analogue or the clock-driven spiking model."""
    counts, potentials, rates = [], [], {layer.name: 0.0 for layer in network.spec.spiking}
    for batch in Prefetch(samples.ordered(batch_size)):
        if model == "windows":
            run = run_windows(network, batch.x, edges_us=batch.edges_us)
        else:
            run = run_frame(network, batch.x.sum(0), edges_us=batch.edges_us, whole_counts=whole_counts)
        counts.append(run.totals.double().numpy())
        if run.v:
            potentials.append(run.v[run.output][-1].flatten(1).double().numpy())
        for name, value in run.counts.items():
            rates[name] += float(value.sum()) / (len(samples) * value[0, 0].numel())
        progress(len(batch.labels))
    last = np.concatenate(potentials) if potentials else None
    return Answers(counts=np.concatenate(counts), potentials=last, labels=samples.labels, rates=rates, counters={})


def device_answers(device: Device, samples: Samples, *, batch_size: int = 64, progress: Progress = _ignore) -> Answers:
    """Run the samples' events on a loaded device, each from reset state."""
    counts, potentials, tables = [], [], []
    for batch in Prefetch(samples.ordered(batch_size)):
        trace = device.run_batch(batch.events)
        counts.append(trace.output_counts.astype(np.float64))
        potentials.append(trace.output_potentials.astype(np.float64))
        tables.append(trace.counters)
        progress(len(batch.labels))
    counters = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    return Answers(
        counts=np.concatenate(counts),
        potentials=np.concatenate(potentials),
        labels=samples.labels,
        rates={},
        counters=counters,
    )
