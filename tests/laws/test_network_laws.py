"""Networks on integer grids, sum pooling, and the way between torch and data."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiploop.errors import SpecError
from chiploop.learn.executor import choose_grids
from chiploop.network.fake_quantize import fake_quantize
from chiploop.network.network import Grid, Network
from chiploop.network.run import apply_op, run_frame, run_windows
from chiploop.network.surrogate import Triangle
from chiploop.quantize.apply import dequantize, quantize
from chiploop.quantize.scale import quantize_array
from chiploop.quantize.scheme import IntScheme
from chiploop.rng import stream
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool
from strategies_network import gradients, require_same_tensors, shapes_batch, small_network, small_spec

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.floats(1e-6, 1e3), st.sampled_from([1, 7, 127]))
def test_fake_quantize_is_the_quantiser_bit_for_bit(seed: int, scale: float, q_max: int) -> None:
    rng = stream(seed, "weights")
    w = (rng.normal(size=500) * scale * q_max * rng.choice([0.01, 1.0, 2.0])).astype(np.float32)
    w[:20] = (np.float32(scale) * (np.arange(20) - 9.5)).astype(np.float32)  # halves, where rounding is decided
    expected = quantize_array(w, scale, q_max) * np.float32(scale)
    np.testing.assert_array_equal(fake_quantize(torch.from_numpy(w), scale, q_max).numpy(), expected)


@given(seeds, st.sampled_from([3, 127]))
def test_fake_quantize_passes_gradients_where_nothing_is_clipped(seed: int, q_max: int) -> None:
    rng = stream(seed, "weights")
    w = torch.from_numpy((rng.normal(size=200) * q_max).astype(np.float32)).requires_grad_()
    upstream = torch.from_numpy(rng.normal(size=200).astype(np.float32))
    (fake_quantize(w, 1.0, q_max) * upstream).sum().backward()
    inside = w.detach().round().abs() <= q_max
    assert w.grad is not None
    assert torch.equal(w.grad, torch.where(inside, upstream, torch.zeros(())))


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("search", ["mse", "max", "percentile"])
@pytest.mark.parametrize("model", ["windows", "frame"])
def test_a_network_on_its_grids_is_the_dequantised_one(model: str, search: str, bits: int) -> None:
    scheme = IntScheme(bits=bits, search=search)  # type: ignore[arg-type]
    trained = small_network(2, neuron=NeuronSpec(v_min=-0.7, v_th=1.3))
    trained.grids = choose_grids(trained, scheme)
    scales = {name: grid.scale for name, grid in trained.grids.items()}
    exact = Network(dequantize(quantize(trained.to_spec(), scheme, scales=scales)))
    x = shapes_batch().x
    one, other = (run_windows(n, x) if model == "windows" else run_frame(n, x.sum(0)) for n in (trained, exact))
    require_same_tensors(dict(one.counts), dict(other.counts))
    require_same_tensors(dict(one.v), dict(other.v))
    assert one.counts["conv1"].any()


def test_thresholds_and_floors_beyond_the_state_are_brought_to_its_bounds() -> None:
    layer = dataclasses.replace(small_spec().spiking[0], neuron=NeuronSpec(v_th=2.0, v_min=-1e6))
    network = small_network()
    network.grids = {layer.name: Grid(scale=0.5, q_max=7, v_max=100)}
    on_grid = network.neuron(layer)
    assert (on_grid.v_th, on_grid.v_min) == (2.0, -101 * 0.5)
    assert network.neuron(dataclasses.replace(layer, neuron=NeuronSpec(v_th=0.1))).v_th == 0.5
    assert network.neuron(dataclasses.replace(layer, neuron=NeuronSpec(v_th=90.0))).v_th == 50.0


@given(seeds, st.integers(1, 3))
def test_sum_pooling_sums_whole_windows_and_leaves_the_rest_out(seed: int, size: int) -> None:
    x = stream(seed, "map").integers(0, 50, (2, 3, 7, 5)).astype(np.float32)
    layer = LayerSpec(name="pool", op=SumPool(size=size), weight=None, neuron=None, in_shape=(3, 7, 5))
    expected = np.zeros((2, *layer.out_shape))
    for y in range(layer.out_shape[1]):
        for k in range(layer.out_shape[2]):
            expected[:, :, y, k] = x[:, :, y * size : (y + 1) * size, k * size : (k + 1) * size].sum((2, 3))
    np.testing.assert_array_equal(apply_op(layer, torch.from_numpy(x), None).numpy(), expected)


def test_sum_pooling_passes_gradients_through_silent_windows() -> None:
    """A layer that nothing has made spike yet hears what its spikes would be worth: every place the same."""
    layer = LayerSpec(name="pool", op=SumPool(size=2), weight=None, neuron=None, in_shape=(1, 4, 4))
    silent = torch.zeros(1, 1, 4, 4, requires_grad=True)
    upstream = torch.tensor([[[[1.0, -2.0], [3.0, 0.5]]]])
    apply_op(layer, silent, None).backward(upstream)
    assert silent.grad is not None
    assert torch.equal(silent.grad, upstream.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_a_silent_network_learns_through_its_pools() -> None:
    """No layer spikes, and yet every convolution gets a gradient: surrogates and pools let it through."""
    spec = small_spec(2)
    quiet = dataclasses.replace(spec, layers=tuple(weakened(layer) for layer in spec.layers))
    network = Network(quiet)
    run = run_windows(network, shapes_batch().x)
    assert not any(run.counts[name].any() for name in ("conv1", "conv2", "fc1"))
    # The last layer hears nothing, so that its own weights get nothing: it is the layers before it that must wake.
    run.totals[:, 0].sum().backward()
    assert network.weights["conv1"].grad is not None
    assert network.weights["conv1"].grad.any()


def weakened(layer: LayerSpec) -> LayerSpec:
    if layer.weight is None or layer.name == "fc1":
        return layer
    return dataclasses.replace(layer, weight=layer.weight * np.float32(0.005))


@given(seeds)
def test_operations_are_cross_correlations_worked_naively(seed: int) -> None:
    rng = stream(seed, "conv")
    kernel, stride, padding = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(0, 3))
    op = Conv(channels=2, kernel=kernel, stride=stride, padding=padding)
    x, w = rng.integers(0, 5, (1, 2, 6, 5)), rng.integers(-9, 10, op.weight_shape((2, 6, 5)))
    layer = LayerSpec(name="c", op=op, weight=w.astype(np.float32), neuron=None, in_shape=(2, 6, 5))
    padded = np.pad(x[0], ((0, 0), (padding, padding), (padding, padding)))
    expected = np.zeros(layer.out_shape)
    for f, oy, ox in np.ndindex(*layer.out_shape):
        y, k = oy * stride, ox * stride
        expected[f, oy, ox] = (w[f] * padded[:, y : y + kernel, k : k + kernel]).sum()
    found = apply_op(layer, torch.from_numpy(x).float(), torch.from_numpy(w).float())
    np.testing.assert_array_equal(found[0].numpy(), expected)


def test_batches_do_not_mix() -> None:
    network, x = small_network(2), shapes_batch(6).x
    whole, part = run_windows(network, x), run_windows(network, x[:, 2:4])
    for name in whole.counts:
        torch.testing.assert_close(whole.counts[name][:, 2:4], part.counts[name], rtol=0, atol=0)


def test_weights_go_to_data_and_back_and_data_does_not_follow_torch() -> None:
    spec = small_spec()
    network = Network(spec)
    assert network.to_spec() == spec
    kept = network.to_spec()
    with torch.no_grad():
        network.weights["conv1"].add_(1.0)
    assert kept == spec
    assert network.to_spec() != spec
    other = Network(small_spec(1))
    other.load_weights(network.to_spec())
    assert other.to_spec() == network.to_spec()


def test_weights_of_another_shape_are_refused_not_broadcast() -> None:
    flat = LayerSpec(name="flatten", op=Flatten(), weight=None, neuron=None, in_shape=(2, 1, 1))

    def fc(features: int) -> NetworkSpec:
        op = Linear(features=features)
        weight = np.ones((features, 2), np.float32)
        layer = LayerSpec(name="fc", op=op, weight=weight, neuron=NeuronSpec(), in_shape=(2,))
        return chain([flat, layer], input_shape=(2, 1, 1), dt_us=1)

    with pytest.raises(SpecError, match=r"layer 'fc': weights of shape \(1, 2\) do not fit \(3, 2\)"):
        Network(fc(3)).load_weights(fc(1))


def test_a_network_without_a_clock_has_no_windows() -> None:
    spec = small_spec()
    with pytest.raises(SpecError, match="knows no clock"):
        run_windows(Network(dataclasses.replace(spec, dt_us=None)), shapes_batch().x)


@pytest.mark.parametrize("whole_counts", [False, True])
def test_the_analogue_network_against_its_equation(whole_counts: bool) -> None:
    network, x = small_network(2, neuron=NeuronSpec(v_th=1.5)), shapes_batch().x.sum(0)
    run = run_frame(network, x, whole_counts=whole_counts)
    a = x.double()
    for layer in network.spec.layers:
        weight = None if layer.weight is None else torch.from_numpy(layer.weight.copy()).double()
        a = apply_op(layer, a, weight)
        if layer.neuron is None:
            continue
        a = a / 1.5
        if layer.name != "fc1":
            a = a.clamp(min=0).floor() if whole_counts else a.clamp(min=0)
        # float32 sums of some hundred terms; a count that it puts on the other side of a whole number would show
        torch.testing.assert_close(run.counts[layer.name][0].double(), a, rtol=1e-4, atol=1e-4)
    assert run.totals.shape == (6, 3)


def test_a_map_of_classes_is_flattened_for_the_loss() -> None:
    network = small_network(2, notation="3c8", surrogate=Triangle())
    run = run_windows(network, shapes_batch().x)
    assert run.counts["conv1"].shape == (4, 6, 3, 1, 1)
    assert run.outputs.shape == (4, 6, 3)
    run.totals.sum().backward()
    assert gradients(network)["conv1"].shape == (3, 2, 8, 8)


@pytest.mark.parametrize("notation", ["8c3p1-P2-6c3p1-P2-3", "8c3p1-P2-(8c3p1-8c3p1)-P2-3", "4c3p1-6c3-P2-[4c3p1]-3"])
def test_keeping_less_changes_no_bit(notation: str) -> None:
    """Sums sent at once, currents used up, potentials never written: the same outputs, the same gradients."""
    batch = shapes_batch()
    found = []
    for keep in ("all", "counts", "output"):
        network = small_network(4, notation=notation)
        run = run_windows(network, batch.x, edges_us=batch.edges_us, keep=keep)  # type: ignore[arg-type]
        run.totals.square().sum().backward()
        found.append((run.totals.detach(), {name: p.grad for name, p in network.trained.items()}))
        assert set(run.counts) == ({run.output} if keep == "output" else {n.name for n in network.spec.spiking})
        assert bool(run.v) == (keep == "all")
    for totals, grads in found[1:]:
        assert torch.equal(totals, found[0][0])
        for name, gradient in grads.items():
            assert gradient is not None
            assert torch.equal(gradient, found[0][1][name]), name
