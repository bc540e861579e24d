"""The tables of decay that devices use equal the oracle's exponentials to the last bit."""

from __future__ import annotations

import pytest

from chiploop.chip.decay import decay_factors
from chiploop.chip.oracle_core import rounded_exp


@pytest.mark.parametrize("tau_us", [0.3, 1.0, 3.7, 50.0, 700.5, 1000.0, 12_345.678, 20_000.0, 1e5])
def test_tables_are_exact_and_end_where_nothing_is_left(tau_us: float) -> None:
    fine, coarse = decay_factors(tau_us)
    assert fine.tolist() == [rounded_exp(tau_us, i) for i in range(1024)]
    assert coarse.tolist() == [rounded_exp(tau_us, 1024 * j) for j in range(len(coarse))]
    assert rounded_exp(tau_us, 1024 * len(coarse)) == 0
