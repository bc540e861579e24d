"""Use the observed value forward, send the gradient to the modelled value: what follows from it."""

from __future__ import annotations

import pytest
import torch

from chiploop.errors import TrainingError
from chiploop.learn.executor import ModelExecutor, Pending, Seen
from chiploop.learn.method import METHODS, MethodOptions
from chiploop.learn.plan import PLANS
from chiploop.network.inject import inject
from chiploop.network.run import Observations, Run, run_frame, run_windows
from chiploop.network.surrogate import SURROGATES
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from strategies_network import gradients, require_same_tensors, shapes_batch, small_network

NEURONS = {
    "if": NeuronSpec(),
    "if floor zero one": NeuronSpec(v_min=-0.5, reset="zero", spikes_per_step="one"),
    "lif": NeuronSpec(kind="lif", tau_us=2_000.0, v_th=0.3),
}


def own(run: Run, plan: str) -> Observations:
    """What a plan would inject, had the executor seen just what the model computed."""
    names = list(run.counts) if PLANS[plan].layers == "all" else [run.output]
    return Observations(
        counts={name: run.counts[name].detach() for name in names},
        v={name: run.v[name].detach() for name in names if PLANS[plan].v},
    )


def weighted(run: Run) -> torch.Tensor:
    """A scalar that every output count, and every potential, has a different part in."""
    total = torch.zeros(())
    for k, value in enumerate([*run.counts.values(), *run.v.values()]):
        drawn = stream(k, "weights").normal(size=tuple(value.shape)).astype("float32")
        total = total + (value * torch.from_numpy(drawn)).sum()
    return total


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("surrogate", SURROGATES.names())
@pytest.mark.parametrize("plan", PLANS)
def test_own_values_change_nothing_over_windows(plan: str, surrogate: str, neuron: str) -> None:
    network = small_network(2, neuron=NEURONS[neuron], surrogate=SURROGATES.get(surrogate)())
    x = shapes_batch().x
    plain = run_windows(network, x)
    weighted(plain).backward()
    expected = gradients(network)
    injected = run_windows(network, x, observed=own(plain, plan))
    weighted(injected).backward()
    require_same_tensors(dict(injected.counts), dict(plain.counts))
    require_same_tensors(dict(injected.v), dict(plain.v))
    require_same_tensors(gradients(network), expected)
    assert all(counts.any() for counts in plain.counts.values())  # every layer took part


@pytest.mark.parametrize("whole_counts", [False, True])
@pytest.mark.parametrize("plan", ["output", "all"])
def test_own_values_change_nothing_in_the_analogue_model(plan: str, whole_counts: bool) -> None:
    network, x = small_network(2), shapes_batch().x.sum(0)
    plain = run_frame(network, x, whole_counts=whole_counts)
    weighted(plain).backward()
    expected = gradients(network)
    injected = run_frame(network, x, whole_counts=whole_counts, observed=own(plain, plan))
    weighted(injected).backward()
    require_same_tensors(dict(injected.counts), dict(plain.counts))
    require_same_tensors(gradients(network), expected)


def test_the_observed_value_is_exact_where_the_sum_would_round() -> None:
    modelled = torch.tensor([1e8], requires_grad=True)
    assert inject(modelled, torch.tensor([1.0])).item() == 1.0
    assert (modelled + (torch.tensor([1.0]) - modelled)).item() == 0.0  # 1 - 1e8 is -1e8 in float32
    with pytest.raises(TrainingError, match=r"observed \(2,\) does not fit modelled \(1,\)"):
        inject(modelled, torch.zeros(2))


@pytest.mark.parametrize(("quantity", "word"), [("counts", "counts"), ("v", "potentials")])
def test_observations_of_another_shape_are_refused_not_broadcast(quantity: str, word: str) -> None:
    network, batch = small_network(), shapes_batch()
    wrong = Observations(**{quantity: {"conv1": torch.zeros(1, 1, 4, 8, 8)}})
    with pytest.raises(TrainingError, match=rf"observed {word} \(1, 1, 4, 8, 8\) do not fit"):
        run_windows(network, batch.x, observed=wrong)


class Shifted:
    """An executor that saw the model's own counts at the output, each changed by a number of its own."""

    def begin(self, network: object, batch: object, plan: object, *, clocked: bool) -> Pending:
        with torch.no_grad():
            run = run_windows(network, batch.x) if clocked else run_frame(network, batch.x.sum(0))  # type: ignore[arg-type,attr-defined]
        value = run.counts[run.output]
        change = torch.from_numpy(stream(0, "change").integers(-3, 4, tuple(value.shape))).float()
        return Pending([run.output], lambda: Seen(observations=Observations(counts={run.output: value + change})))


@pytest.mark.parametrize("method", ["cil-ann", "cil-bptt"])
def test_proxy_learning_is_the_models_jacobian_at_the_observed_loss(method: str) -> None:
    """With the output injected, dL/dW = (dL/dy at the observed y) dy_model/dW, both worked out apart."""
    network, batch = small_network(2), shapes_batch()
    options = MethodOptions(plan="output", temperature=3.0)
    result = METHODS.get(method)(options, Shifted()).step(network, batch)
    result.loss.backward()
    found = gradients(network)
    y = result.outputs.clone().requires_grad_()
    torch.nn.functional.cross_entropy(y / 3.0, batch.labels).backward()
    run = run_windows(network, batch.x) if method == "cil-bptt" else run_frame(network, batch.x.sum(0))
    run.totals.backward(y.grad)
    require_same_tensors(found, gradients(network))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("clocked", [False, True])
def test_the_model_executor_reports_what_the_plan_names(plan: str, clocked: bool) -> None:
    network, batch = small_network(), shapes_batch()
    seen = ModelExecutor().observe(network, batch, PLANS[plan], clocked=clocked).observations
    names = {layer.name for layer in network.spec.spiking} if plan.startswith("all") else {"fc1"}
    assert set(seen.counts) == names
    assert set(seen.v) == (names if plan.endswith("+v") and clocked else set())
    assert all(not value.requires_grad for value in seen.counts.values())
