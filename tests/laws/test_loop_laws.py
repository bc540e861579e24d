"""With the model itself in the loop, chip-in-loop learning is the plain method, bit for bit, step after step."""

from __future__ import annotations

import pytest

from chiploop.learn.executor import ModelExecutor
from chiploop.learn.fit import FitOptions, fit
from chiploop.learn.method import METHODS, MethodOptions
from chiploop.learn.plan import PLANS
from chiploop.network.network import Network
from chiploop.spec.graph import NeuronSpec
from strategies_network import BLOCKS, require_same_tensors, shapes_samples, small_network, small_spec, weights

FIT = FitOptions(epochs=2, batch_size=8, lr=3e-3, select=False)


def trained(method: str, options: MethodOptions, executor: ModelExecutor | None) -> Network:
    network = small_network(3)
    fit(METHODS.get(method)(options, executor), network, shapes_samples(24), FIT, seed=5, score=lambda _: 0.0)
    return network


def require_equal_training(plain: str, looped: str, options: MethodOptions, executor: ModelExecutor) -> None:
    one, other = trained(plain, options, None), trained(looped, options, executor)
    require_same_tensors(weights(one), weights(other))
    assert one.to_spec().digest != small_spec(3).digest  # it did learn


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("plan", PLANS)
def test_cil_with_bptt_is_bptt(plan: str, quantized: bool) -> None:
    options = MethodOptions(plan=plan, quantized=quantized, activity=0.1, max_rate=0.5)
    require_equal_training("bptt", "cil-bptt", options, ModelExecutor())


@pytest.mark.parametrize("whole_counts", [False, True])
@pytest.mark.parametrize("plan", ["output", "all+v"])
def test_cil_with_ann_is_the_ann(plan: str, whole_counts: bool) -> None:
    options = MethodOptions(plan=plan, whole_counts=whole_counts, quantized=whole_counts)
    require_equal_training("ann", "cil-ann", options, ModelExecutor(whole_counts=whole_counts))


@pytest.mark.parametrize("tau_us", [None, 9_000.0])
@pytest.mark.parametrize("quantized", [False, True])
def test_networks_with_blocks_leaks_and_biases_too(quantized: bool, tau_us: float | None) -> None:
    neuron = NeuronSpec(kind="if" if tau_us is None else "lif", tau_us=tau_us, v_min=-1.0)
    options = MethodOptions(plan="all+v", quantized=quantized)
    after = []
    for method, executor in (("bptt", None), ("cil-bptt", ModelExecutor())):
        network = small_network(3, notation=BLOCKS, neuron=neuron, bias=-0.05)
        fit(METHODS.get(method)(options, executor), network, shapes_samples(24), FIT, seed=5, score=lambda _: 0.0)
        assert (network.biases["conv2"] != -0.05).all()  # they learn, too
        after.append(weights(network))
    require_same_tensors(*after)
