"""The fused scan over time is the plain loop of steps: values and gradients, with and without injection."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.errors import TrainingError
from chiploop.network.scan import chip_sent, scan, scan_plain, scan_sent
from chiploop.network.surrogate import SURROGATES, Exponential, Surrogate
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from strategies_network import neurons

DT_US = 1_000
STEPS, BATCH, FEATURES = 7, 3, 5
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([torch.float32, torch.float64])  # the compiled scan, and the one in torch
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


def on_grid(seed: int, name: str) -> torch.Tensor:
    """The same in sixteenths, which float32 adds and multiplies exactly."""
    return (drawn(seed, name) * 16).round().div(16).float()


def run(
    function: object, spec: NeuronSpec, surrogate: Surrogate, current: torch.Tensor, seen: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    leaf = current.clone().requires_grad_()
    spikes, v = function(spec, surrogate, leaf, dt_us=DT_US, **seen)  # type: ignore[operator]
    by_spike, by_v = (drawn(k, "weight", dtype=current.dtype) for k in (1, 2))
    ((spikes * by_spike).sum() + (v * by_v).sum()).backward()
    assert leaf.grad is not None
    return spikes.detach(), v.detach(), leaf.grad


@given(neurons, surrogates, seeds, st.sampled_from(["", "counts", "v", "counts v"]))
@settings(max_examples=100)
def test_the_fused_scan_is_the_plain_loop(spec: NeuronSpec, surrogate: Surrogate, seed: int, seen: str) -> None:
    current = drawn(seed, "current")
    fused = run(scan, spec, surrogate, current, observed(seed, seen))
    plain = run(scan_plain, spec, surrogate, current, observed(seed, seen))
    assert torch.equal(fused[0], plain[0])
    # A multiplication and an addition may be fused into one rounding, in one of the two.
    torch.testing.assert_close(fused[1], plain[1], rtol=0, atol=1e-14)
    torch.testing.assert_close(fused[2], plain[2], rtol=1e-12, atol=1e-12)


@given(neurons, surrogates, seeds, st.sampled_from(["", "counts", "v", "counts v"]))
@settings(max_examples=100)
def test_in_float32_the_scan_is_the_plain_loop(spec: NeuronSpec, surrogate: Surrogate, seed: int, seen: str) -> None:
    """The compiled scan, where there is one: exact without a leak, to a few roundings of float32 with one."""
    spec = dataclasses.replace(spec, v_th=1.75 if spec.v_th == 1.7 else spec.v_th)
    leaks = spec.tau_us is not None
    current = on_grid(seed, "current")
    given_seen = {name: value.float() for name, value in observed(seed, "counts v" if leaks else seen).items()}
    fused = run(scan, spec, surrogate, current, given_seen)  # a leak's rounding could move a spike: all are given
    plain = run(scan_plain, spec, surrogate, current, given_seen)
    assert torch.equal(fused[0], plain[0])
    assert torch.equal(fused[1], plain[1])
    torch.testing.assert_close(fused[2], plain[2], rtol=1e-4, atol=1e-5)


def test_the_scan_takes_any_layout() -> None:
    """Channels last, as convolutions give it, and slices: the memory's order does not matter."""
    current = torch.from_numpy(stream(0, "layout").integers(-16, 32, (4, 2, 3, 5, 6)) / 16).float()
    expected = scan(NeuronSpec(), Exponential(), current, dt_us=DT_US)
    last = current.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (4, 2))
    wide = torch.zeros(4, 2, 3, 5, 12)
    wide[..., ::2] = current
    for laid_out in (last, wide[..., ::2], current.transpose(0, 1).contiguous().transpose(0, 1)):
        for one, other in zip(scan(NeuronSpec(), Exponential(), laid_out, dt_us=DT_US), expected, strict=True):
            assert torch.equal(one, other)


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


@given(neurons, seeds, st.integers(0, STEPS - 1), dtypes)
def test_no_effect_precedes_its_cause(spec: NeuronSpec, seed: int, t: int, dtype: torch.dtype) -> None:
    current = drawn(seed, "current", dtype=dtype)
    changed = current.clone()
    changed[t] += 3.0
    for one, other in zip(
        scan(spec, Exponential(), current, dt_us=DT_US), scan(spec, Exponential(), changed, dt_us=DT_US), strict=True
    ):
        assert torch.equal(one[:t], other[:t])


@given(neurons, seeds, st.integers(0, STEPS - 1), dtypes)
def test_no_gradient_reaches_back_from_before(spec: NeuronSpec, seed: int, t: int, dtype: torch.dtype) -> None:
    current = drawn(seed, "current", dtype=dtype).requires_grad_()
    spikes, v = scan(spec, Exponential(), current, dt_us=DT_US)
    (spikes[:t].sum() + v[:t].sum() + 0 * spikes.sum()).backward()
    assert current.grad is not None
    assert not current.grad[t:].any()


@given(neurons, seeds, dtypes)
def test_neurons_do_not_touch_one_another(spec: NeuronSpec, seed: int, dtype: torch.dtype) -> None:
    current = drawn(seed, "current", dtype=dtype)
    whole, part = (scan(spec, Exponential(), x, dt_us=DT_US) for x in (current, current[:, 1:, 2:4].contiguous()))
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one[:, 1:, 2:4], other)


@given(neurons, seeds, dtypes)
def test_inputs_are_left_as_they_were(spec: NeuronSpec, seed: int, dtype: torch.dtype) -> None:
    current = drawn(seed, "current", dtype=dtype)
    seen = {name: value.to(dtype) for name, value in observed(seed, "counts v").items()}
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


MAPS = (4, 2, 3, 7, 6)
"""Steps, batch, channels, height, width: squares of 2 and 3 leave rows and columns over."""


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


