"""With one event or one tick a window, each layer of any graph is the chip's core, spike for spike.

As in test_chip_is_synchronous.py (weights and biases of at most the threshold, one spike an update), but with a slow
clock, and in networks whose layers hear several sources. What a core meets is put together here from what its sources
sent on the chip: by time, then ticks first, then the source's place in the program (the input before all), then the
place in the source's stream. Every such thing gets a window of its own in the clock-driven layer.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import DEVICES, Device, Monitor, Trace
from chiploop.chip.profile import read_profile
from chiploop.chip.program import CoreConfig, Program
from chiploop.events.types import Events, SensorShape
from chiploop.network.network import Network
from chiploop.network.run import Run, run_windows
from chiploop.rng import stream
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Flatten, Linear
from strategies_blocks import SHAPE, in_integers, random_notation, whole_numbers

SIMULATORS = ["virtual", "oracle"]
STOP_US = 60
N_EVENTS = 120
PERIOD = 1 << 20
"""Of the clock of a layer run alone: more than it hears between two ticks."""

TICK, EVENT = 0, 1


class Met(NamedTuple):
    """A tick (of no address), or an event, and where it stands in what a core meets."""

    t_us: int
    kind: int
    source: int
    place: int
    channel: int = 0
    y: int = 0
    x: int = 0


def spiking_layer(layer: LayerSpec, rng: np.random.Generator) -> LayerSpec:
    """Excitation and inhibition, floors, both resets; half of the layers with a bias of either sign.

    An event gives its targets about a threshold in all, so that activity neither dies out nor runs away.
    """
    assert layer.weight is not None
    theta = int(rng.integers(40, 127))
    spread = min(theta // 2, max(1, int(2.0 * theta / layer.weight[:, 0].size)))
    weight = rng.integers(-spread, 2 * spread + 1, layer.weight.shape).astype(np.float32)
    weight.flat[0] = 2 * spread
    bias = rng.integers(-theta // 8, theta // 6, layer.out_shape[0]).astype(np.float32) if rng.random() < 0.5 else None
    floor = None if rng.random() < 0.5 else -int(rng.integers(0, 60))
    reset = str(rng.choice(["subtract", "zero"]))
    neuron = NeuronSpec(v_th=theta, v_min=floor, reset=reset, spikes_per_step="one")  # type: ignore[arg-type]
    return dataclasses.replace(layer, weight=weight, bias=bias, neuron=neuron)


def met_by(core: CoreConfig, program: Program, events: Events, trace: Trace) -> list[Met]:
    """Return all that a core meets in a run, in its order."""
    place = {one.core: i for i, one in enumerate(program.cores)}
    found = []
    if core.bias is not None:
        assert program.clock_us is not None
        found += [Met(t, TICK, 0, 0) for t in range(0, events.stop_us, program.clock_us)]
    for sender, target in program.links():
        if target.core != core.core:
            continue
        sent, pool, source = events, target.pool, -1
        if sender is not None:
            one = program.core(sender)
            sent, pool, source = trace.spikes[one.layer], target.pool + one.pool, place[sender]
        for i, (t, c, y, x) in enumerate(zip(sent.t_us, sent.channel, sent.y, sent.x, strict=True)):
            row, column = int(y) >> pool, int(x) >> pool
            if row < core.in_shape.height and column < core.in_shape.width:
                found.append(Met(int(t), EVENT, source, i, int(c) + target.shift, row, column))
    return sorted(found)


def windows_of_their_own(core: CoreConfig, met: list[Met]) -> tuple[Events, tuple[int, ...]]:
    """Return the same sequence at new times, each thing in a window of its own, ticks at multiples of PERIOD."""
    times, ticks = [], 0
    for one in met:
        ticks += one.kind == TICK
        times.append((ticks - 1) * PERIOD if one.kind == TICK else (times[-1] + 1 if times else 1))
    events = [(t, one.channel, one.y, one.x) for t, one in zip(times, met, strict=True) if one.kind == EVENT]
    t, channel, y, x = np.array(events, np.int64).reshape(-1, 4).T
    stop_us = times[-1] + 1
    return Events.from_columns(t, channel, y, x, core.in_shape, stop_us=stop_us), (*times, stop_us)


def alone(spec: NetworkSpec, core: CoreConfig) -> NetworkSpec:
    """The network of one layer; a fully connected one hears the map it was flattened from."""
    layer, shape = spec.layer(core.layer), tuple(core.in_shape)
    layers = [layer]
    if isinstance(layer.op, Linear):
        layers.insert(0, LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=shape))
    return chain(layers, input_shape=shape, dt_us=1, clock_us=None if layer.bias is None else PERIOD)


def clocked(spec: NetworkSpec, core: CoreConfig, met: list[Met], edges: tuple[int, ...]) -> Run:
    """Run the layer alone over the windows, each with its event, if that is what it holds."""
    x = torch.zeros(len(met), 1, *core.in_shape)
    for i, one in enumerate(met):
        if one.kind == EVENT:
            x[i, 0, one.channel, one.y, one.x] = 1
    with torch.no_grad():
        return run_windows(Network(spec), x, edges_us=edges)


def run_on(device: Device, spec: NetworkSpec, events: Events, edges: tuple[int, ...]) -> tuple[Program, Trace]:
    program = compile_program(in_integers(spec), read_profile("ideal"))
    layers = tuple(core.layer for core in program.cores)
    device.load(program)
    monitor = Monitor(counts=layers, potentials=layers, spikes=layers, window_edges_us=edges)
    return program, device.run(events, monitor=monitor)


def require_spike_for_spike(name: str, seed: int) -> tuple[int, int]:
    """Compare every core of a random network; return how many ticks it met, and how many spikes it sent."""
    rng = stream(seed, "graph")
    spec = whole_numbers(random_notation(rng), rng, layer=spiking_layer, clock_us=int(rng.integers(2, 20)))
    t = np.sort(rng.integers(0, STOP_US, N_EVENTS))
    events = Events.from_columns(
        t, *(rng.integers(0, n, N_EVENTS) for n in SHAPE), SensorShape(*SHAPE), stop_us=STOP_US
    )
    ticks = spikes = 0
    with DEVICES.get(name)() as device:
        program, whole = run_on(device, spec, events, (0, STOP_US))
        for core in program.cores:
            met = met_by(core, program, events, whole)
            sent = whole.spikes[core.layer]
            ticks, spikes = ticks + sum(one.kind == TICK for one in met), spikes + len(sent)
            if not met:
                assert not len(sent)
                continue
            layer = alone(spec, core)
            heard, edges = windows_of_their_own(core, met)
            run = clocked(layer, core, met, edges)
            _, trace = run_on(device, layer, heard, edges)
            counts, v = (table[core.layer][:, 0].numpy() for table in (run.counts, run.v))
            np.testing.assert_array_equal(trace.counts[core.layer].reshape(counts.shape), counts)
            np.testing.assert_array_equal(trace.potentials[core.layer].reshape(v.shape), v)
            # What the core sent within the network, in its order: by window, and in a window by y, x, f.
            steps = np.argwhere(counts.reshape(len(met), *core.neuron_shape))
            steps = steps[np.lexsort((steps[:, 1], steps[:, 3], steps[:, 2], steps[:, 0]))]
            np.testing.assert_array_equal(np.stack([sent.channel, sent.y, sent.x], 1), steps[:, 1:])
            np.testing.assert_array_equal(sent.t_us, np.array([one.t_us for one in met])[steps[:, 0]])
    return ticks, spikes


@pytest.mark.parametrize("device", SIMULATORS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_any_graph_with_a_clock(device: str, seed: int) -> None:
    require_spike_for_spike(device, seed)


def test_the_random_graphs_tick_and_spike() -> None:
    found = [require_spike_for_spike("virtual", seed) for seed in range(6)]
    assert min(ticks for ticks, _ in found) > 0
    assert sum(spikes for _, spikes in found) > 500
