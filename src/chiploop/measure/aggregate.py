"""From records of single seeds to means over seeds, with the interval that the seeds give."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from chiploop.errors import DataError
from chiploop.measure.metric import Metric
from chiploop.measure.record import RunRecord
from chiploop.measure.stats import seed_interval

_Key = tuple[str | None, ...]


def aggregate(records: Sequence[RunRecord]) -> list[Metric]:
    """Return every metric's mean over seeds, in order of first appearance, with seed None and n_seeds set.

    Two seeds or more give a t interval; with one the metric keeps its own. A range of assumptions stays a range: what
    the constants leave open is no spread of seeds, and no seed narrows it. Of the same metric measured twice with one
    seed in one experiment (a stage run again) the later record counts. A quoted number passes as it is. Raises
    DataError when two experiments hold the same metric: a mean over both would hide which is which
    (`split_experiments` tells them apart).
    """
    owner: dict[_Key, str] = {}
    found: dict[_Key, dict[int | None, Metric]] = {}
    for record in records:
        experiment = record.experiment
        for metric in record.metrics:
            if metric.how != "quoted" and owner.setdefault(metric.key, experiment) != experiment:
                raise DataError(
                    f"{metric.name!r} of {metric.method!r} at {metric.where!r} comes from two experiments (recipe "
                    f"{record.name!r} is one); aggregate one experiment at a time"
                )
            seed = None if metric.how == "quoted" else record.seed if metric.seed is None else metric.seed
            found.setdefault(metric.key, {})[seed] = metric
    return [_mean(by_seed) for by_seed in found.values()]


def split_experiments(records: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Return the records in groups that `aggregate` takes, in order.

    Recipes that differ in more than the seed stay apart, unless they have no method in common, as when every method
    has a recipe of its own.
    """
    experiments: dict[str, list[RunRecord]] = {}
    for record in records:
        experiments.setdefault(record.experiment, []).append(record)
    groups: list[tuple[set[str | None], list[RunRecord]]] = []
    for members in experiments.values():
        methods = {metric.method for record in members for metric in record.metrics if metric.how != "quoted"}
        for taken, group in groups:
            if not taken & methods:
                taken |= methods
                group.extend(members)
                break
        else:
            groups.append((methods, list(members)))
    return [group for _, group in groups]


def _mean(by_seed: dict[int | None, Metric]) -> Metric:
    metrics = list(by_seed.values())
    last = metrics[-1]
    if last.how == "quoted":
        return last
    if len(metrics) == 1:
        return dataclasses.replace(last, seed=None, n_seeds=1)
    if last.interval == "range":
        value, low, high = (_mean_of(metrics, field) for field in ("value", "low", "high"))
    else:
        value, low, high = seed_interval([metric.value for metric in metrics])
    if last.unit == "share":  # nothing outside the range of the quantity itself; the coverage stays
        floor = -1.0 if last.versus else 0.0
        low, high = min(value, max(low, floor)), max(value, min(high, 1.0))
    counts = {metric.n for metric in metrics}
    notes = {metric.note for metric in metrics}
    return dataclasses.replace(
        last,
        seed=None,
        n_seeds=len(metrics),
        value=value,
        low=low,
        high=high,
        interval="range" if last.interval == "range" else "t",
        n=counts.pop() if len(counts) == 1 else None,
        note=notes.pop() if len(notes) == 1 else None,
    )


def _mean_of(metrics: Sequence[Metric], field: str) -> float:
    return math.fsum(getattr(metric, field) for metric in metrics) / len(metrics)
