"""A leak's factors as integers, so that every machine decays a state to the same bits."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from chiploop.digest import read_only
from chiploop.errors import DeviceError

FACTOR_BITS = 31
FINE_STEPS = 1024
MAX_TAU_US = 1e7
"""Ten seconds; the table grows with tau, and recordings are shorter than that."""
_DIGITS = 40
"""Decimal digits of the exponentials: far more than a factor has, so that its rounding is the exact one."""

DecayFactors = tuple[NDArray[np.int64], NDArray[np.int64]]


@lru_cache(maxsize=32)
def decay_factors(tau_us: float) -> DecayFactors:
    """Return the factors of exp(-dt / tau), in units of 2^-31, for any dt in whole microseconds.

        exp(-dt / tau) = fine[dt mod 1024] coarse[dt div 1024]

    fine int64[1024] = round(2^31 exp(-i / tau)), coarse int64[n] = round(2^31 exp(-1024 j / tau)) up to the first
    zero, which is left out: past the table's end nothing is left of a state.

    Raises DeviceError for a leak so slow that the table would pass MAX_TAU_US.

    >>> fine, coarse = decay_factors(20_000.0)
    >>> int(fine[0]) == 2**31, len(coarse)
    (True, 434)
    """
    if tau_us > MAX_TAU_US:
        raise DeviceError(f"tau_us = {tau_us:g} is past {MAX_TAU_US:g}: so slow a leak has no table; leave it out")
    with localcontext() as context:
        context.prec = _DIGITS
        tau = Decimal(tau_us)
        fine = [_factor(Decimal(i), tau) for i in range(FINE_STEPS)]
        coarse: list[int] = []
        while (factor := _factor(Decimal(FINE_STEPS * len(coarse)), tau)) > 0:
            coarse.append(factor)
    return read_only(np.array(fine, np.int64)), read_only(np.array(coarse, np.int64))


def _factor(dt_us: Decimal, tau_us: Decimal) -> int:
    exact = (-dt_us / tau_us).exp() * (1 << FACTOR_BITS)
    return int(exact.to_integral_value(rounding=ROUND_HALF_EVEN))
