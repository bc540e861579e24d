"""Ticks of the slow clock, against counting them one by one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chiploop.network.ticks import window_ticks


@given(st.lists(st.integers(0, 200), min_size=2, max_size=8, unique=True).map(sorted), st.integers(1, 40))
def test_ticks_are_the_multiples_of_the_period_in_each_window(edges: list[int], clock_us: int) -> None:
    multiples = range(0, 201, clock_us)
    expected = [sum(a <= tick < b for tick in multiples) for a, b in pairwise(edges)]
    assert window_ticks(edges, clock_us).tolist() == expected
