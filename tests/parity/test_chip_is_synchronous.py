"""Where time does not matter, the clock-driven network and the chip are the same machine.

With one event a window, integer weights of at most the threshold and one spike a step, a synchronous layer does what a
core does, update for update: same spikes, same potentials. (A weight past the threshold could leave a second spike
waiting, which the clock lets out at its next step and the chip only at the neuron's next input.) The law holds for each
layer on the events that reach it, and so for networks: each layer is run on what the one before it sent, one by one.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import DEVICES, Device, Monitor, Trace
from chiploop.chip.profile import read_profile
from chiploop.chip.program import Program
from chiploop.events.types import Events, SensorShape
from chiploop.network.network import Network
from chiploop.network.run import Run, run_windows
from chiploop.quantize.apply import dequantize, quantize
from chiploop.quantize.scheme import QuantSpec
from chiploop.rng import stream
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Conv, Flatten, Linear, Op, Shape, SumPool

SIMULATORS = ["virtual", "oracle"]
INPUT_SHAPE = (2, 7, 6)
N_EVENTS = 30


def simulator(name: str) -> Device:
    return DEVICES.get(name)()


def random_network(rng: np.random.Generator, *, unit: float = 1.0) -> NetworkSpec:
    """A chain of convolutions, sum pools and perhaps a fully connected layer; weights are integers times `unit`."""
    shape: Shape = INPUT_SHAPE
    layers: list[LayerSpec] = []

    def add(op: Op) -> None:
        nonlocal shape
        weight, neuron = None, None
        if isinstance(op, (Conv, Linear)):
            theta = int(rng.integers(5, 120))
            floor = None if rng.random() < 0.5 else -int(rng.integers(0, 60))
            neuron = NeuronSpec(
                v_th=theta * unit,
                v_min=None if floor is None else floor * unit,
                reset=str(rng.choice(["subtract", "zero"])),  # type: ignore[arg-type]
                spikes_per_step="one",
            )
            q = rng.integers(-min(theta, 127) // 2, min(theta, 127) + 1, op.weight_shape(shape))
            q.flat[0] = max(1, min(theta, 127) // 2)  # a layer of zeros would be refused
            weight = (q * unit).astype(np.float32)
        name = f"layer{len(layers)}"
        layers.append(LayerSpec(name=name, op=op, weight=weight, neuron=neuron, in_shape=shape))
        shape = layers[-1].out_shape

    for _ in range(int(rng.integers(1, 3))):
        kernel = int(rng.integers(1, 4))
        stride, padding = int(rng.integers(1, 3)), int(rng.integers(0, 3))
        if min(shape[1:]) + 2 * padding >= kernel:
            add(Conv(channels=int(rng.integers(1, 5)), kernel=kernel, stride=stride, padding=padding))
            if min(shape[1:]) >= 2 and rng.random() < 0.6:
                add(SumPool(size=2))
    if not layers or rng.random() < 0.6:
        add(Flatten())
        add(Linear(features=int(rng.integers(1, 6))))
    return chain(layers, input_shape=INPUT_SHAPE, dt_us=1)


def integers(spec: NetworkSpec, unit: float = 1.0) -> QuantSpec:
    """Quantise with the scale at which nothing is rounded."""
    return quantize(spec, scales={layer.name: unit for layer in spec.spiking})


def random_stream(rng: np.random.Generator, shape: Shape = INPUT_SHAPE, *, burst: int = 1) -> Events:
    """Events at 0, 1, 2, ... us, or several at each time."""
    t = np.arange(N_EVENTS) // burst
    return Events.from_columns(t, *(rng.integers(0, n, N_EVENTS) for n in shape), SensorShape(*shape))


def one_a_window(events: Events) -> torch.Tensor:
    """[n, 1, C, H, W]: the k-th event alone in window k, in the order of the stream."""
    x = torch.zeros(len(events), 1, *events.shape)
    c, h, w = (torch.from_numpy(column.astype(np.int64)) for column in (events.channel, events.y, events.x))
    x[torch.arange(len(events)), 0, c, h, w] = 1
    return x


def numbered(events: Events) -> Events:
    """The same events at times 0, 1, 2, ..., so that windows of 1 us hold one each."""
    columns = (events.channel, events.y, events.x)
    return Events.from_columns(np.arange(len(events)), *columns, events.shape, stop_us=len(events))


def observe(device: Device, program: Program, events: Events) -> Trace:
    layers = tuple(core.layer for core in program.cores)
    edges = tuple(range(events.stop_us + 1))
    device.load(program)
    return device.run(events, monitor=Monitor(counts=layers, potentials=layers, spikes=layers, window_edges_us=edges))


@torch.no_grad()
def clocked(spec: NetworkSpec, x: torch.Tensor) -> Run:
    return run_windows(Network(spec), x)


def require_same(layer: LayerSpec, run: Run, trace: Trace, unit: float = 1.0) -> None:
    counts, v = (np.squeeze(table[layer.name].numpy(), 1) for table in (run.counts, run.v))
    np.testing.assert_array_equal(trace.counts[layer.name].reshape(counts.shape), counts)
    np.testing.assert_array_equal(trace.potentials[layer.name].reshape(v.shape) * np.float32(unit), v)


def single(layer: LayerSpec, shape: Shape) -> NetworkSpec:
    """The network of one layer alone; a fully connected one hears the map it was flattened from."""
    if isinstance(layer.op, Linear) and len(shape) == 3:
        flat = LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=shape)
        return chain([flat, layer], input_shape=shape, dt_us=1)
    return chain([layer], input_shape=shape, dt_us=1)


@pytest.mark.parametrize("device", SIMULATORS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_layer_by_layer_spike_for_spike(device: str, seed: int) -> None:
    rng = stream(seed, "network")
    spec, events = random_network(rng), random_stream(rng)
    program = compile_program(integers(spec), read_profile("ideal"))
    whole = observe(simulator(device), program, events)
    heard = events
    for core in program.cores:
        layer = spec.layer(core.layer)
        network = single(layer, tuple(core.in_shape))
        if len(heard):
            run = clocked(network, one_a_window(heard))
            alone = compile_program(integers(network), read_profile("ideal"))
            require_same(layer, run, observe(simulator(device), alone, numbered(heard)))
            # What the layer sent within the network, in its order, is what the clock says event by event.
            sent = whole.spikes[core.layer]
            steps = run.counts[core.layer].reshape(len(heard), *core.neuron_shape).nonzero()  # by window, then f, y, x
            order = np.lexsort((steps[:, 1], steps[:, 3], steps[:, 2], steps[:, 0]))  # by window, then y, x, f
            np.testing.assert_array_equal(np.stack([sent.channel, sent.y, sent.x], 1), steps[order][:, 1:].numpy())
        heard = pooled(whole.spikes[core.layer], core.pool, core.out_shape)
    assert len(whole.outputs[program.output_layer]) == len(heard)


def pooled(events: Events, pool: int, shape: SensorShape) -> Events:
    y, x = events.y >> pool, events.x >> pool
    inside = (y < shape.height) & (x < shape.width)
    return Events.from_columns(
        events.t_us[inside], events.channel[inside], y[inside], x[inside], shape, stop_us=events.stop_us
    )


def narrow_network(rng: np.random.Generator) -> NetworkSpec:
    """Kernels that do not overlap and one feature a layer: an event causes at most one event in each layer."""
    shape: Shape = (1, 16, 16)
    layers = []
    for number, op in enumerate(
        [
            Conv(channels=1, kernel=2, stride=2),
            SumPool(size=2),
            Conv(channels=1, kernel=2, stride=2),
            Flatten(),
            Linear(features=4),
        ]
    ):
        weight, neuron = None, None
        if isinstance(op, (Conv, Linear)):
            theta = int(rng.integers(5, 30))
            neuron = NeuronSpec(v_th=theta, v_min=-float(rng.integers(0, 10)), spikes_per_step="one")
            weight = rng.integers(-1, theta + 1, op.weight_shape(shape)).astype(np.float32)
        layers.append(LayerSpec(name=f"layer{number}", op=op, weight=weight, neuron=neuron, in_shape=shape))
        shape = layers[-1].out_shape
    return chain(layers, input_shape=(1, 16, 16), dt_us=1)


@pytest.mark.parametrize("device", SIMULATORS)
@pytest.mark.parametrize("seed", range(8))
def test_whole_networks_in_which_an_event_causes_one_event(device: str, seed: int) -> None:
    rng = stream(seed, "narrow")
    spec = narrow_network(rng)
    t, place = np.arange(600), rng.integers(0, 8, (2, 600))  # a quarter, so that deep layers spike
    events = Events.from_columns(t, np.zeros_like(t), *place, SensorShape(1, 16, 16))
    trace = observe(simulator(device), compile_program(integers(spec), read_profile("ideal")), events)
    run = clocked(spec, one_a_window(events))
    for layer in spec.spiking:
        require_same(layer, run, trace)
    assert run.totals.sum() > 0


@pytest.mark.parametrize("unit", [410 / 4096, 3e-4])
@pytest.mark.parametrize("seed", range(4))
def test_the_scale_of_the_weights_does_not_matter(seed: int, unit: float) -> None:
    """Weights, thresholds and floors in any unit of few bits: the dequantised network is the chip, exactly."""
    rng = stream(seed, "scaled")
    spec = random_network(rng, unit=unit)
    spec = single(spec.layers[0] if spec.layers[0].neuron else spec.layers[1], INPUT_SHAPE)
    quant = integers(spec, unit)
    events = random_stream(rng)
    trace = observe(simulator("virtual"), compile_program(quant, read_profile("ideal")), events)
    run = clocked(dequantize(quant), one_a_window(events))
    require_same(spec.spiking[0], run, trace, quant.layers[0].scale)


def neuron_of(weights: list[int], theta: int, *, v_min: float | None = None) -> NetworkSpec:
    """One neuron on a row of inputs."""
    weight = np.array(weights, np.float32).reshape(1, 1, 1, -1)
    op = Linear(features=1)
    shape = (1, 1, len(weights))
    flat = LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=shape)
    neuron = NeuronSpec(v_th=theta, v_min=v_min, spikes_per_step="one")
    layer = LayerSpec(name="out", op=op, weight=weight.reshape(1, -1), neuron=neuron, in_shape=(len(weights),))
    return chain([flat, layer], input_shape=shape, dt_us=10)


def both(spec: NetworkSpec, times: list[int], inputs: list[int], steps: int) -> tuple[list[int], list[int]]:
    """Spikes a window of 10 us, of the clock-driven network and of the chip."""
    zeros = [0] * len(times)
    shape = SensorShape(*spec.input_shape)
    events = Events.from_columns(times, zeros, zeros, inputs, shape, stop_us=10 * steps)
    x = torch.zeros(steps, 1, *shape)
    for t, at in zip(times, inputs, strict=True):
        x[t // 10, 0, 0, 0, at] += 1
    monitor = Monitor(counts=("out",), window_edges_us=tuple(range(0, 10 * steps + 1, 10)))
    with simulator("virtual") as device:
        device.load(compile_program(integers(spec), read_profile("ideal")))
        chip = device.run(events, monitor=monitor).counts["out"].reshape(steps)
    return clocked(spec, x).counts["out"].flatten().int().tolist(), chip.tolist()


def test_known_difference_several_events_a_window() -> None:
    # +6 twice, threshold 5: the chip spikes at each event, the clock once, and lets the second out a step later.
    spec = neuron_of([6], theta=5)
    assert both(spec, [0, 1], [0, 0], steps=3) == ([1, 1, 0], [2, 0, 0])


def test_known_difference_order_within_a_window() -> None:
    # +6 then -6, threshold 5: the chip has spiked before the inhibition comes; the sum of the window is 0.
    spec = neuron_of([6, -6], theta=5)
    assert both(spec, [0, 1], [0, 1], steps=2) == ([0, 0], [1, 0])


def test_known_difference_floor_within_a_window() -> None:
    # -6 then +6, floor 0, threshold 5: the chip forgets the inhibition at the floor, the clock sums it away.
    spec = neuron_of([-6, 6], theta=5, v_min=0.0)
    assert both(spec, [0, 1], [0, 1], steps=2) == ([0, 0], [1, 0])


def test_known_difference_surplus_without_input() -> None:
    # +13, threshold 5: both spike once at the event; the clock spikes on by itself, the chip waits for an update.
    spec = neuron_of([13], theta=5)
    assert both(spec, [0], [0], steps=3) == ([1, 1, 0], [1, 0, 0])
    all_at_once = dataclasses.replace(spec.layers[1], neuron=NeuronSpec(v_th=5.0, spikes_per_step="all"))
    clock, _ = both(dataclasses.replace(spec, layers=(spec.layers[0], all_at_once)), [0], [0], steps=3)
    assert clock == [2, 0, 0]