@given(neurons, seeds, st.sampled_from([1, 2, 3]), st.sampled_from(["", "counts", "v", "counts v"]), st.booleans())
@settings(max_examples=80)
def test_what_is_sent_is_the_scan_summed_over_squares(
    spec: NeuronSpec, seed: int, pool: int, seen: str, whole: bool
) -> None:
    """Values and gradients, with observations as floats and as a chip's whole numbers, in any memory layout."""
    rng, unit = stream(seed, "maps"), 0.125
    current = torch.from_numpy(rng.integers(-16, 40, MAPS) / 16).float()
    levels = torch.from_numpy(rng.integers(-20, 20, MAPS).astype(np.int16))
    counts = torch.from_numpy(rng.integers(0, 4, MAPS).astype(np.uint16))
    floats = {"counts": counts.float(), "v": levels.float() * unit}
    given_as = {"counts": channels_last(counts), "v": channels_last(levels)} if whole else floats
    leaf, other = current.clone().requires_grad_(), current.clone().requires_grad_()
    names = seen.split()
    spikes, _ = scan(spec, Exponential(), leaf, dt_us=DT_US, **{name: floats[name] for name in names})
    squares = torch.nn.functional.avg_pool2d(spikes.flatten(0, 1), pool, divisor_override=1).unflatten(0, MAPS[:2])
    laid_out = (other * 1.0).flatten(0, 1)
    laid_out = laid_out.contiguous(memory_format=torch.channels_last) if seed % 2 else laid_out
    sent = scan_sent(
        spec,
        Exponential(),
        laid_out.unflatten(0, MAPS[:2]),
        dt_us=DT_US,
        v_unit=unit,
        pool=pool,
        **{name: given_as[name] for name in names},
    )
    assert torch.equal(sent, squares)
    weight = torch.from_numpy(rng.normal(size=tuple(sent.shape))).float()
    (sent * weight).sum().backward()
    (squares * weight).sum().backward()
    assert leaf.grad is not None
    assert torch.equal(other.grad, leaf.grad)


@given(seeds, st.sampled_from([1, 2]), st.sampled_from([None, -0.5]), st.sampled_from(SURROGATES.names()))
@settings(max_examples=60)
def test_by_the_chip_alone_surrogates_stand_at_its_own_potentials(
    seed: int, pool: int, floor: float | None, name: str
) -> None:
    """Worked out by the plain scan on the currents that such a chip would have had, window by window."""
    rng, unit = stream(seed, "chip"), 0.125
    spec, surrogate = NeuronSpec(v_th=1.0, v_min=floor, spikes_per_step="all"), SURROGATES.get(name)()
    counts = torch.from_numpy(rng.integers(0, 3, MAPS).astype(np.uint16))
    levels = torch.from_numpy(rng.integers(-3, 8, MAPS).astype(np.int16))
    end = levels.float() * unit
    start = torch.cat([torch.zeros_like(end[:1]), end[:-1]])
    had = end + counts.float() - start  # v_th = 1: what came in, for all that it spent and kept
    given_to, leaf = torch.zeros(MAPS, requires_grad=True), had.clone().requires_grad_()
    found = chip_sent(
        spec,
        surrogate,
        given_to,
        dt_us=DT_US,
        counts=channels_last(counts),
        v=channels_last(levels),
        v_unit=unit,
        pool=pool,
    )
    plain, _ = scan_plain(spec, surrogate, leaf, dt_us=DT_US, counts=counts.float(), v=end)
    expected = torch.nn.functional.avg_pool2d(plain.flatten(0, 1), pool, divisor_override=1).unflatten(0, MAPS[:2])
    assert torch.equal(found, expected)
    weight = torch.from_numpy(rng.normal(size=tuple(found.shape))).float()
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    assert leaf.grad is not None
    torch.testing.assert_close(given_to.grad, leaf.grad, rtol=1e-4, atol=1e-5)
    in_torch = torch.zeros(MAPS, dtype=torch.float64, requires_grad=True)  # the way without the core
    other = chip_sent(spec, surrogate, in_torch, dt_us=DT_US, counts=counts, v=levels, v_unit=unit, pool=pool)
    assert torch.equal(other.float(), found)
    (other * weight).sum().backward()
    torch.testing.assert_close(in_torch.grad, leaf.grad.double(), rtol=1e-4, atol=1e-5)


def test_a_reset_to_zero_hides_what_there_was() -> None:
    zeros = torch.zeros(MAPS)
    with pytest.raises(TrainingError, match="reset to zero"):
        chip_sent(NeuronSpec(reset="zero"), Exponential(), zeros, dt_us=DT_US, counts=zeros, v=zeros)


@pytest.mark.parametrize("whole", [True, False])
def test_a_neuron_that_the_chips_floor_holds_learns_nothing(whole: bool) -> None:
    """Its floor of -0.5 lies between levels -4.17 units of 0.12: the chip's is level -4, at -0.48."""
    unit, shape = 0.12, (1, 1, 3)
    levels, counts = torch.tensor([-4, -3, -4]).reshape(shape), torch.tensor([0, 0, 1]).reshape(shape)
    current = torch.zeros(shape, requires_grad=True)
    v = levels.to(torch.int16) if whole else torch.where(levels == -4, -0.5, levels * unit)
    sent = chip_sent(
        NeuronSpec(v_th=1.0, v_min=-0.5),
        Exponential(),
        current,
        dt_us=DT_US,
        counts=counts.to(torch.uint16) if whole else counts.float(),
        v=v,
        v_unit=unit,
    )
    sent.sum().backward()
    assert current.grad is not None
    held, above, fired = current.grad.flatten().tolist()
    assert held == 0.0
    assert above > 0.0
    assert fired > 0.0  # it had the spike's worth before
