"""Intervals cover what they promise: exactly, by summing over all outcomes, and in simulation within five sigma."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.measure.stats import mcnemar_p, paired_bootstrap, paired_difference, seed_interval, wilson_interval
from chiploop.rng import stream

FIVE_SIGMA = 5.0


def _binomial(n: int, p: float) -> np.ndarray:
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


@pytest.mark.parametrize("n", [20, 100, 300])
def test_wilson_covers_on_average_exactly(n: int) -> None:
    """No simulation: all outcomes, summed. Averaged over p the score interval covers 95 % within one point."""
    intervals = [wilson_interval(k, n) for k in range(n + 1)]
    low, high = (np.array([getattr(i, side) for i in intervals]) for side in ("low", "high"))
    coverages = []
    for p in np.linspace(0.02, 0.98, 97):
        coverages.append(float(_binomial(n, p)[(low <= p) & (p <= high)].sum()))
    assert abs(np.mean(coverages) - 0.95) < 0.01
    assert min(coverages) > 0.83  # the dips near 0 and 1 are known: Brown, Cai and DasGupta 2001, section 3


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_the_t_interval_covers_for_few_seeds(n_seeds: int) -> None:
    trials = 4_000
    rng = stream(0, "coverage", "t", n_seeds)
    hits = 0
    for values in rng.normal(0.9, 0.02, size=(trials, n_seeds)):
        _, low, high = seed_interval(values.tolist())
        hits += low <= 0.9 <= high
    sigma = math.sqrt(0.95 * 0.05 / trials)
    assert abs(hits / trials - 0.95) < FIVE_SIGMA * sigma


def test_the_normal_quantile_in_its_place_would_be_seen() -> None:
    """The test above can fail: with 1.96 for t, three seeds cover 81 % only, forty sigma away."""
    trials = 4_000
    values = stream(0, "coverage", "t", 3).normal(0.9, 0.02, size=(trials, 3))
    half = 1.96 * values.std(axis=1, ddof=1) / math.sqrt(3)
    share = float((np.abs(values.mean(axis=1) - 0.9) <= half).mean())
    assert share < 0.95 - FIVE_SIGMA * math.sqrt(0.95 * 0.05 / trials)


@pytest.mark.parametrize(
    ("gain", "loss", "n"), [(0.02, 0.10, 300), (0.05, 0.05, 100), (0.0, 0.02, 300), (0.30, 0.05, 60)]
)
def test_the_paired_interval_covers(gain: float, loss: float, n: int) -> None:
    """Bonett and Price's interval is on the safe side: at most two points below 95 %, here and there above."""
    trials = 20_000
    outcomes = stream(0, "coverage", "paired", n).multinomial(n, [gain, loss, 1 - gain - loss], size=trials)
    pairs, repeats = np.unique(outcomes[:, :2], axis=0, return_counts=True)
    hits = 0
    for (gained, lost), times in zip(pairs.tolist(), repeats.tolist(), strict=True):
        _, low, high = paired_difference(gained, lost, n)
        hits += times * (low <= gain - loss <= high)
    sigma = math.sqrt(0.95 * 0.05 / trials)
    assert hits / trials > 0.93 - FIVE_SIGMA * sigma


def test_mcnemar_is_exact_and_never_too_bold() -> None:
    """Under equal chances P(p <= a) <= a for every a: summed over all outcomes, no simulation."""
    for n in (1, 5, 12, 40):
        weights = _binomial(n, 0.5)
        p = np.array([mcnemar_p(k, n - k) for k in range(n + 1)])
        for a in (0.001, 0.01, 0.05, 0.2, 0.5):
            assert weights[p <= a].sum() <= a + 1e-12


def test_the_bootstrap_covers_for_hundreds_of_samples() -> None:
    trials, n = 400, 200
    rng = stream(0, "coverage", "bootstrap")
    hits = 0
    for _ in range(trials):
        first = rng.random(n) < 0.9
        second = np.where(rng.random(n) < 0.1, ~first, first)  # one in ten changes: E = .1 (1 - 2 * .9) = -.08
        _, low, high = paired_bootstrap(first, second, rng=rng, resamples=400)
        hits += low <= -0.08 <= high
    # percentile bootstrap, discrete and slightly short: 95 % less at most two points, then five sigma
    assert hits / trials > 0.93 - FIVE_SIGMA * math.sqrt(0.95 * 0.05 / trials)
    assert hits / trials < 1.0
