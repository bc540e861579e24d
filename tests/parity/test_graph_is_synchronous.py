"""Without inhibition, the clock-driven network and the chip count the same, whatever the order of events.

With weights and biases of at least 0, no floor, reset by subtraction, every spike that is due at an update ("all") and
no saturation, a neuron that has been given the charge Q in all has spiked floor(Q / theta) times and keeps Q mod theta,
in any order of the charges: each update leaves V < theta, and V + theta (spikes so far) = Q. Q depends on nothing but
how often each synapse was used, that is on the cumulative counts of the sources; at the edges of windows those are
equal for the input, and so, layer by layer along any graph, for all. (With inhibition the order matters, and the gap
between the two models begins: tests/parity/test_chip_is_synchronous.py has its known differences.)
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import DEVICES, Monitor
from chiploop.chip.profile import read_profile
from chiploop.encode.raster import rasterize_batch
from chiploop.events.types import Events, SensorShape
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.rng import stream
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec
from strategies_blocks import SHAPE, in_integers, random_notation, whole_numbers

SIMULATORS = ["virtual", "oracle"]
STOP_US = 40
N_EVENTS = 40


def excitatory(layer: LayerSpec, rng: np.random.Generator) -> LayerSpec:
    """Thresholds that let about as many spikes out as come in; half of the layers with a bias."""
    assert layer.weight is not None
    fan_out = layer.weight[:, 0].size
    weight = rng.integers(0, 12, layer.weight.shape).astype(np.float32)
    weight.flat[0] = 11  # a layer of zeros would be refused
    theta = 1 + int(5.5 * fan_out * rng.uniform(0.7, 1.3))
    bias = rng.integers(0, 6, layer.out_shape[0]).astype(np.float32) if rng.random() < 0.5 else None
    return dataclasses.replace(layer, weight=weight, bias=bias, neuron=NeuronSpec(v_th=theta, spikes_per_step="all"))


def random_case(seed: int) -> tuple[NetworkSpec, Events, tuple[int, ...]]:
    rng = stream(seed, "graph")
    spec = whole_numbers(random_notation(rng), rng, layer=excitatory, clock_us=int(rng.integers(3, 30)))
    t = np.sort(rng.integers(0, STOP_US, N_EVENTS))
    events = Events.from_columns(
        t, *(rng.integers(0, n, N_EVENTS) for n in SHAPE), SensorShape(*SHAPE), stop_us=STOP_US
    )
    inner = rng.integers(1, STOP_US, 5).tolist()
    return spec, events, tuple(sorted({0, *inner, STOP_US + int(rng.integers(0, 9))}))


def require_same_at_every_edge(device: str, spec: NetworkSpec, events: Events, edges: tuple[int, ...]) -> int:
    """Compare every layer's cumulative counts and potentials at every edge; return the spikes of the last layer."""
    program = compile_program(in_integers(spec), read_profile("ideal"), spikes_per_update="all")
    names = tuple(layer.name for layer in spec.spiking)
    with DEVICES.get(device)() as chip:
        chip.load(program)
        trace = chip.run(events, monitor=Monitor(counts=names, potentials=names, window_edges_us=edges))
    assert not any(counters.saturated_high for counters in trace.counters.values())
    # Beyond the end of the recording no clock ticks on the chip: it is the run's end that ends it.
    inside = tuple(edge for edge in edges if edge < STOP_US)
    x = torch.from_numpy(rasterize_batch([events], np.array((*inside, STOP_US))).counts.astype(np.float32))
    with torch.no_grad():
        run = run_windows(Network(spec), x, edges_us=(*inside, STOP_US))
    for name in names:
        for seen, modelled in ((trace.counts, run.counts), (trace.potentials, run.v)):
            expected = modelled[name][:, 0].numpy()
            np.testing.assert_array_equal(seen[name].reshape(expected.shape), expected, err_msg=name)
    return int(trace.counts[names[-1]].sum())


@pytest.mark.parametrize("device", SIMULATORS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_any_graph_of_excitation(device: str, seed: int) -> None:
    require_same_at_every_edge(device, *random_case(seed))


@pytest.mark.parametrize("device", SIMULATORS)
def test_residual_sums_and_joined_channels_that_spike(device: str) -> None:
    """Blocks in blocks, and enough events for the last layer to spike."""
    rng = stream(5, "deep")
    text = "3c3p1-(3c3p1-[2c1]-3c3p1)-P2-[(3c3p1)]-(6c1)-4"
    spec = whole_numbers(text, rng, layer=excitatory, clock_us=7)
    t = np.sort(rng.integers(0, STOP_US, 400))
    events = Events.from_columns(t, *(rng.integers(0, n, 400) for n in SHAPE), SensorShape(*SHAPE), stop_us=STOP_US)
    assert require_same_at_every_edge(device, spec, events, (0, 1, 9, 25, STOP_US)) > 100
