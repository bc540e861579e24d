"""The gap as a quantity: the same samples at consecutive stages, and what each step gains and loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from chiploop.errors import DataError, nearest
from chiploop.measure.accuracy import Decisions, accuracy, is_right
from chiploop.measure.metric import WHERES, Metric, Where
from chiploop.measure.stats import mcnemar_p, paired_difference

CHAIN: tuple[Where, ...] = ("software", "int-sync", "chip")
"""The way from the float model to the chip; the accelerator stands beside it and is compared with software,
a faulty chip with the sound one."""


@dataclass(frozen=True, kw_only=True)
class GapStep:
    """One comparison on the same samples: accuracy(where) - accuracy(versus), negative for a loss.

    `n_gained` samples are right at `where` only, `n_lost` at `versus` only; `p_value` is McNemar's exact one.
    """

    where: Where
    versus: Where
    difference: float
    low: float
    high: float
    n: int
    n_gained: int
    n_lost: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class GapTable:
    """Accuracy at every stage, the steps between neighbours, and the whole way; all from the same samples."""

    accuracies: tuple[Metric, ...]
    steps: tuple[GapStep, ...]
    method: str | None = None
    seed: int | None = None

    def step(self, where: Where, versus: Where) -> GapStep:
        """Return one comparison of the table."""
        for step in self.steps:
            if (step.where, step.versus) == (where, versus):
                return step
        raise DataError(f"the gap table does not compare {where!r} with {versus!r}; was the stage evaluated?")

    def metrics(self) -> tuple[Metric, ...]:
        """Return gap, n_gained and n_lost of every step (the accuracies are metrics already)."""
        made: list[Metric] = []
        for step in self.steps:
            made.append(
                Metric(
                    name="gap",
                    value=step.difference,
                    unit="share",
                    how="counted",
                    n=step.n,
                    low=step.low,
                    high=step.high,
                    interval="paired",
                    method=self.method,
                    where=step.where,
                    versus=step.versus,
                    seed=self.seed,
                )
            )
            made.extend(
                Metric(
                    name=name,
                    value=value,
                    unit="samples",
                    how="counted",
                    n=step.n,
                    method=self.method,
                    where=step.where,
                    versus=step.versus,
                    seed=self.seed,
                )
                for name, value in (("n_gained", step.n_gained), ("n_lost", step.n_lost))
            )
        return tuple(made)


def gap_table(
    decisions: Mapping[Where, Decisions], labels: ArrayLike, *, method: str | None = None, seed: int | None = None
) -> GapTable:
    """Return the gap table of decisions about the same samples, in the same order, at each place.

    Any stage may be missing: neighbours are the stages that are there. The whole way from the first to the last
    stage of the chain is added where it has more than one step.
    """
    for where in decisions:
        if where not in WHERES:
            raise DataError(f"no place {where!r}; {nearest(where, WHERES)}")
    right = {where: is_right(decisions[where], labels) for where in WHERES if where in decisions}
    chain = [where for where in CHAIN if where in right]
    pairs = list(zip(chain[1:], chain[:-1], strict=True))
    if len(chain) > 2:
        pairs.append((chain[-1], chain[0]))
    if "accelerator" in right and "software" in right:
        pairs.append(("accelerator", "software"))
    if "faulty" in right and "chip" in right:
        pairs.append(("faulty", "chip"))
    return GapTable(
        accuracies=tuple(accuracy(decisions[where], labels, method=method, where=where, seed=seed) for where in right),
        steps=tuple(compare(right[versus], right[where], where=where, versus=versus) for where, versus in pairs),
        method=method,
        seed=seed,
    )


def compare(before: ArrayLike, after: ArrayLike, *, where: Where, versus: Where) -> GapStep:
    """Return the paired comparison of two rows of right and wrong, bool[B], about the same samples."""
    old, new = np.asarray(before, np.bool_), np.asarray(after, np.bool_)
    if old.shape != new.shape:
        raise DataError(f"{versus!r} has {old.size} decisions and {where!r} {new.size}; the samples must be the same")
    gained, lost = int((new & ~old).sum()), int((old & ~new).sum())
    interval = paired_difference(gained, lost, old.size)
    return GapStep(
        where=where,
        versus=versus,
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        n=old.size,
        n_gained=gained,
        n_lost=lost,
        p_value=mcnemar_p(gained, lost),
    )
