"""The rounding and the choice of a scale, against numbers worked by hand and slow searches."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.quantize import SCALES, IntScheme, choose_scale, quantize_array, quantize_threshold, snap_scale
from chiploop.quantize.scale import MIN_THRESHOLD, SCALE_BITS
from chiploop.rng import stream

GAUSSIAN = stream(0, "weights").normal(0, 0.1, 5_000).astype(np.float32)


def test_rounding_is_half_to_even_symmetric_and_clipped() -> None:
    x = np.float32([0.25, 0.75, 1.25, -0.25, -0.75, 63.4, 64.0, -900.0])
    assert quantize_array(x, 0.5, 127).tolist() == [0, 2, 2, 0, -2, 127, 127, -127]


def test_the_quotient_is_a_float32_division() -> None:
    # The float32 numbers 0.35 and 0.1 divide to 3.49999989, which float32 rounds to 3.5, and half to even to 4.
    assert quantize_array(np.float32([0.35]), 0.1, 127).tolist() == [4]


@pytest.mark.parametrize(
    ("v_th", "scale", "theta"), [(1.0, 0.4, 2), (1.0, 0.001, 1000), (1.0, 9.0, 1), (1.0, 1e-6, 32767), (2.5, 1.0, 2)]
)
def test_threshold_rounds_half_to_even_into_its_range(v_th: float, scale: float, theta: int) -> None:
    assert quantize_threshold(v_th, scale, 32767) == theta


def test_snapping_keeps_nine_bits() -> None:
    # 0.01 = 0.64 * 2^-6; 0.64 * 512 = 327.68 -> 328; 328 / 512 / 64
    assert snap_scale(0.01) == 0.010009765625
    for scale in stream(1, "scales").lognormal(-4, 3, 200):
        snapped = snap_scale(float(scale))
        assert abs(snapped - scale) <= scale / (1 << SCALE_BITS)
        assert snap_scale(snapped) == snapped


def test_every_state_times_a_scale_is_an_exact_float32() -> None:
    states = np.arange(-32768, 32768, dtype=np.float64)
    for scale in stream(2, "scales").lognormal(-4, 3, 50):
        exact = states * snap_scale(float(scale))
        assert np.array_equal(exact.astype(np.float32).astype(np.float64), exact)


def test_max_puts_the_largest_weight_on_the_largest_integer() -> None:
    scale = choose_scale(np.float32([0.3, -1.27]), 1.0, IntScheme(search="max"))
    assert scale == snap_scale(0.01)
    assert quantize_array(np.float32([0.3, -1.27]), scale, 127).tolist() == [30, -127]


def test_percentile_leaves_outliers_out() -> None:
    weight = np.concatenate([np.linspace(0.001, 0.127, 999), [50.0], np.zeros(5_000)]).astype(np.float32)
    scale = choose_scale(weight, 1.0, IntScheme(search="percentile", percentile=99.0))
    # 1,000 non-zero magnitudes: the first with 99 % below it is entry 990 of 999, 0.001 + 990 * 0.126 / 998
    assert scale == snap_scale((0.001 + 990 * 0.126 / 998) / 127)


def test_mse_is_as_good_as_a_dense_search() -> None:
    def error(scale: float) -> float:
        theta = round(1.0 / scale)
        q = np.clip(np.round(GAUSSIAN.astype(np.float64) / scale), -7, 7)
        return float(np.sum((q / theta - GAUSSIAN) ** 2))

    scheme = IntScheme(bits=4)
    largest = float(np.abs(GAUSSIAN).max()) / scheme.q_max
    best = min(error(largest * part) for part in np.linspace(0.2, 1.0, 2_000))
    chosen = error(choose_scale(GAUSSIAN, 1.0, scheme))
    assert chosen <= 1.02 * best  # 64 candidates against 2,000
    assert chosen < 0.7 * error(choose_scale(GAUSSIAN, 1.0, IntScheme(bits=4, search="max")))


def test_search_counts_the_threshold_s_rounding() -> None:
    # With theta near 10 the threshold's rounding dominates: the largest scale makes v_th / s = 9.5 or so, 5 % wrong.
    weight = np.linspace(-1.0, 1.0, 1_001, dtype=np.float32)
    v_th = 9.5 / 127
    scale = choose_scale(weight, v_th, IntScheme())
    assert abs(round(v_th / scale) * scale / v_th - 1) < 0.01
    worst = choose_scale(weight, v_th, IntScheme(search="max"))
    assert abs(round(v_th / worst) * worst / v_th - 1) > 0.03


@pytest.mark.parametrize("search", SCALES.names())
@pytest.mark.parametrize("ratio", [1e-6, 1.0, 1e6])
def test_threshold_stays_in_range_whatever_the_weights(search: str, ratio: float) -> None:
    scale = choose_scale(GAUSSIAN, float(np.abs(GAUSSIAN).max()) * ratio, IntScheme(search=search))  # type: ignore[arg-type]
    theta = np.abs(GAUSSIAN).max() * ratio / scale
    # snapping moves a bound by at most half a unit of its nine bits
    assert MIN_THRESHOLD * (1 - 2**-SCALE_BITS) <= theta <= 32767 * (1 + 2**-SCALE_BITS)
