"""Quantising whole networks, against layers worked by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from chiploop.errors import QuantizeError
from chiploop.quantize import IntScheme, dequantize, quantize
from chiploop.spec import Conv, LayerSpec, Linear, NetworkSpec, NeuronSpec, chain

WEIGHT = np.float32([[0.5, -0.25], [1.0, 0.001]])


def network(
    weight: np.ndarray = WEIGHT,
    *,
    neuron: NeuronSpec | None = None,
    bias: list[float] | None = None,
    dt_us: int | None = None,
) -> NetworkSpec:
    layer = LayerSpec(
        name="fc", op=Linear(features=2), weight=weight, neuron=neuron or NeuronSpec(v_min=-0.5), in_shape=(2,),
        bias=None if bias is None else np.float32(bias),
    )  # fmt: skip
    return chain([layer], input_shape=(2,), dt_us=dt_us, clock_us=None if bias is None else 1_000)


def test_a_layer_by_hand() -> None:
    layer = quantize(network(), scales={"fc": 1 / 128}).layer("fc")
    assert layer.weight.tolist() == [[64, -32], [127, 0]]  # 1.0 would be 128: clipped
    assert (layer.threshold, layer.floor, layer.scale) == (128, -64, 1 / 128)
    assert (layer.clipped, layer.zeroed, layer.threshold_error) == (0.25, 0.25, 0.0)
    noise = (1 / 128) ** 2 + 0.001**2
    assert layer.rms_error == pytest.approx(math.sqrt(noise / 4), rel=1e-6)
    signal = 0.25 + 0.0625 + 1 + 1e-6
    assert layer.snr_db == pytest.approx(10 * math.log10(signal / noise), rel=1e-6)


def test_threshold_error_is_relative() -> None:
    layer = quantize(network(), scales={"fc": 1 / 64 + 1 / 4096}).layer("fc")  # 65 / 4096: theta = 63.01 -> 63
    assert layer.threshold == 63
    assert layer.threshold_error == pytest.approx(1 - 63 * 65 / 4096)


def test_an_absent_floor_never_enters_the_scale() -> None:
    none = quantize(network(neuron=NeuronSpec())).layer("fc")
    deep = quantize(network(neuron=NeuronSpec(v_min=-1e6))).layer("fc")
    assert none.floor is None
    assert deep.floor == -32768
    assert np.array_equal(none.weight, deep.weight)
    assert none.scale == deep.scale


def test_dequantize_gives_what_the_integers_stand_for() -> None:
    back = dequantize(quantize(network(), scales={"fc": 1 / 128})).layer("fc")
    assert back.weight is not None
    assert back.neuron is not None
    assert back.weight.tolist() == [[0.5, -0.25], [127 / 128, 0.0]]
    assert (back.neuron.v_th, back.neuron.v_min) == (1.0, -0.5)


def test_fixed_scales_of_a_search_repeat_it() -> None:
    first = quantize(network())
    assert quantize(network(), scales={"fc": first.layer("fc").scale}) == first


@pytest.mark.parametrize(
    ("spec", "scales", "message"),
    [
        (network(np.zeros((2, 2), np.float32)), None, "'fc'.*dead before quantising"),
        (network(WEIGHT * 1e-9), None, "'fc': every weight became zero"),
        (network(bias=[1.0, 0.0]), {"fc": 1 / 128}, "'fc': the bias 1 is 128 steps .* at least 0.00787402"),
        (network(neuron=NeuronSpec(kind="lif", tau_us=1e4)), None, "'fc' leaks, but the network knows no clock"),
        (network(), {"fx": 0.1}, "no such spiking layer; did you mean 'fc'"),
        (network(), {"fc": -1.0}, r"scales\['fc'\] = -1.0 must be positive"),
        (network(), {"fc": 4.0}, "'fc': scale 4 makes the threshold 0.25, outside 1..32767"),
        (network(), {"fc": 1e-6}, "'fc': scale .* outside 1..32767"),
    ],
)
def test_refusals_name_the_layer(spec: NetworkSpec, scales: dict[str, float] | None, message: str) -> None:
    with pytest.raises(QuantizeError, match=message):
        quantize(spec, scales=scales)


def test_a_bias_shares_the_scale() -> None:
    layer = quantize(network(bias=[0.25, -0.01]), scales={"fc": 1 / 128}).layer("fc")
    assert layer.bias is not None
    assert layer.bias.tolist() == [32, -1]  # -1.28 rounds to -1
    assert layer.bias_zeroed == 0.0


def test_a_leak_that_rounds_to_nothing_is_told() -> None:
    layer = quantize(network(bias=[0.25, -0.003]), scales={"fc": 1 / 128}).layer("fc")
    assert layer.bias is not None
    assert layer.bias.tolist() == [32, 0]
    assert layer.bias_zeroed == 0.5
    assert quantize(network(bias=[0.25, 0.0]), scales={"fc": 1 / 128}).layer("fc").bias_zeroed == 0.0


def test_a_bias_larger_than_any_weight_widens_the_scale_and_not_more_than_it_must() -> None:
    layer = quantize(network(bias=[3.0, -0.5])).layer("fc")
    assert layer.bias is not None
    assert layer.bias.tolist() == [127, -21]
    assert 3.0 / 127 <= layer.scale < 3.0 / 127 * (1 + 2**-7)
    assert np.abs(layer.weight).max() == round(1.0 / layer.scale)


def test_a_leaky_layer_keeps_states_in_units_of_the_gain() -> None:
    # dt = tau ln 2: a step keeps half, the gain is 1/2, and the state on the chip is V / gain = 2 V.
    tau = 1_000.0 / math.log(2.0)
    spec = network(neuron=NeuronSpec(kind="lif", tau_us=tau, v_min=-0.5), bias=[0.25, 0.0], dt_us=1_000)
    layer = quantize(spec, scales={"fc": 1 / 64}).layer("fc")
    assert layer.weight.tolist() == [[32, -16], [64, 0]]
    assert (layer.threshold, layer.floor) == (128, -64)
    assert layer.bias is not None
    assert layer.bias.tolist() == [32, 0]
    back = dequantize(quantize(spec, scales={"fc": 1 / 64})).layer("fc")
    assert back.neuron is not None
    assert back.neuron.v_th == pytest.approx(1.0)
    assert back.neuron.v_min == pytest.approx(-0.5)
    assert back.bias == pytest.approx([0.25, 0.0])


def test_weights_without_a_neuron_are_refused() -> None:
    layer = LayerSpec(
        name="conv", op=Conv(channels=1, kernel=1), weight=np.ones((1, 1, 1, 1), np.float32), neuron=None,
        in_shape=(1, 2, 2),
    )  # fmt: skip
    with pytest.raises(QuantizeError, match="'conv' has weights but no neuron"):
        quantize(chain([layer], input_shape=(1, 2, 2)))


@pytest.mark.parametrize(
    "changed", [{"bits": 1}, {"bits": 9}, {"state_bits": 17}, {"bits": 8, "state_bits": 7}, {"percentile": 0.0}]
)
def test_schemes_out_of_range_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(QuantizeError, match=rf"scheme\.({'|'.join(changed)}) = "):
        IntScheme(**changed)  # type: ignore[arg-type]


def test_narrow_states_bound_threshold_and_floor() -> None:
    spec = network(neuron=NeuronSpec(v_th=100.0, v_min=-300.0))
    layer = quantize(spec, IntScheme(bits=4, state_bits=8)).layer("fc")
    assert layer.threshold <= 127
    assert layer.floor == -128
    assert dataclasses.replace(IntScheme(), state_bits=8).v_lowest == -128
