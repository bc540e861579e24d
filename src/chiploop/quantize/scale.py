"""One scale a layer: the rounding that everything shares, and the choice of the scale."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chiploop.quantize.scheme import IntScheme
from chiploop.registry import Registry

SCALE_BITS = 9
"""Significant bits of a scale. A state has at most 15 bits, so that every `integer * scale` is an exact float32
(24 bits): a clock-driven float32 network on scaled integers computes exactly what integers would."""

MIN_THRESHOLD = 8
"""Smallest integer threshold a chosen scale gives: its rounding then moves the threshold by at most 1/16."""

N_CANDIDATES = 64
SMALLEST_CANDIDATE = 0.25
"""The search tries this many scales from the one that clips nothing down to this part of it."""

ScaleChoice = Callable[[NDArray[np.float32], float, IntScheme], float]
"""From the weights, the threshold and the scheme to a scale."""

SCALES: Registry[ScaleChoice] = Registry("scale choice")
"""Ways to choose a layer's scale, by the scheme's `search`."""


def quantize_array(x: NDArray[np.float32], scale: float, q_max: int) -> NDArray[np.float32]:
    """Return integers (as float32): the one rounding of the project.

        q = clip(round_half_even(x / scale), -q_max, q_max)

    x and scale are float32 and the quotient is one float32 division (correctly rounded by IEEE 754), so torch gives
    the same integers from `torch.clamp(torch.round(x / scale), -q_max, q_max)` when x is float32 and `scale` a
    float32 tensor on x's device (some devices multiply by the reciprocal of a plain number, which rounds otherwise).

    >>> quantize_array(np.float32([0.5, 1.5, -2.5, 300.0]), 1.0, 127).tolist()
    [0.0, 2.0, -2.0, 127.0]
    """
    q = np.divide(x, np.float32(scale), dtype=np.float32)
    np.rint(q, out=q)
    return np.clip(q, -q_max, q_max, out=q)


def quantize_threshold(v_th: float, scale: float, v_max: int) -> int:
    """Return theta = round_half_even(v_th / scale), in float64, kept in 1..v_max.

    >>> quantize_threshold(1.0, 0.004, 32767)
    250
    """
    return min(max(round(v_th / scale), 1), v_max)


def snap_scale(scale: float) -> float:
    """Return the nearest number of SCALE_BITS significant bits.

    The largest weight stays within a quarter of a step of q_max, so snapping clips nothing.

    >>> snap_scale(0.1) == 410 / 4096
    True
    """
    mantissa, exponent = math.frexp(scale)
    return math.ldexp(round(mantissa * (1 << SCALE_BITS)), exponent - SCALE_BITS)


def choose_scale(weight: NDArray[np.float32], v_th: float, scheme: IntScheme) -> float:
    """Return the layer's scale: by the scheme's search, snapped, with a threshold in MIN_THRESHOLD..v_max."""
    return SCALES.get(scheme.search)(weight, v_th, scheme)


@SCALES.register("max")
def scale_of_max(weight: NDArray[np.float32], v_th: float, scheme: IntScheme) -> float:
    """Return the scale that clips nothing: max |w| / q_max."""
    return _within(float(np.max(np.abs(weight))) / scheme.q_max, v_th, scheme)


@SCALES.register("percentile")
def scale_of_percentile(weight: NDArray[np.float32], v_th: float, scheme: IntScheme) -> float:
    """Return the scale at which the given share of the weights is not clipped.

    The percentile is the next weight above, never an interpolated value, so that the dequantised weights have the
    same one; zeros, which any scale represents, do not count.
    """
    magnitude = np.abs(weight[weight != 0.0])
    if not magnitude.size:
        return _within(0.0, v_th, scheme)
    bound = np.percentile(magnitude, scheme.percentile, method="higher")
    return _within(float(bound) / scheme.q_max, v_th, scheme)


@SCALES.register("mse")
def scale_of_least_error(weight: NDArray[np.float32], v_th: float, scheme: IntScheme) -> float:
    """Return the candidate that changes the ratio of weight to threshold least, in the sum of squares.

    Only w / v_th matters to a spike train, so a candidate with scale s is judged by the weights q v_th / theta that its
    integers stand for: an unlucky rounding of the threshold counts as much as rounded weights. Ties go to the largest.
    """
    largest = scale_of_max(weight, v_th, scheme)
    parts = np.geomspace(1.0, SMALLEST_CANDIDATE, N_CANDIDATES)
    candidates = sorted({_within(largest * float(part), v_th, scheme) for part in parts}, reverse=True)
    flat = np.ascontiguousarray(weight, dtype=np.float32).reshape(-1)
    errors = [_ratio_error(flat, v_th, scale, scheme) for scale in candidates]
    return candidates[int(np.argmin(errors))]


def _ratio_error(flat: NDArray[np.float32], v_th: float, scale: float, scheme: IntScheme) -> float:
    theta = quantize_threshold(v_th, scale, scheme.v_max)
    lost = quantize_array(flat, scale, scheme.q_max)
    lost *= np.float32(v_th / theta)
    lost -= flat
    return float(np.dot(lost, lost))


def _within(scale: float, v_th: float, scheme: IntScheme) -> float:
    # Both bounds come from the threshold, so they hold again, unchanged, for a dequantised layer (v_th = theta scale).
    lowest, highest = v_th / scheme.v_max, v_th / min(MIN_THRESHOLD, scheme.v_max)
    return snap_scale(min(max(scale, lowest), highest))
