"""The fused scan over time is the plain loop of steps: values and gradients, with and without injection."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.network.scan import scan, scan_plain
from chiploop.network.surrogate import SURROGATES, Exponential, Surrogate
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from strategies_network import neurons

DT_US = 1_000
STEPS, BATCH, FEATURES = 7, 3, 5
seeds = st.integers(0, 2**32 - 1)
surrogates = st.sampled_from(SURROGATES.names()).map(lambda name: SURROGATES.get(name)())


def drawn(seed: int, name: str, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Currents of either sign, a few of them exactly 0, so that neurons rest on their floors."""
    rng = stream(seed, name)
    values = rng.normal(0.5, 1.2, (STEPS, BATCH, FEATURES)) * (rng.random((STEPS, BATCH, FEATURES)) < 0.8)
    return torch.from_numpy(values).to(dtype)


def observed(seed: int, which: str) -> dict[str, torch.Tensor]:
    seen = {}
    if "counts" in which:
        seen["counts"] = torch.from_numpy(stream(seed, "counts").integers(0, 4, (STEPS, BATCH, FEATURES))).double()
    if "v" in which:
        seen["v"] = drawn(seed, "v")
    return seen


def run(
    function: object, spec: NeuronSpec, surrogate: Surrogate, current: torch.Tensor, seen: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    leaf = current.clone().requires_grad_()
    spikes, v = function(spec, surrogate, leaf, dt_us=DT_US, **seen)  # type: ignore[operator]
    by_spike, by_v = drawn(1, "by spike"), drawn(2, "by v")
    ((spikes * by_spike).sum() + (v * by_v).sum()).backward()
    assert leaf.grad is not None
    return spikes.detach(), v.detach(), leaf.grad


@given(neurons, surrogates, seeds, st.sampled_from(["", "counts", "v", "counts v"]))
@settings(max_examples=150)
def test_the_fused_scan_is_the_plain_loop(spec: NeuronSpec, surrogate: Surrogate, seed: int, seen: str) -> None:
    current = drawn(seed, "current")
    fused = run(scan, spec, surrogate, current, observed(seed, seen))
    plain = run(scan_plain, spec, surrogate, current, observed(seed, seen))
    assert torch.equal(fused[0], plain[0])
    # A multiplication and an addition may be fused into one rounding, in one of the two.
    torch.testing.assert_close(fused[1], plain[1], rtol=0, atol=1e-14)
    torch.testing.assert_close(fused[2], plain[2], rtol=1e-12, atol=1e-12)


@given(seeds, st.sampled_from(["subtract", "zero"]), st.sampled_from(["one", "all"]), st.sampled_from([None, 0, -9]))
def test_on_integers_float32_is_exact(seed: int, reset: str, per_step: str, floor: int | None) -> None:
    spec = NeuronSpec(v_th=17.0, v_min=floor, reset=reset, spikes_per_step=per_step)  # type: ignore[arg-type]
    current = torch.from_numpy(stream(seed, "current").integers(-30, 60, (STEPS, BATCH, FEATURES))).float()
    spikes, v = scan(spec, Exponential(), current, dt_us=DT_US)
    state = np.zeros((BATCH, FEATURES), np.int64)
    for t in range(STEPS):
        state = state + current[t].numpy().astype(np.int64)
        state = state if floor is None else np.maximum(state, floor)
        fired = np.where(state >= 17, 1 if per_step == "one" else state // 17, 0)
        state = state - 17 * fired if reset == "subtract" else np.where(fired > 0, 0, state)
        np.testing.assert_array_equal(spikes[t].numpy(), fired)
        np.testing.assert_array_equal(v[t].numpy(), state)


@given(neurons, seeds, st.integers(0, STEPS - 1))
def test_no_effect_precedes_its_cause(spec: NeuronSpec, seed: int, t: int) -> None:
    current = drawn(seed, "current")
    changed = current.clone()
    changed[t] += 3.0
    for one, other in zip(
        scan(spec, Exponential(), current, dt_us=DT_US), scan(spec, Exponential(), changed, dt_us=DT_US), strict=True
    ):
        assert torch.equal(one[:t], other[:t])


@given(neurons, seeds, st.integers(0, STEPS - 1))
def test_no_gradient_reaches_back_from_before(spec: NeuronSpec, seed: int, t: int) -> None:
    current = drawn(seed, "current").requires_grad_()
    spikes, v = scan(spec, Exponential(), current, dt_us=DT_US)
    (spikes[:t].sum() + v[:t].sum() + 0 * spikes.sum()).backward()
    assert current.grad is not None
    assert not current.grad[t:].any()


@given(neurons, seeds)
def test_neurons_do_not_touch_one_another(spec: NeuronSpec, seed: int) -> None:
    current = drawn(seed, "current")
    whole, part = (scan(spec, Exponential(), x, dt_us=DT_US) for x in (current, current[:, 1:, 2:4].contiguous()))
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one[:, 1:, 2:4], other)


@given(neurons, seeds)
def test_inputs_are_left_as_they_were(spec: NeuronSpec, seed: int) -> None:
    current, seen = drawn(seed, "current"), observed(seed, "counts v")
    before = [current.clone(), *(value.clone() for value in seen.values())]
    spikes, v = scan(spec, Exponential(), current, dt_us=DT_US, **seen)
    spikes.add_(1.0)
    v.add_(1.0)  # nor do results share memory with observations
    for value, was in zip((current, *seen.values()), before, strict=True):
        assert torch.equal(value, was)


@given(neurons)
def test_zero_in_zero_out(spec: NeuronSpec) -> None:
    spikes, v = scan(spec, Exponential(), torch.zeros(STEPS, 1, 2), dt_us=DT_US)
    assert not spikes.any()
    assert not v.any()


@pytest.mark.parametrize("v_min", [0.0, -1.0])
def test_a_neuron_on_its_floor_still_learns_and_one_below_does_not(v_min: float) -> None:
    spec = NeuronSpec(v_min=v_min)
    for at, expected in ((v_min, math.exp(v_min - 1.0)), (v_min - 0.5, 0.0)):
        current = torch.full((1, 1, 1), at, requires_grad=True)
        spikes, _ = scan(spec, Exponential(), current, dt_us=DT_US)
        spikes.sum().backward()
        assert current.grad is not None
        assert current.grad.item() == pytest.approx(expected, rel=1e-6)
