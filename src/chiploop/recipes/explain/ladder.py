"""The stages from the model to the chip, each with one cause more than the one before.

The order is that of CAUSES. Event order comes before the one-spike rule and the 16-bit states: both are rules about
single updates, and in a window of a clock there are none. The causes interact (surplus that waits under the one-spike
rule can saturate a state), so a share says what a cause costs on top of those before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import Device, Monitor
from chiploop.chip.faults import FaultyDevice
from chiploop.chip.program import Program
from chiploop.chip.timed import TimedDevice
from chiploop.chip.virtual import VirtualDevice
from chiploop.events.types import Events
from chiploop.learn.batch import Batch, Samples
from chiploop.measure.accuracy import decide, is_right
from chiploop.measure.causes import Explanation, StageOutcome, explain_stages
from chiploop.network.network import Network
from chiploop.network.run import run_frame, run_windows
from chiploop.quantize.apply import dequantize, quantize
from chiploop.quantize.scheme import QuantSpec
from chiploop.recipes.explain.conditions import Conditions
from chiploop.spec.graph import NetworkSpec

LAYER_SAMPLES = 64
"""Samples, all classes alike, over which the counts of each layer are compared between stages."""

BATCH = 50
STATE_LIMIT = 32767

Model = Literal["frame", "windows"]
Progress = Callable[[int], None]


class Answered(NamedTuple):
    """One batch's outputs [B, classes], the potentials that break ties, and each layer's counts [B, neurons]."""

    counts: NDArray[np.float64]
    potentials: NDArray[np.float64] | None
    layers: dict[str, NDArray[np.float64]]


class Stage(NamedTuple):
    """A cause (None: the model itself), how a batch is answered with it, and whether a run measures this stage."""

    cause: str | None
    answer: Callable[[Batch], Answered]
    measured: bool = False


def _ignore(_: int) -> None:
    return None


def explain(
    spec: NetworkSpec,
    samples: Samples,
    conditions: Conditions,
    *,
    model: Model = "windows",
    method: str = "network",
    progress: Progress = _ignore,
) -> Explanation:
    """Return what each cause costs a network on these samples, from the model it was trained as to the last stage."""
    stages = list(ladder(spec, samples, conditions, model=model))
    outcomes = [_outcome(stage, samples, conditions, progress) for stage in stages]
    return explain_stages(outcomes, samples.labels, method=method)


def n_stages(spec: NetworkSpec, samples: Samples, conditions: Conditions, *, model: Model) -> int:
    """Return how many stages there are, for a progress bar."""
    return len(list(ladder(spec, samples, conditions, model=model)))


def ladder(spec: NetworkSpec, samples: Samples, conditions: Conditions, *, model: Model) -> Iterator[Stage]:
    """Yield the stages; a cause that cannot act on this network or under these conditions is left out."""
    quant = quantize(spec, conditions.scheme)
    if model == "frame":
        yield Stage(None, _software(spec, "frame", whole_counts=conditions.whole_counts))
        yield Stage("rate-coding", _software(spec, "windows"))
    else:
        yield Stage(None, _software(spec, "windows"))
    yield Stage("weights", _software(_weights_only(quant), "windows"))
    yield Stage("thresholds", _software(dequantize(quant), "windows"))
    yield from _on_the_chip(quant, samples, conditions)


def _on_the_chip(quant: QuantSpec, samples: Samples, conditions: Conditions) -> Iterator[Stage]:
    program = compile_program(quant, conditions.profile, spikes_per_update=conditions.rule)
    leaks = any(core.bias is not None or core.tau_us is not None for core in program.cores)
    steps: list[tuple[str, Program, bool]] = []  # cause, program, whether the leak acts window by window
    coarse = _on_windows(program, samples)
    steps.append(("event-order", _changed(coarse, "all"), leaks))
    if conditions.rule == "one":
        steps.append(("one-spike", _changed(coarse, "one"), leaks))
    if any(core.tau_us is None for core in program.cores):  # a leaky state saturates with fractional bits, too
        steps.append(("saturation", coarse, leaks))
    if coarse is not program or any(core.tau_us is not None for core in program.cores):
        steps.append(("leak", program, False))
    for i, (cause, one, by_window) in enumerate(steps):
        last = i + 1 == len(steps)
        yield Stage(cause, _device(VirtualDevice(threads=conditions.threads), one, by_window=by_window), last)
    if conditions.timing is not None or conditions.stream_faults:
        yield Stage("dropped-events", _device(_disturbed(conditions), program))
    if conditions.program_faults:
        faults = (*conditions.stream_faults, *conditions.program_faults)
        device = FaultyDevice(_timed_or_instant(conditions), faults, seed=conditions.fault_seed)
        yield Stage("mismatch", _device(device, program))


def _timed_or_instant(conditions: Conditions) -> Device:
    if conditions.timing is None:
        return VirtualDevice(threads=conditions.threads)
    return TimedDevice(timing=conditions.timing, threads=conditions.threads)


def _disturbed(conditions: Conditions) -> Device:
    return FaultyDevice(_timed_or_instant(conditions), conditions.stream_faults, seed=conditions.fault_seed)


def _weights_only(quant: QuantSpec) -> NetworkSpec:
    """Return the network with its weights on the grid, all else as it was trained."""
    whole = dequantize(quant)
    layers = tuple(
        dataclasses.replace(rounded, neuron=trained.neuron, bias=trained.bias)
        for rounded, trained in zip(whole.layers, quant.base.layers, strict=True)
    )
    return dataclasses.replace(whole, layers=layers)


def _changed(program: Program, rule: Literal["one", "all"]) -> Program:
    """Return the program under another rule and with wide states; a leaky one has fractional bits instead."""
    cores = tuple(
        dataclasses.replace(core, spikes_per_update=rule, state_bits=16 if core.tau_us is not None else 32)
        for core in program.cores
    )
    return dataclasses.replace(program, cores=cores)


def _on_windows(program: Program, samples: Samples) -> Program:
    """Return the program whose slow clock has one edge a window, with as much bias as all edges of it together.

    Where windows hold different numbers of edges, or the sum passes 16 bits, the program stays as it is.
    """
    if program.clock_us is None:
        return program
    lengths = np.unique(np.diff(samples.edges_us))
    dt_us = int(lengths[0])
    n_edges, rest = divmod(dt_us, program.clock_us)
    biases = [core.bias for core in program.cores if core.bias is not None]
    largest = max((int(np.abs(bias).max()) for bias in biases), default=0)
    if len(lengths) > 1 or rest or n_edges < 1 or largest * n_edges > STATE_LIMIT:
        return program
    cores = tuple(
        core if core.bias is None else dataclasses.replace(core, bias=(core.bias * n_edges).astype(np.int16))
        for core in program.cores
    )
    return dataclasses.replace(program, cores=cores, clock_us=dt_us)


def _at_window_starts(events: Events, edges_us: tuple[int, ...]) -> Events:
    """Return the events in their order, each at the beginning of its window: between them nothing leaks."""
    edges = np.asarray(edges_us)
    t_us = edges[np.searchsorted(edges, events.t_us, side="right") - 1]
    columns = (t_us, events.channel, events.y, events.x)
    return Events.from_columns(*columns, events.shape, start_us=events.start_us, stop_us=events.stop_us)


def _software(spec: NetworkSpec, model: Model, *, whole_counts: bool = False) -> Callable[[Batch], Answered]:
    network = Network(spec)

    @torch.no_grad()
    def answer(batch: Batch) -> Answered:
        if model == "frame":
            run = run_frame(network, batch.x.sum(0), edges_us=batch.edges_us, whole_counts=whole_counts)
        else:
            run = run_windows(network, batch.x, edges_us=batch.edges_us)
        counts = run.counts.items()  # the analogue network's last layer is linear: fewer than no spikes are none
        layers = {name: value.sum(0).clamp(min=0.0).flatten(1).double().numpy() for name, value in counts}
        potentials = run.v[run.output][-1].flatten(1).double().numpy() if run.v else None
        return Answered(run.totals.double().numpy(), potentials, layers)

    return answer


def _device(device: Device, program: Program, *, by_window: bool = False) -> Callable[[Batch], Answered]:
    names = tuple(core.layer for core in program.cores)
    leaky = by_window and any(core.tau_us is not None for core in program.cores)

    def answer(batch: Batch) -> Answered:
        device.load(program)
        events = [_at_window_starts(one, batch.edges_us) for one in batch.events] if leaky else batch.events
        monitor = Monitor(counts=names, window_edges_us=(batch.edges_us[0], batch.edges_us[-1]))
        trace = device.run_batch(events, monitor=monitor)
        layers = {name: trace.counts[name][0].reshape(len(events), -1).astype(np.float64) for name in names}
        return Answered(trace.output_counts.astype(np.float64), trace.output_potentials.astype(np.float64), layers)

    return answer


def _outcome(stage: Stage, samples: Samples, conditions: Conditions, progress: Progress) -> StageOutcome:
    counts, potentials, layers = [], [], []
    compared = np.zeros(len(samples), np.bool_)
    compared[samples.places_of(samples.some(LAYER_SAMPLES))] = True
    seen = 0
    for batch in samples.ordered(BATCH):
        answered = stage.answer(batch)
        counts.append(answered.counts)
        potentials.append(answered.potentials)
        rows = compared[seen : seen + len(batch.labels)]
        layers.append({name: value[rows] for name, value in answered.layers.items()})
        seen += len(batch.labels)
        progress(len(batch.labels))
    broken = conditions.ties == "potential" and all(v is not None for v in potentials)
    decisions = decide(np.concatenate(counts), np.concatenate(potentials) if broken else None)  # type: ignore[arg-type]
    return StageOutcome(
        cause=stage.cause,
        right=is_right(decisions, samples.labels),
        layers={name: np.concatenate([part[name] for part in layers]) for name in layers[0]},
        measured=stage.measured,
    )
