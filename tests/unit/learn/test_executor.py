"""What a device in the loop reports, in the network's own units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from chiploop.chip.device import Monitor
from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.learn.batch import Samples
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.outputs import device_answers, software_answers
from chiploop.learn.plan import PLANS, InjectionPlan
from chiploop.network.run import run_frame, run_windows
from chiploop.quantize.apply import BIAS_MAX
from chiploop.spec.graph import NeuronSpec
from strategies_network import BLOCKS, shapes_batch, shapes_samples, small_network


@pytest.fixture
def executor() -> Iterator[DeviceExecutor]:
    with VirtualDevice(threads=1) as device:
        yield DeviceExecutor(device=device, profile=read_profile("ideal"))


def test_observations_are_the_devices_own_stream_by_stream(executor: DeviceExecutor) -> None:
    network, batch = small_network(2), shapes_batch()
    seen = executor.observe(network, batch, PLANS["all+v"], clocked=True)
    program = executor.load(network)
    names = tuple(layer.name for layer in network.spec.spiking)
    monitor = Monitor(counts=names, potentials=names, window_edges_us=batch.edges_us)
    synops = 0
    for b, events in enumerate(batch.events):
        executor.device.load(program)
        trace = executor.device.run(events, monitor=monitor)
        synops += sum(counters.synops for counters in trace.counters.values())
        for name in names:
            shape = (4, *network.spec.layer(name).out_shape)
            v = trace.potentials[name].reshape(shape) * np.float32(executor.scales[name])
            np.testing.assert_array_equal(
                seen.observations.counts[name][:, b].numpy(), trace.counts[name].reshape(shape)
            )
            found = seen.observations.potentials(name)
            assert found is not None
            np.testing.assert_array_equal(found[:, b].numpy(), v)
    assert seen.synops == synops


def test_over_the_whole_sample_counts_add_up_and_there_are_no_potentials(executor: DeviceExecutor) -> None:
    network, batch = small_network(2), shapes_batch()
    windows = executor.observe(network, batch, PLANS["all+v"], clocked=True).observations
    whole = executor.observe(network, batch, PLANS["all+v"], clocked=False).observations
    assert not whole.v
    for name, counts in whole.counts.items():
        assert len(counts) == 1
        assert torch.equal(counts[0].long(), windows.counts[name].sum(0))


def test_a_plan_observes_what_it_names(executor: DeviceExecutor) -> None:
    network, batch = small_network(2), shapes_batch()
    seen = executor.observe(network, batch, InjectionPlan(), clocked=True).observations
    assert (set(seen.counts), set(seen.v)) == ({"fc1"}, set())


def test_grids_stay_until_they_are_chosen_again(executor: DeviceExecutor) -> None:
    network = small_network(2)
    first = executor.choose_grids(network)
    with torch.no_grad():
        network.weights["conv1"].mul_(3.0)
    executor.load(network)
    assert executor.scales == {name: grid.scale for name, grid in first.items()}
    assert executor.choose_grids(network)["conv1"].scale > 1.5 * first["conv1"].scale


def test_potentials_of_leaky_neurons_are_in_volts(executor: DeviceExecutor) -> None:
    """The chip keeps V over the gain: by the scale alone its potentials would be three times too large."""
    network, batch = small_network(2, neuron=NeuronSpec(kind="lif", tau_us=10_000.0, v_min=-1.0)), shapes_batch()
    seen = executor.observe(network, batch, PLANS["all+v"], clocked=True).observations
    trace = executor.device.run_batch(
        batch.events, monitor=Monitor(potentials=("conv1",), window_edges_us=batch.edges_us)
    )
    gain = 1.0 - np.exp(-0.4)
    expected = trace.potentials["conv1"] * (executor.scales["conv1"] * gain)
    found = seen.potentials("conv1")
    assert found is not None
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert -1.0 - executor.scales["conv1"] <= float(found.min()) < -0.1


def test_a_bias_that_outgrows_its_grid_gets_a_coarser_one(executor: DeviceExecutor) -> None:
    network = small_network(2, notation=BLOCKS, bias=-0.05)
    network.grids = executor.choose_grids(network)
    first = dict(executor.scales)
    with torch.no_grad():
        network.biases["conv2"][1] = -BIAS_MAX * first["conv2"] * 0.99
        executor.load(network)
        assert executor.scales == first  # it still fits
        network.biases["conv2"][1] = -BIAS_MAX * first["conv2"] * 1.7
    core = executor.load(network).layer("conv2")
    assert core.bias is not None
    assert core.bias.min() in (-BIAS_MAX, 1 - BIAS_MAX)
    assert executor.scales == {**first, "conv2": network.grids["conv2"].scale}
    assert 1.69 < executor.scales["conv2"] / first["conv2"] < 1.72


def test_software_answers_are_those_of_single_runs() -> None:
    network, samples = small_network(2), shapes_samples(10)
    done: list[int] = []
    found = software_answers(network, samples, "windows", batch_size=4, progress=done.append)
    whole = samples.batch(range(10))
    run = run_windows(network, whole.x)
    np.testing.assert_array_equal(found.counts, run.totals.detach().numpy())
    assert found.potentials is not None
    np.testing.assert_array_equal(found.potentials, run.v["fc1"][-1].detach().numpy())
    assert done == [4, 4, 2]
    for name, counts in run.counts.items():
        assert found.rates[name] == pytest.approx(float(counts.detach().sum(0).mean()), rel=1e-5)
    frame = software_answers(network, samples, "frame")
    np.testing.assert_allclose(frame.counts, run_frame(network, whole.x.sum(0)).totals.detach().numpy(), rtol=1e-5)
    assert frame.potentials is None


def test_device_answers_come_in_the_order_of_the_samples(executor: DeviceExecutor) -> None:
    network = small_network(2)
    samples = Samples.of(shapes_samples(10).dataset, np.array([7, 2, 9, 0, 4]), 4)
    executor.load(network)
    found = device_answers(executor.device, samples, batch_size=2)
    assert found.labels.tolist() == [1, 2, 0, 0, 1]
    for position in range(len(samples)):
        alone = executor.device.run_batch([samples.events(position)])
        np.testing.assert_array_equal(found.counts[position], alone.output_counts[0])
        assert found.potentials is not None
        np.testing.assert_array_equal(found.potentials[position], alone.output_potentials[0])
        for name, table in alone.counters.items():
            np.testing.assert_array_equal(found.counters[name][position], table[0])
