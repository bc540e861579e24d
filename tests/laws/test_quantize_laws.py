"""What holds of quantisation whatever the weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chiploop.quantize import SCALES, IntScheme, QuantLayer, dequantize, quantize
from chiploop.rng import stream
from chiploop.spec import LayerSpec, Linear, NetworkSpec, NeuronSpec, chain

# Any weights, as long as one is large enough not to die; thresholds within the range that a scale can serve.
WEIGHTS = hnp.arrays(np.float32, (3, 4), elements=st.floats(-4.0, 4.0, width=32)).map(
    lambda w: np.where(np.arange(12).reshape(3, 4) == 5, np.float32(1.5), w)
)
THRESHOLDS = st.floats(0.05, 50.0)
SCHEMES = st.builds(
    IntScheme, bits=st.integers(3, 8), search=st.sampled_from(SCALES.names()), percentile=st.floats(50.0, 100.0)
)


def network(weight: np.ndarray, v_th: float, v_min: float | None = None) -> NetworkSpec:
    layer = LayerSpec(
        name="fc", op=Linear(features=len(weight)), weight=weight.astype(np.float32),
        neuron=NeuronSpec(v_th=v_th, v_min=v_min), in_shape=(weight.shape[1],),
    )  # fmt: skip
    return chain([layer], input_shape=(weight.shape[1],))


def integers(layer: QuantLayer) -> tuple[list[int], int, int | None]:
    return layer.weight.ravel().tolist(), layer.threshold, layer.floor


@settings(deadline=None)  # the machine may be busy
@given(WEIGHTS, THRESHOLDS, SCHEMES)
def test_unclipped_weights_move_at_most_half_a_step_and_zero_stays_zero(
    weight: np.ndarray, v_th: float, scheme: IntScheme
) -> None:
    layer = quantize(network(weight, v_th), scheme).layer("fc")
    q = layer.weight.astype(np.float64)
    inside = np.abs(weight) <= (scheme.q_max + 0.5) * layer.scale
    # the float32 quotient is off by at most 2^-24 of itself, so up to 127 steps * 2^-24 more than half a step
    assert np.all(np.abs(weight - q * layer.scale)[inside] <= layer.scale * (0.5 + 2**-17))
    assert np.all(np.abs(q[~inside]) == scheme.q_max)
    assert layer.clipped == np.mean(~inside)
    assert not np.any(q[weight == 0])


@settings(deadline=None)  # the machine may be busy
@given(WEIGHTS, THRESHOLDS, st.none() | st.floats(-20.0, 0.0), SCHEMES)
def test_quantising_again_changes_nothing(
    weight: np.ndarray, v_th: float, v_min: float | None, scheme: IntScheme
) -> None:
    once = quantize(network(weight, v_th, v_min), scheme)
    again = quantize(dequantize(once), scheme)
    assert integers(again.layer("fc")) == integers(once.layer("fc"))
    assert again.layer("fc").scale == once.layer("fc").scale
    assert again.layer("fc").rms_error == 0.0
    assert dequantize(again) == dequantize(once)


@settings(deadline=None)  # the machine may be busy
@given(WEIGHTS, THRESHOLDS, SCHEMES, st.integers(-10, 10))
def test_scaling_weights_and_threshold_together_leaves_the_integers(
    weight: np.ndarray, v_th: float, scheme: IntScheme, power: int
) -> None:
    factor = 2.0**power  # exact in binary; other factors move weights by their own rounding
    before = quantize(network(weight, v_th, -v_th), scheme).layer("fc")
    after = quantize(network(weight * np.float32(factor), v_th * factor, -v_th * factor), scheme).layer("fc")
    assert integers(after) == integers(before)
    assert after.scale == before.scale * factor


@settings(deadline=None)  # the machine may be busy
@given(WEIGHTS, THRESHOLDS, st.floats(0.1, 10.0))
def test_any_joint_factor_moves_an_integer_by_one_at_most(weight: np.ndarray, v_th: float, factor: float) -> None:
    scheme = IntScheme(search="max")
    before = quantize(network(weight, v_th), scheme).layer("fc")
    after = quantize(network(weight * np.float32(factor), v_th * factor), scheme).layer("fc")
    # two snapped scales differ by at most 2^-8 of themselves: half a step at 127
    assert np.max(np.abs(after.weight.astype(int) - before.weight)) <= 1


@settings(deadline=None)  # the machine may be busy
@given(WEIGHTS, THRESHOLDS, SCHEMES)
def test_the_sign_goes_through(weight: np.ndarray, v_th: float, scheme: IntScheme) -> None:
    plus = quantize(network(weight, v_th), scheme).layer("fc")
    minus = quantize(network(-weight, v_th), scheme).layer("fc")
    assert np.array_equal(minus.weight, -plus.weight)


@pytest.mark.parametrize("search", SCALES.names())
def test_error_halves_with_every_bit(search: str) -> None:
    weight = stream(3, "weights").normal(0, 0.1, (40, 250))
    scheme = IntScheme(search=search, percentile=100.0)  # type: ignore[arg-type]
    errors = [
        quantize(network(weight, 1.0), dataclasses.replace(scheme, bits=bits)).layer("fc").rms_error
        for bits in range(3, 9)
    ]
    ratios = np.array(errors[:-1]) / errors[1:]
    # uniform rounding halves its error with each bit; a search that also clips gains a little less
    assert np.all(ratios > 1.6)
