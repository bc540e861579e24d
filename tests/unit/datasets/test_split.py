from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.datasets.split import split_indices
from chiploop.errors import DataError

LABELS = np.repeat(np.arange(5), [40, 30, 20, 7, 3])


@given(st.integers(0, 2**31), st.lists(st.integers(0, 30), min_size=1, max_size=3))
def test_parts_are_disjoint_of_the_asked_size_and_stratified(seed: int, sizes: list[int]) -> None:
    parts = split_indices(LABELS, sizes, seed=seed)
    assert [len(part) for part in parts] == sizes
    together = np.concatenate(parts)
    assert len(set(together.tolist())) == sum(sizes)
    for part, size in zip(parts, sizes, strict=True):
        share = np.bincount(LABELS[part], minlength=5) - size * np.bincount(LABELS) / len(LABELS)
        # A stretch of an evenly spread order holds each class to within one at each of its two ends.
        assert np.abs(share).max() <= 2


def test_fractions_that_sum_to_one_leave_nobody_out() -> None:
    parts = split_indices(LABELS, [0.7, 0.2, 0.1], seed=3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))
    assert [len(p) for p in parts] == [70, 20, 10]


def test_the_seed_decides() -> None:
    one, same, other = (split_indices(LABELS, [50], seed=s)[0] for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("parts", [[0.7, 0.5], [90, 20], [-1, 3]])
def test_impossible_parts_are_refused(parts: list[float]) -> None:
    with pytest.raises(DataError, match="split"):
        split_indices(LABELS, parts, seed=0)
