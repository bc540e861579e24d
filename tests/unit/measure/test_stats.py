from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.measure.stats import (
    mcnemar_p,
    normal_quantile,
    paired_bootstrap,
    paired_difference,
    seed_interval,
    t_quantile,
    wilson_interval,
)
from chiploop.rng import stream
from chiploop.units import Z_95


def test_normal_quantile_is_the_constant_of_the_project() -> None:
    assert normal_quantile(0.95) == pytest.approx(Z_95, rel=1e-14)


@pytest.mark.parametrize(
    ("dof", "level", "known"),
    [
        # Fisher and Yates' table, two-sided
        (1, 0.95, 12.706),
        (2, 0.95, 4.303),
        (3, 0.95, 3.182),
        (4, 0.95, 2.776),
        (9, 0.95, 2.262),
        (10, 0.95, 2.228),
        (30, 0.95, 2.042),
        (120, 0.95, 1.980),
        (1, 0.99, 63.657),
        (2, 0.99, 9.925),
        (5, 0.99, 4.032),
        (4, 0.90, 2.132),
    ],
)
def test_t_quantile_against_the_printed_table(dof: int, level: float, known: float) -> None:
    assert t_quantile(dof, level=level) == pytest.approx(known, abs=6e-4)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.999])
def test_t_quantile_against_closed_forms(level: float) -> None:
    # one degree of freedom is Cauchy's distribution; two have t = p sqrt(2 / (1 - p^2))
    assert t_quantile(1, level=level) == pytest.approx(math.tan(math.pi * level / 2), rel=1e-11)
    assert t_quantile(2, level=level) == pytest.approx(level * math.sqrt(2 / (1 - level**2)), rel=1e-11)


def test_t_quantile_against_an_independent_implementation() -> None:
    reference = pytest.importorskip("scipy.stats")
    for dof in (1, 2, 3, 4, 5, 6, 7, 19, 100, 1001):
        for level in (0.5, 0.9, 0.95, 0.99):
            assert t_quantile(dof, level=level) == pytest.approx(reference.t.ppf(0.5 + level / 2, dof), rel=1e-9)


def test_t_quantile_falls_to_the_normal_one() -> None:
    values = [t_quantile(dof) for dof in range(1, 60)]
    assert all(a > b for a, b in pairwise(values))
    assert t_quantile(100_000) == pytest.approx(Z_95, abs=3e-5)


def test_wilson_worked_by_hand() -> None:
    # 8 of 10: p = .8, z^2 = 3.8415; centre (.8 + .192073) / 1.384146, half 1.959964 sqrt(.016 + .0096036) / 1.384146
    interval = wilson_interval(8, 10)
    assert interval.value == 0.8
    assert interval.low == pytest.approx(0.490162, abs=1e-6)
    assert interval.high == pytest.approx(0.943318, abs=1e-6)


def test_wilson_at_the_ends() -> None:
    # with no hit the upper bound is z^2 / (n + z^2), and the interval starts at 0 exactly
    none, every = wilson_interval(0, 20), wilson_interval(20, 20)
    assert (none.low, every.high) == (0.0, 1.0)
    assert none.high == pytest.approx(Z_95**2 / (20 + Z_95**2), rel=1e-12)
    assert every.low == pytest.approx(1 - none.high, rel=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_wilson_refuses_impossible_counts(hits: int, n: int) -> None:
    with pytest.raises(DataError, match="hits"):
        wilson_interval(hits, n)


def test_seed_interval_worked_by_hand() -> None:
    # 1, 2, 3: mean 2, s = 1, half = 4.302653 / sqrt(3)
    value, low, high = seed_interval([1.0, 2.0, 3.0])
    assert value == 2.0
    assert high - value == pytest.approx(4.302652729911275 / math.sqrt(3), rel=1e-9)
    assert value - low == pytest.approx(high - value, rel=1e-12)


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(DataError, match="at least two"):
        seed_interval([0.9])


def test_mcnemar_against_hand_counts() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(0, 5) == 2 / 2**5
    assert mcnemar_p(2, 5) == pytest.approx(2 * (1 + 7 + 21) / 2**7)
    assert mcnemar_p(5, 2) == mcnemar_p(2, 5)
    assert mcnemar_p(4, 4) == 1.0  # twice the tail would exceed 1


def test_mcnemar_against_an_independent_implementation() -> None:
    reference = pytest.importorskip("scipy.stats")
    for gained, lost in ((3, 11), (0, 9), (40, 22), (500, 560)):
        assert mcnemar_p(gained, lost) == pytest.approx(reference.binomtest(gained, gained + lost).pvalue, rel=1e-9)


def test_paired_difference_worked_by_hand() -> None:
    # g = 7/102, l = 13/102, difference of both -6/102, sum 20/102
    interval = paired_difference(6, 12, 100)
    half = Z_95 * math.sqrt((20 / 102 - (6 / 102) ** 2) / 102)
    assert interval.value == -0.06
    assert interval.low == pytest.approx(-6 / 102 - half, rel=1e-12)
    assert interval.high == pytest.approx(-6 / 102 + half, rel=1e-12)


def test_paired_difference_holds_its_value_and_mirrors() -> None:
    for n in (1, 2, 7, 30):
        for gained in range(n + 1):
            for lost in range(n + 1 - gained):
                there, back = paired_difference(gained, lost, n), paired_difference(lost, gained, n)
                assert -1 <= there.low <= there.value <= there.high <= 1
                assert there.low == pytest.approx(-back.high)


def test_paired_difference_refuses_more_changes_than_samples() -> None:
    with pytest.raises(DataError, match="together at most n"):
        paired_difference(6, 5, 10)


def test_bootstrap_of_a_constant_difference_has_no_width() -> None:
    first = np.arange(50.0)
    assert paired_bootstrap(first, first + 2, rng=stream(0, "bootstrap")) == (2.0, 2.0, 2.0)


def test_bootstrap_is_seeded_and_close_to_the_normal_interval() -> None:
    rng = stream(1, "data")
    first = rng.normal(size=400)
    second = first + rng.normal(0.5, 1.0, size=400)
    one, two = (paired_bootstrap(first, second, rng=stream(2, "bootstrap")) for _ in range(2))
    assert one == two
    difference = second - first
    half = Z_95 * difference.std() / math.sqrt(400)
    # the bounds of 2,000 resamples scatter by about 2.7 % of the standard error each: five times that is 7 % of half
    assert one.low == pytest.approx(difference.mean() - half, abs=0.07 * half)
    assert one.high == pytest.approx(difference.mean() + half, abs=0.07 * half)


def test_bootstrap_refuses_nothing() -> None:
    with pytest.raises(DataError, match="equally long rows"):
        paired_bootstrap([], [], rng=stream(0, "bootstrap"))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_in_per_cent_is_caught(level: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        wilson_interval(1, 2, level=level)
