"""Intervals and tests: shares, means over seeds, and paired differences on the same samples. No scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chiploop.errors import DataError

LEVEL = 0.95
"""Confidence level of every interval unless said otherwise."""


class Interval(NamedTuple):
    """An estimate with its bounds."""

    value: float
    low: float
    high: float


def normal_quantile(level: float) -> float:
    """Return z such that a normal variable lies within +-z with probability `level`.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    _require_level(level)
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson_interval(hits: int, n: int, *, level: float = LEVEL) -> Interval:
    """Return a share and its Wilson score interval; never outside 0..1, never empty at 0 or n hits.

        centre = (p + z^2 / 2n) / (1 + z^2 / n)
        half   = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)

    Wilson 1927, J. Am. Stat. Assoc. 22.

    >>> tuple(round(x, 4) for x in wilson_interval(81, 263))
    (0.308, 0.2553, 0.3662)
    """
    if n < 1 or not 0 <= hits <= n:
        raise DataError(f"{hits} hits of {n} samples: hits must lie in 0..n and n must be at least 1")
    z = normal_quantile(level)
    p = hits / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if hits == 0 else min(p, centre - half)  # exact at the ends, where rounding would miss by 1e-17
    high = 1.0 if hits == n else max(p, centre + half)
    return Interval(p, low, high)


def _central_t_probability(angle: float, dof: int) -> float:
    """P(|t| < sqrt(dof) tan(angle)): the finite series of Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    if dof % 2:
        term, total = cosine, 0.0
        for i in range(1, (dof + 1) // 2):
            total += term
            term *= cosine * cosine * (2 * i) / (2 * i + 1)
        return (angle + sine * total) * 2 / math.pi
    term, total = 1.0, 0.0
    for i in range(1, dof // 2 + 1):
        total += term
        term *= cosine * cosine * (2 * i - 1) / (2 * i)
    return sine * total


@lru_cache(maxsize=256)
def t_quantile(dof: int, *, level: float = LEVEL) -> float:
    """Return t such that Student's t with `dof` degrees of freedom lies within +-t with probability `level`.

    >>> round(t_quantile(4), 3)
    2.776
    """
    _require_level(level)
    if dof < 1:
        raise DataError(f"t distribution with {dof} degrees of freedom; at least two seeds are needed")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:  # to the last bit: the series is monotone in the angle
        low, high = (middle, high) if _central_t_probability(middle, dof) < level else (low, middle)
    return math.sqrt(dof) * math.tan(low)


def seed_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval:
    """Return the mean over seeds and its t interval, mean +- t s / sqrt(n); two values at least."""
    if len(values) < 2:
        raise DataError(f"an interval over seeds needs at least two of them, got {len(values)}")
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = t_quantile(len(values) - 1, level=level) * math.sqrt(variance / len(values))
    return Interval(mean, mean - half, mean + half)


def paired_difference(gained: int, lost: int, n: int, *, level: float = LEVEL) -> Interval:
    """Return the difference of two shares on the same n samples, (gained - lost) / n, with its interval.

    With g = (gained + 1) / (n + 2) and l = (lost + 1) / (n + 2), the interval is
    g - l +- z sqrt((g + l - (g - l)^2) / (n + 2)), which covers well even for few discordant pairs.
    Bonett and Price 2012, J. Educ. Behav. Stat. 37.
    """
    if n < 1 or gained < 0 or lost < 0 or gained + lost > n:
        raise DataError(f"{gained} gained and {lost} lost of {n} samples: both at least 0, together at most n")
    value = (gained - lost) / n
    g, f = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = normal_quantile(level) * math.sqrt((g + f - (g - f) ** 2) / (n + 2))
    return Interval(value, max(-1.0, min(value, g - f - half)), min(1.0, max(value, g - f + half)))


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p value that gains and losses are equally likely (binomial, not chi-square).

    >>> mcnemar_p(1, 9)
    0.021484375
    """
    n, k = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return min(1.0, float(2 * tail / 2**n))


def paired_bootstrap(
    first: ArrayLike, second: ArrayLike, *, rng: np.random.Generator, resamples: int = 2_000, level: float = LEVEL
) -> Interval:
    """Return mean(second - first) over the same samples, with the percentile bootstrap interval."""
    difference: NDArray[np.float64] = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    if difference.ndim != 1 or difference.size == 0:
        raise DataError(f"a paired bootstrap needs two equally long rows, got shape {difference.shape}")
    _require_level(level)
    picks = rng.integers(difference.size, size=(resamples, difference.size))
    means = difference[picks].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    value = float(difference.mean())
    return Interval(value, min(value, float(low)), max(value, float(high)))


def _require_level(level: float) -> None:
    if not 0 < level < 1:
        raise DataError(f"confidence level {level} must lie between 0 and 1, such as 0.95")
