"""What every registered neuron keeps to, and the closed forms of those there are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiploop.errors import ChiploopError
from chiploop.network.neuron import NEURONS, make_neuron
from chiploop.network.scan import scan_plain
from chiploop.network.surrogate import Exponential
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from strategies_network import neurons

SURROGATE = Exponential()


def described(kind: str, **fields: object) -> NeuronSpec:
    return NeuronSpec(kind=kind, tau_us=10_000.0 if kind == "lif" else None, **fields)  # type: ignore[arg-type]


def count(spec: NeuronSpec, current: float, steps: int, *, dt_us: int = 1_000) -> int:
    x = torch.full((steps, 1), current, dtype=torch.float64)
    return int(scan_plain(spec, SURROGATE, x, dt_us=dt_us)[0].sum())


def test_there_are_neurons() -> None:
    assert {"if", "lif"} <= set(NEURONS.names())
    with pytest.raises(ChiploopError, match="no neuron 'liff': did you mean 'lif'"):
        NEURONS.get("liff")


@pytest.mark.parametrize("kind", NEURONS.names())
def test_states_and_spikes_have_the_shape_of_the_current(kind: str) -> None:
    neuron, current = make_neuron(described(kind), SURROGATE), torch.rand(2, 3, 4, 5)
    spikes, state = neuron.step(neuron.init(current), current, dt_us=1_000)
    assert spikes.shape == current.shape
    assert state.v.shape == current.shape
    assert spikes.dtype == state.v.dtype == current.dtype


@pytest.mark.parametrize("kind", NEURONS.names())
def test_a_step_is_pure(kind: str) -> None:
    neuron, current = make_neuron(described(kind, v_min=-0.1), SURROGATE), torch.tensor([-2.0, 0.3, 50.0])
    _, state = neuron.step(neuron.init(current), torch.tensor([0.1, 0.2, 0.3]), dt_us=1_000)
    kept, given_current = state.v.clone(), current.clone()
    first = neuron.step(state, current, dt_us=1_000)
    second = neuron.step(state, current, dt_us=1_000)
    assert torch.equal(state.v, kept)
    assert torch.equal(current, given_current)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1].v, second[1].v)


@given(neurons, st.integers(0, 10_000))
def test_the_reset_leaves_the_unfired_neuron_alone(spec: NeuronSpec, seed: int) -> None:
    """The potential of neurons that did not fire is what integration alone makes of it, whatever others did."""
    rng = stream(seed, "state")
    neuron = make_neuron(spec, SURROGATE)
    v, current = (torch.from_numpy(rng.normal(0, 2, 64)) for _ in range(2))
    v = v.clamp(max=spec.v_th * 0.99, min=spec.v_min)
    spikes, state = neuron.step(neuron.init(v)._replace(v=v), current, dt_us=1_000)
    keep = 1.0 if spec.tau_us is None else math.exp(-1_000 / spec.tau_us)
    integrated = keep * v + (current if spec.tau_us is None else (1.0 - keep) * current)
    if spec.v_min is not None:
        integrated = integrated.clamp(min=spec.v_min)
    unfired = spikes == 0
    assert torch.equal(state.v[unfired], integrated[unfired])
    assert bool((integrated[unfired] < spec.v_th).all())
    assert bool((integrated[~unfired] >= spec.v_th).all())
    after = state.v[~unfired]
    assert bool((after == 0).all() if spec.reset == "zero" else (after >= -1e-12).all())


@given(st.integers(1, 400), st.integers(1, 300), st.integers(1, 64))
def test_integrate_and_fire_under_constant_current(theta: int, current: int, steps: int) -> None:
    """Nothing is lost by subtraction: floor(T I / theta) spikes, where each step can give as many as are due."""
    assert count(NeuronSpec(v_th=theta), current, steps) == steps * current // theta


@given(st.integers(1, 400), st.integers(1, 300), st.integers(1, 64))
def test_integrate_and_fire_with_one_spike_a_step(theta: int, current: int, steps: int) -> None:
    """One spike a step at most: the same as long as the current stays below threshold, else one each step."""
    expected = steps * current // theta if current <= theta else steps
    assert count(NeuronSpec(v_th=theta, spikes_per_step="one"), current, steps) == expected


@given(st.integers(1, 400), st.integers(1, 300), st.integers(1, 64))
def test_integrate_and_fire_reset_to_zero(theta: int, current: int, steps: int) -> None:
    """The surplus is thrown away: one spike every ceil(theta / I) steps."""
    spec = NeuronSpec(v_th=theta, reset="zero", spikes_per_step="one")
    assert count(spec, current, steps) == steps // -(-theta // current)


@pytest.mark.parametrize("tau_us", [500.0, 3_000.0, 20_000.0])
def test_leaky_integrate_and_fire_below_threshold(tau_us: float) -> None:
    """V(T) = I (1 - exp(-T dt / tau)): the charging of a leaky capacitor, exact at any step."""
    spec, steps, current = NeuronSpec(kind="lif", tau_us=tau_us, v_th=10.0), 40, 3.0
    x = torch.full((steps, 1), current, dtype=torch.float64)
    _, v = scan_plain(spec, SURROGATE, x, dt_us=1_000)
    expected = current * -np.expm1(-1_000 * np.arange(1, steps + 1) / tau_us)
    np.testing.assert_allclose(v[:, 0].numpy(), expected, rtol=1e-13)


def test_leaky_integrate_and_fire_spikes_at_the_period_of_its_closed_form() -> None:
    """Reset to zero, constant I: a period of ceil(tau / dt ln(I / (I - theta))) steps (Gerstner et al. 2014, 1.3)."""
    tau_us, dt_us, current, theta = 10_000.0, 100, 1.7, 1.0
    period = math.ceil(tau_us / dt_us * math.log(current / (current - theta)))
    spec = NeuronSpec(kind="lif", tau_us=tau_us, v_th=theta, reset="zero", spikes_per_step="one")
    x = torch.full((5 * period, 1), current, dtype=torch.float64)
    spikes, _ = scan_plain(spec, SURROGATE, x, dt_us=dt_us)
    assert torch.nonzero(spikes[:, 0]).flatten().tolist() == [k * period - 1 for k in range(1, 6)]


def test_leaky_integrate_and_fire_converges_as_its_step_halves() -> None:
    """Each first spike comes at the first step after the true time: the error is below one step, and so halves."""
    tau_us, current, theta = 10_000.0, 1.3, 1.0
    true_us = tau_us * math.log(current / (current - theta))
    for dt_us in (1_600, 800, 400, 200, 100):
        spec = NeuronSpec(kind="lif", tau_us=tau_us, v_th=theta)
        x = torch.full((40_000 // dt_us, 1), current, dtype=torch.float64)
        spikes, _ = scan_plain(spec, SURROGATE, x, dt_us=dt_us)
        first_us = (int(torch.nonzero(spikes[:, 0])[0]) + 1) * dt_us
        assert 0.0 <= first_us - true_us < dt_us


def test_a_leak_slower_than_time_is_no_leak_scaled_by_its_gain() -> None:
    """For tau much longer than the run, LIF is IF of the current dt / tau, to first order in T dt / tau."""
    tau_us, steps = 1e9, 50
    current = torch.from_numpy(stream(0, "current").uniform(0, 2e6, (steps, 4)))
    leaky, _ = scan_plain(NeuronSpec(kind="lif", tau_us=tau_us), SURROGATE, current, dt_us=1_000)
    plain, _ = scan_plain(NeuronSpec(), SURROGATE, current * (1_000 / tau_us), dt_us=1_000)
    assert float((leaky.sum(0) - plain.sum(0)).abs().max()) <= 1.0
    assert float(plain.sum(0).min()) > 20.0
