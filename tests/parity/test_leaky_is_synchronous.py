"""Leaky neurons with one event or tick in each window, always at the same time in it: the clock is the chip.

The chip's state is V' = V / gain in units of the scale. Between updates it decays exactly, over a window by
exp(-dt / tau), which is what the clock-driven neuron keeps over a step, and a weight is added as it is. So the spikes
are the same, and the potential that the chip reports at the end of a window has decayed for what is left of it after
the event. It is a whole number: half a unit of rounding, and little for the fixed point of the state (16 fractional
bits, each decay rounded once).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import DEVICES, Monitor
from chiploop.chip.profile import read_profile
from chiploop.events.types import Events, SensorShape
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.quantize.apply import dequantize, quantize, state_gain
from chiploop.quantize.scheme import QuantSpec
from chiploop.rng import stream
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Conv, Flatten, Linear, Shape, SumPool

SIMULATORS = ["virtual", "oracle"]
SHAPE: Shape = (1, 16, 16)
DT_US = 50
UNIT = 2.0**-5
"""Volts of a unit of the state over its gain."""

STEPS = 900
EVERY = 6
"""Windows from one tick to the next."""

ROUNDING = 0.5 + 0.01


def narrow_network(rng: np.random.Generator, *, tau_us: float, reset: str, bias: bool) -> NetworkSpec:
    """Kernels that do not overlap and one feature a layer: an event causes at most one event in each layer.

    Weights are smaller than the threshold: no state is exactly at it, where the last bit would decide.
    """
    ops = [
        Conv(channels=1, kernel=2, stride=2),
        SumPool(size=2),
        Conv(channels=1, kernel=2, stride=2),
        Flatten(),
        Linear(features=4),
    ]
    shape, layers, gain = SHAPE, [], 1.0 - math.exp(-DT_US / tau_us)
    for number, op in enumerate(ops):
        weight, neuron, b = None, None, None
        if isinstance(op, (Conv, Linear)):
            theta = int(rng.integers(15, 60))
            floor = -int(rng.integers(1, 20))
            weight = rng.integers(-3, theta, op.weight_shape(shape)).astype(np.float32) * np.float32(UNIT)
            unit = UNIT * gain
            neuron = NeuronSpec(
                kind="lif",
                tau_us=tau_us,
                v_th=theta * unit,
                v_min=floor * unit,
                reset=reset,  # type: ignore[arg-type]
                spikes_per_step="one",
            )
            if bias and number == 0:  # a tick makes many spikes: behind the first layer, windows would hold several
                b = np.array([7 * unit], np.float32)
        layers.append(LayerSpec(name=f"layer{number}", op=op, weight=weight, neuron=neuron, in_shape=shape, bias=b))
        shape = layers[-1].out_shape
    return chain(layers, input_shape=SHAPE, dt_us=DT_US, clock_us=EVERY * DT_US if bias else None)


def one_a_window(rng: np.random.Generator, phase_us: int, windows: np.ndarray) -> tuple[Events, torch.Tensor]:
    """An event in each of these windows, in a corner of the map, so that deep layers spike."""
    n = len(windows)
    y, x = rng.integers(0, 4, (2, n))
    t = windows * DT_US + phase_us
    events = Events.from_columns(t, np.zeros(n, np.int64), y, x, SensorShape(*SHAPE), stop_us=STEPS * DT_US)
    counts = torch.zeros(STEPS, 1, *SHAPE)
    counts[torch.from_numpy(windows), 0, 0, torch.from_numpy(y), torch.from_numpy(x)] = 1
    return events, counts


def require_same(
    device: str, quant: QuantSpec, events: Events, x: torch.Tensor, phase_us: int, names: tuple[str, ...]
) -> dict[str, int]:
    """Compare counts and potentials of these layers; return their spikes."""
    edges = tuple(range(0, STEPS * DT_US + 1, DT_US))
    with DEVICES.get(device)() as chip:
        chip.load(compile_program(quant, read_profile("ideal")))
        trace = chip.run(events, monitor=Monitor(counts=names, potentials=names, window_edges_us=edges))
    with torch.no_grad():
        run = run_windows(Network(dequantize(quant)), x, edges_us=edges)
    for name in names:
        counts, v = run.counts[name][:, 0].numpy(), run.v[name][:, 0].numpy()
        np.testing.assert_array_equal(trace.counts[name].reshape(counts.shape), counts, err_msg=name)
        layer = quant.base.layer(name)
        assert layer.neuron is not None
        assert layer.neuron.tau_us is not None
        left = math.exp(-(DT_US - phase_us) / layer.neuron.tau_us)
        states = v / (quant.layer(name).scale * state_gain(layer, DT_US)) * left
        assert np.abs(trace.potentials[name].reshape(v.shape) - states).max() <= ROUNDING, name
    return {name: int(run.counts[name].sum()) for name in names}


@pytest.mark.parametrize("device", SIMULATORS)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize(("tau_us", "phase_us"), [(30_000.0, 0), (4_000.0, 49), (1_500.0, 20)])
def test_whole_networks_in_which_an_event_causes_one_event(
    device: str, reset: str, tau_us: float, phase_us: int
) -> None:
    rng = stream(3, "leaky", reset)
    spec = narrow_network(rng, tau_us=tau_us, reset=reset, bias=False)
    quant = quantize(spec, scales={layer.name: UNIT for layer in spec.spiking})
    windows = np.flatnonzero(rng.random(STEPS) < 0.8)  # pauses of several windows, too
    names = tuple(layer.name for layer in spec.spiking)
    spikes = require_same(device, quant, *one_a_window(rng, phase_us, windows), phase_us, names)
    assert spikes["layer0"] > 30
    if tau_us > 10_000.0:  # a fast leak keeps the layers behind silent
        assert min(spikes.values()) > 0


@pytest.mark.parametrize("device", SIMULATORS)
@pytest.mark.parametrize("tau_us", [30_000.0, 1_500.0])
def test_ticks_add_to_the_potential_itself(device: str, tau_us: float) -> None:
    """Ticks and events at the beginnings of windows, never in the same one; a tick's spikes are many, so one layer."""
    rng = stream(4, "leaky")
    spec = narrow_network(rng, tau_us=tau_us, reset="subtract", bias=True)
    quant = quantize(spec, scales={layer.name: UNIT for layer in spec.spiking})
    bias = quant.layer("layer0").bias
    assert bias is not None
    assert bias.tolist() == [7]
    windows = np.flatnonzero((np.arange(STEPS) % EVERY != 0) & (rng.random(STEPS) < 0.8))
    spikes = require_same(device, quant, *one_a_window(rng, 0, windows), 0, ("layer0",))
    assert spikes["layer0"] > 100
