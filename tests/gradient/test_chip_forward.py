"""With the chip alone running forward, a step's gradient is the one that the model beside it gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import TrainingError
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.method import METHODS, MethodOptions
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.network.unrun import unrun_op
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from strategies_network import BLOCKS, gradients, shapes_batch, small_network

FREE = NeuronSpec(v_min=None)


@pytest.fixture
def executor() -> Iterator[DeviceExecutor]:
    with VirtualDevice(threads=1) as device:
        yield DeviceExecutor(device=device, profile=read_profile("ideal"))


def stepped(network: Network, executor: DeviceExecutor, forward: str, *, quantized: bool) -> dict[str, torch.Tensor]:
    options = MethodOptions(plan="all+v", forward=forward, quantized=quantized)  # type: ignore[arg-type]
    method = METHODS.get("cil-bptt")(options, executor)
    method.begin_epoch(network)
    method.step(network, shapes_batch()).loss.backward()
    return gradients(network)


@pytest.mark.parametrize("notation", ["8c3p1-P2-8c3p1-3", BLOCKS])
def test_on_the_chips_own_grid_it_is_the_models_gradient(executor: DeviceExecutor, notation: str) -> None:
    """Without a floor and on the same integers, what the model computes is what the chip had: V + sum of weights."""
    network = small_network(5, neuron=FREE, notation=notation)
    by_chip = stepped(network, executor, "chip", quantized=True)
    by_model = stepped(network, executor, "model", quantized=True)
    for name, gradient in by_model.items():
        assert float(gradient.abs().max()) > 0.0
        torch.testing.assert_close(by_chip[name], gradient, rtol=2e-3, atol=2e-4 * float(gradient.abs().max()))


def test_with_real_weights_it_differs_by_their_rounding_alone(executor: DeviceExecutor) -> None:
    network = small_network(5, neuron=FREE)
    by_chip = stepped(network, executor, "chip", quantized=False)
    by_model = stepped(network, executor, "model", quantized=False)
    for name, gradient in by_model.items():
        cosine = torch.nn.functional.cosine_similarity(by_chip[name].flatten(), gradient.flatten(), dim=0)
        assert float(cosine) > 0.99, name


def test_biases_learn_too(executor: DeviceExecutor) -> None:
    network = small_network(5, neuron=FREE, notation=BLOCKS, bias=-0.05)
    found = [stepped(network, executor, forward, quantized=True) for forward in ("chip", "model")]
    names = [name for name in found[0] if name.endswith(".bias")]
    assert names
    for name in names:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=2e-3, atol=1e-5)


def test_an_operation_that_is_not_run_has_its_true_gradients() -> None:
    """Against autograd through the operation itself."""
    network, rng = small_network(1, notation="4c3s2p1-6c2-3"), stream(0, "unrun")
    for layer in network.spec.layers:
        if layer.weight is None:
            continue
        x = torch.from_numpy(rng.normal(size=(5, *layer.in_shape))).float()
        weight = network.weights[layer.name]
        grad = torch.from_numpy(rng.normal(size=(5, *layer.out_shape))).float()
        found, expected = [], []
        for gradient, operate in ((found, unrun_op), (expected, run_op)):
            leaf = x.clone().requires_grad_()
            y = operate(layer, leaf, weight)
            assert tuple(y.shape) == tuple(grad.shape)
            gradient += torch.autograd.grad(y, (leaf, weight), grad)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def run_op(layer: object, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    from chiploop.network.run import apply_op

    return apply_op(layer, x, weight)  # type: ignore[arg-type]


def test_what_it_needs_is_said(executor: DeviceExecutor) -> None:
    with pytest.raises(TrainingError, match="plan"):
        METHODS.get("cil-bptt")(MethodOptions(plan="all", forward="chip"), executor)
    with pytest.raises(TrainingError, match="cil-bptt"):
        METHODS.get("cil-ann")(MethodOptions(forward="chip"), executor)
    network, batch = small_network(2), shapes_batch()
    with pytest.raises(TrainingError, match="conv1"):
        run_windows(network, batch.x, edges_us=batch.edges_us, forward="chip")
