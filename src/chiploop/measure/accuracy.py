"""From output counts to decisions to accuracy; a tie or a silence is wrong unless the potential breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chiploop.digest import ByContent, read_only
from chiploop.errors import DataError
from chiploop.measure.metric import Metric, Ties, Where
from chiploop.measure.stats import wilson_interval

UNDECIDED = -1
"""The decision of a silent or tied output."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Decisions(ByContent):
    """What a network decided: `choice` int64[B], UNDECIDED where no class won.

    `tied` and `silent` bool[B] mark the outputs themselves, whether or not the potential decided them afterwards.
    """

    choice: NDArray[np.int64]
    tied: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    ties: Ties = "wrong"

    def __post_init__(self) -> None:
        for name, dtype in (("choice", np.int64), ("tied", np.bool_), ("silent", np.bool_)):
            object.__setattr__(self, name, read_only(np.asarray(getattr(self, name)), dtype))

    def __len__(self) -> int:
        return int(self.choice.size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.choice, dtype=dtype)

    @property
    def n_ties(self) -> int:
        """Number of outputs whose maximum was reached by several classes, not counting silent ones."""
        return int(self.tied.sum())

    @property
    def n_silent(self) -> int:
        """Number of outputs that were zero everywhere."""
        return int(self.silent.sum())


def decide(counts: ArrayLike, potentials: ArrayLike | None = None) -> Decisions:
    """Return the class with the most spikes (or the largest logit), UNDECIDED for silent and tied outputs.

    `counts` is [B, C], integer or float; exact equality is a tie. With `potentials` [B, C], the largest potential among
    the tied classes decides (among all, for a silent output); should that tie too, the output stays UNDECIDED.

    >>> decide([[3, 1], [2, 2], [0, 0]]).choice.tolist()
    [0, -1, -1]
    >>> decide([[3, 1], [2, 2], [0, 0]], potentials=[[0, 0], [5, 7], [4, 4]]).choice.tolist()
    [0, 1, -1]
    """
    outputs = _table(counts, "counts")
    best = outputs == outputs.max(axis=1, keepdims=True)
    silent = np.asarray(~outputs.any(axis=1), np.bool_)
    tied = (best.sum(axis=1) > 1) & ~silent
    if potentials is None:
        choice = np.where((best.sum(axis=1) == 1) & ~silent, best.argmax(axis=1), UNDECIDED)
        return Decisions(choice=choice, tied=tied, silent=silent)
    v = _table(potentials, "potentials").astype(np.float64)
    if v.shape != outputs.shape:
        raise DataError(f"potentials have shape {v.shape}, counts {outputs.shape}; they must agree")
    v = np.where(best, v, -np.inf)
    winners = v == v.max(axis=1, keepdims=True)
    choice = np.where(winners.sum(axis=1) == 1, winners.argmax(axis=1), UNDECIDED)
    return Decisions(choice=choice, tied=tied, silent=silent, ties="potential")


def accuracy(
    decisions: Decisions,
    labels: ArrayLike,
    *,
    method: str | None = None,
    where: Where | None = None,
    seed: int | None = None,
) -> Metric:
    """Return the share of right decisions with its Wilson interval; UNDECIDED is never right."""
    right = is_right(decisions, labels)
    share = wilson_interval(int(right.sum()), right.size)
    return Metric(
        name="accuracy",
        value=share.value,
        unit="share",
        how="counted",
        n=right.size,
        low=share.low,
        high=share.high,
        interval="wilson",
        method=method,
        where=where,
        seed=seed,
        ties=decisions.ties,
    )


def accuracy_metrics(
    decisions: Decisions,
    labels: ArrayLike,
    *,
    method: str | None = None,
    where: Where | None = None,
    seed: int | None = None,
) -> tuple[Metric, Metric, Metric]:
    """Return accuracy, n_ties and n_silent of one evaluation."""
    n = len(decisions)
    counts = (("n_ties", decisions.n_ties), ("n_silent", decisions.n_silent))
    ties, silent = (
        Metric(name=name, value=value, unit="samples", how="counted", n=n, method=method, where=where, seed=seed)
        for name, value in counts
    )
    return accuracy(decisions, labels, method=method, where=where, seed=seed), ties, silent


def is_right(decisions: Decisions, labels: ArrayLike) -> NDArray[np.bool_]:
    """Return bool[B]: which decisions are right. Labels are class indices from 0."""
    truth = np.asarray(labels)
    if truth.shape != decisions.choice.shape or truth.size == 0:
        raise DataError(f"{truth.shape} labels for {decisions.choice.shape} decisions; give one label for every sample")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0:
        raise DataError("labels must be class indices, integers from 0")
    return np.asarray(decisions.choice == truth, np.bool_)


def _table(values: ArrayLike, what: str) -> NDArray[Any]:
    table = np.asarray(values)
    if table.ndim != 2 or table.shape[1] < 1:
        raise DataError(f"{what} have shape {table.shape}; they must be [samples, classes]")
    if not np.isfinite(table).all():
        raise DataError(f"{what} hold values that are no numbers; the network's output has diverged")
    return table
