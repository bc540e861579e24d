"""One number with all that is needed to read it: unit, origin, sample size, interval, and where it was taken."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import ConfigDict

from chiploop.errors import DataError, nearest
from chiploop.registry import Registry

How = Literal["counted", "modelled", "measured", "quoted"]
Where = Literal["software", "int-sync", "accelerator", "chip", "faulty"]
Ties = Literal["wrong", "potential"]
IntervalKind = Literal["wilson", "t", "paired", "bootstrap", "range"]
HOWS: tuple[How, ...] = get_args(How)
WHERES: tuple[Where, ...] = get_args(Where)
_TIES: tuple[Ties, ...] = get_args(Ties)
_INTERVALS: tuple[IntervalKind, ...] = get_args(IntervalKind)


@dataclass(frozen=True, kw_only=True)
class MetricKind:
    """What is known about a metric before it is computed.

    `pools` says how values over disjoint sets of samples combine: "mean" (weighted by n), "sum", or "none". `hows` are
    the ways in which such a number can come about.
    """

    unit: str
    title: str
    pools: Literal["mean", "sum", "none"]
    better: Literal["higher", "lower", "neither"] = "neither"
    hows: tuple[How, ...] = HOWS


METRICS: Registry[MetricKind] = Registry("metric")
"""Every metric whose unit and meaning are fixed; a new one is registered beside the code that computes it."""

for _name, _kind in {
    "accuracy": MetricKind(unit="share", title="Accuracy", pools="mean", better="higher"),
    "gap": MetricKind(unit="share", title="Difference in accuracy", pools="mean", better="higher"),
    "n_gained": MetricKind(unit="samples", title="Samples gained", pools="sum", better="higher"),
    "n_lost": MetricKind(unit="samples", title="Samples lost", pools="sum", better="lower"),
    "n_ties": MetricKind(unit="samples", title="Tied outputs", pools="sum", better="lower"),
    "n_silent": MetricKind(unit="samples", title="Silent outputs", pools="sum", better="lower"),
    "spikes_per_sample": MetricKind(unit="spikes", title="Spikes a sample", pools="mean", better="lower"),
    "synops_per_sample": MetricKind(unit="synops", title="Synaptic updates a sample", pools="mean", better="lower"),
    "saturated_per_sample": MetricKind(unit="updates", title="Saturations a sample", pools="mean", better="lower"),
    "dropped_per_sample": MetricKind(unit="events", title="Dropped events a sample", pools="mean", better="lower"),
    "macs_per_sample": MetricKind(unit="MACs", title="Multiply-accumulates a sample", pools="mean", better="lower"),
    "acs_per_sample": MetricKind(unit="ACs", title="Accumulates a sample", pools="mean", better="lower"),
    "updates_per_sample": MetricKind(unit="updates", title="Neuron updates a sample", pools="mean", better="lower"),
    "operation_energy_per_sample": MetricKind(
        unit="uJ", title="Energy of the operations of a sample", pools="mean", better="lower", hows=("modelled",)
    ),
    "energy_per_sample": MetricKind(
        unit="uJ",
        title="Energy a sample, rest included",
        pools="mean",
        better="lower",
        hows=("modelled", "measured", "quoted"),
    ),
    "first_spike": MetricKind(unit="us", title="Median time to the first output spike", pools="none", better="lower"),
    "decision_time": MetricKind(unit="us", title="Median time to the final decision", pools="none", better="lower"),
    "latency_median": MetricKind(unit="us", title="Latency of a spike, median", pools="none", better="lower"),
    "latency_p99": MetricKind(unit="us", title="Latency of a spike, 99th percentile", pools="none", better="lower"),
    "synop_rate": MetricKind(
        unit="synops/s", title="Synaptic updates a second of the busiest core", pools="none", better="lower"
    ),
    "stalls_per_sample": MetricKind(unit="stalls", title="Stalled sends a sample", pools="mean", better="lower"),
    "device_failures": MetricKind(
        unit="failures", title="Failures of the device", pools="none", better="lower", hows=("counted",)
    ),
    "batches_skipped": MetricKind(
        unit="batches", title="Batches skipped in training", pools="none", better="lower", hows=("counted",)
    ),
    "train_seconds": MetricKind(unit="s", title="Training time", pools="none", better="lower"),
    "chip_share": MetricKind(unit="share", title="Share of a training step spent in the chip", pools="none"),
}.items():
    METRICS.register(_name)(_kind)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number, and how it came about.

    `n` is the number of samples behind the value (of one seed), `n_seeds` the number of seeds behind an aggregate.
    `seed` is None for an aggregate over seeds. `low` and `high` bound the 95 % interval named by `interval`; those of
    a "range" are no interval over samples, but what the lowest and the highest constants of a model give. `versus` is
    the place a difference is taken from: value(where) - value(versus). A quoted number names its source, a modelled
    one its constants.

    >>> Metric(name="accuracy", value=0.95, unit="share", how="counted", n=300, method="bptt", where="chip").value
    0.95
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    value: float
    unit: str
    how: How
    method: str | None = None
    where: Where | None = None
    seed: int | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None
    interval: IntervalKind | None = None
    n_seeds: int | None = None
    versus: Where | None = None
    layer: str | None = None
    ties: Ties | None = None
    source: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        for field in ("value", "low", "high"):
            number = getattr(self, field)
            if number is not None:
                object.__setattr__(self, field, float(number))
        self._check_choices()
        self._check_numbers()

    def _check_choices(self) -> None:
        choices: tuple[tuple[str, tuple[str, ...], bool], ...] = (
            ("how", HOWS, False),
            ("where", WHERES, True),
            ("versus", WHERES, True),
            ("ties", _TIES, True),
            ("interval", _INTERVALS, True),
        )
        for field, known, optional in choices:
            given = getattr(self, field)
            if not (given in known or (optional and given is None)):
                raise DataError(f"metric {self.name!r}: {field} is {given!r}; {nearest(str(given), known)}")
        if self.name in METRICS.names():
            kind = METRICS.get(self.name)
            if self.unit != kind.unit:
                raise DataError(f"metric {self.name!r}: unit is {self.unit!r}; it must be {kind.unit!r}")
            if self.how not in kind.hows:
                raise DataError(f"metric {self.name!r}: how is {self.how!r}; it can be {' or '.join(kind.hows)}")
        if self.how in ("quoted", "modelled") and not self.source:
            raise DataError(f"metric {self.name!r} is {self.how}; give its source")
        if self.interval == "range" and self.how != "modelled":
            raise DataError(f"metric {self.name!r} is {self.how}; a range of assumptions belongs to a modelled number")

    def _check_numbers(self) -> None:
        for field in ("value", "low", "high"):
            number = getattr(self, field)
            if number is not None and not math.isfinite(number):
                raise DataError(f"metric {self.name!r}: {field} is {number}; leave out a metric that has no value")
        if (self.low is None) != (self.high is None):
            raise DataError(f"metric {self.name!r}: an interval needs both low and high")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise DataError(f"metric {self.name!r}: value {self.value} lies outside [{self.low}, {self.high}]")
        for field in ("n", "n_seeds"):
            count = getattr(self, field)
            if count is not None and count < 1:
                raise DataError(f"metric {self.name!r}: {field} is {count}; it must be at least 1")

    @property
    def key(self) -> tuple[str | None, ...]:
        """What the number is a number of: everything but the value, its interval and the seed."""
        place = (self.name, self.method, self.where, self.versus, self.layer)
        return (*place, self.unit, self.how, self.ties, self.source)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; fields beyond the first eleven are left out where they are None."""
        plain = dataclasses.asdict(self)
        return {name: value for name, value in plain.items() if value is not None or name in _ALWAYS_WRITTEN}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Metric:
        """Return the metric that `to_dict` wrote; an unknown or missing key is an error."""
        known = {field.name for field in dataclasses.fields(cls)}
        for key in plain:
            if key not in known:
                raise DataError(f"metric has an unknown field {key!r}; {nearest(key, known)}")
        try:
            return cls(**plain)
        except TypeError as error:
            raise DataError(f"metric {plain.get('name')!r} is incomplete: {error}") from error


_ALWAYS_WRITTEN = ("name", "value", "unit", "how", "method", "where", "seed", "n", "low", "high", "interval")
