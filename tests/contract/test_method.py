"""What every registered learning method keeps to, on the generated shapes: it learns, and nothing leaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import ChiploopError, TrainingError
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.fit import FitOptions, count_right, fit
from chiploop.learn.method import METHODS, Method, MethodOptions
from chiploop.learn.outputs import Answers, device_answers, software_answers
from chiploop.network.network import Network
from strategies_network import (
    gradients,
    require_same_tensors,
    shapes_batch,
    shapes_samples,
    small_network,
    small_spec,
    weights,
)

N_CLASSES = 3
N_TEST = 150
PAST_CHANCE = 1 / N_CLASSES + 5 * (1 / N_CLASSES * (1 - 1 / N_CLASSES) / N_TEST) ** 0.5
"""Five standard deviations of a guess on so many samples: 0.526."""

OPTIONS = MethodOptions(temperature=2.0)
FIT = FitOptions(epochs=6, batch_size=16, lr=1e-2, select=False)


@pytest.fixture
def executor() -> Iterator[DeviceExecutor]:
    with VirtualDevice(threads=1) as device:
        yield DeviceExecutor(device=device, profile=read_profile("ideal"))


def build(name: str, executor: DeviceExecutor) -> Method:
    return METHODS.get(name)(OPTIONS, executor)


def answers(method: Method, network: Network, executor: DeviceExecutor) -> Answers:
    """Answers where the method's accuracy counts."""
    samples = shapes_samples(N_TEST, split="test")
    if method.place == "software":
        return software_answers(network, samples, method.model)
    executor.load(network)
    return device_answers(executor.device, samples)


def accuracy(found: Answers) -> float:
    return count_right(torch.from_numpy(found.counts), torch.from_numpy(found.labels)) / len(found.labels)


def test_there_are_methods() -> None:
    assert {"ann", "bptt", "cil-ann", "cil-bptt"} <= set(METHODS.names())
    with pytest.raises(ChiploopError, match="no method 'cil-bpt': did you mean 'cil-bptt'"):
        METHODS.get("cil-bpt")


@pytest.mark.parametrize("name", METHODS.names())
def test_learns_shapes_past_chance(name: str, executor: DeviceExecutor) -> None:
    """From the same start, below the bound before, above it after."""
    method, network = build(name, executor), small_network(4)
    before = accuracy(answers(method, network, executor))
    result = fit(method, network, shapes_samples(120), FIT, seed=0, score=lambda _: 0.0)
    assert before < PAST_CHANCE < accuracy(answers(method, network, executor))
    assert result.history[-1].loss < result.history[0].loss
    assert (result.history[-1].synops_per_sample > 0) == (method.place == "chip")


@pytest.mark.parametrize("name", METHODS.names())
def test_the_same_seed_gives_the_same_bits(name: str, executor: DeviceExecutor) -> None:
    ends = []
    for _ in range(2):
        network = small_network(4)
        options = FitOptions(epochs=1, batch_size=8)
        fit(build(name, executor), network, shapes_samples(24), options, seed=3, score=lambda _: 0.0)
        ends.append(weights(network))
    require_same_tensors(*ends)


@pytest.mark.parametrize("name", METHODS.names())
def test_no_state_leaks_from_batch_to_batch(name: str, executor: DeviceExecutor) -> None:
    """A step is a function of network and batch: other batches in between change nothing."""
    method, network = build(name, executor), small_network(2)
    method.begin_epoch(network)
    batch, other = shapes_batch(), shapes_samples(12).batch(range(6, 12))

    def step() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        result = method.step(network, batch)
        result.loss.backward()
        return result.outputs, gradients(network)

    first_outputs, first = step()
    method.step(network, other).loss.backward()
    gradients(network)
    outputs, again = step()
    assert torch.equal(outputs, first_outputs)
    require_same_tensors(again, first)


@pytest.mark.parametrize("name", METHODS.names())
def test_a_step_leaves_the_weights_to_the_optimiser(name: str, executor: DeviceExecutor) -> None:
    method, network = build(name, executor), small_network(2)
    method.begin_epoch(network)
    before = weights(network)
    result = method.step(network, shapes_batch())
    require_same_tensors(weights(network), before)
    assert result.outputs.shape == (6, N_CLASSES)
    assert not result.outputs.requires_grad
    assert result.loss.dim() == 0


@pytest.mark.parametrize("name", METHODS.names())
def test_the_exported_network_answers_as_the_trained_one(name: str, executor: DeviceExecutor) -> None:
    method, network = build(name, executor), small_network(4)
    fit(method, network, shapes_samples(24), FitOptions(epochs=1), seed=3, score=lambda _: 0.0)
    exported = Network(network.to_spec(), surrogate=network.surrogate)
    one, other = answers(method, network, executor), answers(method, exported, executor)
    np.testing.assert_array_equal(one.counts, other.counts)


@pytest.mark.parametrize("name", METHODS.names())
def test_quantised_training_sees_the_integers_that_the_chip_gets(name: str, executor: DeviceExecutor) -> None:
    method = METHODS.get(name)(MethodOptions(quantized=True), executor)
    network = Network(small_spec(2))
    method.begin_epoch(network)
    executor.load(network)
    assert executor.scales == {layer: grid.scale for layer, grid in network.grids.items()}
    for layer, grid in network.grids.items():
        q = network.weight(layer).detach() / grid.scale
        assert torch.equal(q, q.round())
        assert float(q.abs().max()) <= 127


def test_the_loop_needs_a_chip() -> None:
    for name in ("cil-ann", "cil-bptt"):
        with pytest.raises(TrainingError, match="needs an executor"):
            METHODS.get(name)(OPTIONS, None)
