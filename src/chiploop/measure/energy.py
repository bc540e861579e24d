"""Modelled energy of a run on the chip: exact counts times the prices of its profile, as a range with its sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from chiploop.chip.device import BatchTrace
from chiploop.chip.profile import ChipProfile
from chiploop.errors import DataError
from chiploop.measure.metric import METRICS, Metric, Where

PJ_PER_UJ = 1e6
REST = "rest_us"
"""The count of microseconds: one microwatt for one microsecond is one picojoule."""

_TERMS = {"synops": "synaptic update", "clocked": "update by the slow clock", "events_in": "event", "spikes": "spike"}
"""The counters that cost something, and what one of each is called."""


class Energy(NamedTuple):
    """Lowest, middle and highest energy in pJ under the prices of a model."""

    low_pj: float
    value_pj: float
    high_pj: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one of something costs, from lowest to highest, and where the numbers come from.

    >>> Price(what="synaptic update", low_pj=2.0, high_pj=8.0, source="assumed").middle_pj
    4.0
    """

    what: str
    low_pj: float
    high_pj: float
    source: str

    def __post_init__(self) -> None:
        if not 0 < self.low_pj <= self.high_pj < math.inf:
            raise DataError(f"price of a {self.what}: {self.low_pj} to {self.high_pj} pJ must be positive and rising")
        if not self.source:
            raise DataError(f"price of a {self.what}: give its source")

    @property
    def middle_pj(self) -> float:
        """The middle on a logarithmic scale, since ranges span decades."""
        return self.low_pj if self.low_pj == self.high_pj else math.sqrt(self.low_pj * self.high_pj)

    @property
    def text(self) -> str:
        """The price in a phrase."""
        low, high = f"{self.low_pj:g}", f"{self.high_pj:g}"
        return f"{self.what} {low if low == high else f'{low} to {high}'} pJ"


def chip_prices(profile: ChipProfile) -> dict[str, Price]:
    """Return the prices that a profile states, by counter; REST for a microsecond at rest.

    An update by the slow clock does what a synaptic one does but for reading a weight, and is priced as one.

    >>> from chiploop.chip.profile import read_profile
    >>> sorted(chip_prices(read_profile("speck2f")))
    ['clocked', 'events_in', 'rest_us', 'synops']
    >>> chip_prices(read_profile("ideal"))
    {}
    """
    prices: dict[str, Price] = {}
    stated = {"synops": "synop_pj", "clocked": "synop_pj", "events_in": "event_pj", "spikes": "spike_pj"}
    for counter, field in stated.items():
        bounds = None if profile.energy is None else getattr(profile.energy, field)
        if bounds is not None:
            source = profile.source(f"energy.{field}").text
            prices[counter] = Price(what=_TERMS[counter], low_pj=bounds[0], high_pj=bounds[1], source=source)
    if profile.rest_power_uw is not None:
        power = float(profile.rest_power_uw)
        source = profile.source("rest_power_uw").text
        prices[REST] = Price(what="microsecond at rest", low_pj=power, high_pj=power, source=source)
    return prices


def energy_of(counts: Mapping[str, int], prices: Mapping[str, Price]) -> Energy:
    """Return sum(count * price) over what has a price; what has none is left out.

    >>> energy_of({"synops": 10, "spikes": 3}, {"synops": Price(what="update", low_pj=1, high_pj=4, source="assumed")})
    Energy(low_pj=10.0, value_pj=20.0, high_pj=40.0)
    """
    priced = [(counts[name], price) for name, price in prices.items() if name in counts]
    return Energy(
        math.fsum(count * price.low_pj for count, price in priced),
        math.fsum(count * price.middle_pj for count, price in priced),
        math.fsum(count * price.high_pj for count, price in priced),
    )


def energy_metrics(
    trace: BatchTrace,
    profile: ChipProfile,
    *,
    spans_us: ArrayLike,
    method: str | None = None,
    where: Where | None = "chip",
    seed: int | None = None,
) -> tuple[Metric, ...]:
    """Return the modelled energy a sample of a batch on the chip, of its operations and with rest; none without prices.

        E = synops * e_synop + events * e_event + spikes * e_spike + rest_power * duration

    `spans_us` [B]: how long each sample lasted. Both numbers are ranges, from the lowest to the highest prices that
    the profile states; the value is the middle on a logarithmic scale. What the profile does not price is left out,
    and the note says so. The energy with rest needs a stated rest power.
    """
    spans = np.asarray(spans_us)
    n = _count_samples(trace)
    if spans.shape != (n,) or not np.issubdtype(spans.dtype, np.integer) or (spans < 0).any():
        raise DataError(f"spans {spans.shape} must be one whole number of us, at least 0, for each of {n} samples")
    prices = chip_prices(profile)
    operations = {name: price for name, price in prices.items() if name != REST}
    if not operations:
        return ()
    counts = {name: trace.total(name) for name in _TERMS}
    counts = {name: count for name, count in counts.items() if count or name != "clocked"}
    used = {name: price for name, price in operations.items() if name in counts}
    free = [f"{_TERMS[name]}s" for name in counts if name not in prices]
    note = f"chip profile {profile.name!r}" + (f"; no price of their own: {', '.join(free)}" if free else "")
    names = {"operation_energy_per_sample": used}
    if REST in prices:
        counts[REST] = int(spans.sum())
        names["energy_per_sample"] = {**used, REST: prices[REST]}
    return tuple(
        modelled_energy(name, counts, parts, n=n, method=method, where=where, seed=seed, note=note)
        for name, parts in names.items()
    )


def cite(facts: Iterable[tuple[str, str]]) -> str:
    """Return facts and their sources in one line, each source once, behind the facts that it gave.

    >>> cite([("a 1", "paper"), ("b 2", "assumed"), ("c 3", "paper")])
    'a 1, c 3 (paper); b 2 (assumed)'
    """
    by_source: dict[str, list[str]] = {}
    for fact, source in facts:
        by_source.setdefault(source, []).append(fact)
    return "; ".join(
        f"{', '.join(told)} ({source})" if source else ", ".join(told) for source, told in by_source.items()
    )


def modelled_energy(
    name: str,
    counts: Mapping[str, int],
    prices: Mapping[str, Price],
    *,
    n: int,
    method: str | None,
    where: Where | None,
    seed: int | None,
    note: str | None = None,
) -> Metric:
    """Return the energy a sample of counts over n samples as a metric that says it is modelled, and from which prices.

    There is no way to have it say anything else. Prices that are single numbers give a value without a range.
    """
    energy = Energy(*(part / n / PJ_PER_UJ for part in energy_of(counts, prices)))
    ranges = any(price.low_pj < price.high_pj for price in prices.values())
    return Metric(
        name=name,
        value=energy.value_pj,
        unit=METRICS.get(name).unit,
        how="modelled",
        n=n,
        low=energy.low_pj if ranges else None,
        high=energy.high_pj if ranges else None,
        interval="range" if ranges else None,
        method=method,
        where=where,
        seed=seed,
        source=cite((price.text, price.source) for price in prices.values()),
        note=note,
    )


def _count_samples(trace: BatchTrace) -> int:
    sizes = {len(table) for table in trace.counters.values()}
    if len(sizes) != 1 or min(sizes) < 1:
        raise DataError(f"counters of {sorted(sizes)} samples; every layer must count the same samples, at least one")
    return sizes.pop()
