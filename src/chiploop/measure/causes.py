"""Why accuracy is lost: the same samples at stages that differ by one cause each, and what each cause costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DataError
from chiploop.measure.stats import Interval, mcnemar_p, paired_difference, wilson_interval

CAUSES = {
    "rate-coding": "Spikes instead of activations",
    "weights": "Weights to integers",
    "thresholds": "Thresholds, floors and biases to integers",
    "event-order": "Event by event instead of window by window",
    "one-spike": "One spike an update",
    "saturation": "States of 16 bits",
    "leak": "The leak at its own times",
    "dropped-events": "Events dropped, delayed or disturbed",
    "mismatch": "Neurons and memory that differ from what was loaded",
}
"""Every cause, in the order in which it is added on the way from the model to the chip, with its title."""

CLEAR_DROP = 0.005
"""Least fall of the correlation from one layer to the next that is worth naming a layer for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StageOutcome:
    """What one stage gave: `right` bool[n], and for the first samples the counts of each layer, [m, neurons].

    `cause` is what this stage adds to the one before (None for the first). `measured`: the stage is the chip as a run
    measures it; what follows it are conditions beyond.
    """

    cause: str | None
    right: NDArray[np.bool_]
    layers: Mapping[str, NDArray[np.float64]]
    measured: bool = False

    def __post_init__(self) -> None:
        if self.cause is not None and self.cause not in CAUSES:
            raise DataError(f"no cause {self.cause!r}; causes: {', '.join(CAUSES)}")


@dataclass(frozen=True, kw_only=True)
class CauseStep:
    """What one cause changes: accuracy(with) - accuracy(without), negative for a loss, on the same samples.

    `correlation` and `ratio` compare each layer's counts with and without: Pearson's r over samples and neurons (None
    where a layer never varies), and the mean count with over the one without. `layer` is where the correlation falls
    most against the layer before, None where nothing falls. `classes` holds the net change in right samples by class.
    """

    cause: str
    accuracy: float
    difference: float
    low: float
    high: float
    n: int
    n_gained: int
    n_lost: int
    p_value: float
    correlation: Mapping[str, float | None]
    ratio: Mapping[str, float | None]
    layer: str | None
    classes: Mapping[int, int]
    measured: bool

    @property
    def title(self) -> str:
        """The cause in words."""
        return CAUSES[self.cause]

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The way from the model to the chip, one cause at a time; the steps add up to the whole difference."""

    method: str
    start: Interval
    steps: tuple[CauseStep, ...]
    n: int

    @property
    def measured_steps(self) -> tuple[CauseStep, ...]:
        """The steps up to the chip as a run measures it."""
        last = max((i for i, step in enumerate(self.steps) if step.measured), default=len(self.steps) - 1)
        return self.steps[: last + 1]

    @property
    def gap(self) -> float:
        """Accuracy on the chip less accuracy of the model: the sum of the measured steps."""
        return self.measured_steps[-1].accuracy - self.start.value if self.steps else 0.0

    def share(self, step: CauseStep) -> float | None:
        """Return the part of the whole difference (conditions beyond the chip included) that a step makes up."""
        whole = self.steps[-1].accuracy - self.start.value
        return step.difference / whole if abs(whole) > 0.5 / self.n else None

    @property
    def worst(self) -> CauseStep | None:
        """The step that loses most, None where none loses."""
        losing = [step for step in self.steps if step.difference < 0]
        return min(losing, key=lambda step: step.difference) if losing else None


def explain_stages(stages: Sequence[StageOutcome], labels: NDArray[np.int64], *, method: str) -> Explanation:
    """Return what each cause costs, from the outcomes of its stages in order.

    Raises DataError unless the first stage has no cause, every other has one, and all saw the same samples.
    """
    if not stages or stages[0].cause is not None or any(stage.cause is None for stage in stages[1:]):
        raise DataError("stages begin with the model itself, and every later one adds a cause")
    n = len(labels)
    if any(stage.right.shape != (n,) for stage in stages):
        raise DataError(f"stages have {[len(stage.right) for stage in stages]} decisions for {n} labels")
    first = stages[0].right
    steps = tuple(_step(a, b, labels) for a, b in pairwise(stages))
    return Explanation(method=method, start=wilson_interval(int(first.sum()), n), steps=steps, n=n)


def _step(before: StageOutcome, after: StageOutcome, labels: NDArray[np.int64]) -> CauseStep:
    assert after.cause is not None  # checked by the caller
    gained, lost = after.right & ~before.right, before.right & ~after.right
    interval = paired_difference(int(gained.sum()), int(lost.sum()), len(labels))
    compared = {name: _compare(before.layers[name], after.layers[name]) for name in after.layers}
    correlation = {name: r for name, (r, _) in compared.items()}
    return CauseStep(
        cause=after.cause,
        accuracy=float(after.right.mean()),
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        n=len(labels),
        n_gained=int(gained.sum()),
        n_lost=int(lost.sum()),
        p_value=mcnemar_p(int(gained.sum()), int(lost.sum())),
        correlation=correlation,
        ratio={name: ratio for name, (_, ratio) in compared.items()},
        layer=_steepest(correlation),
        classes={
            int(c): int(gained[labels == c].sum()) - int(lost[labels == c].sum())
            for c in np.unique(labels)
            if np.any((gained | lost)[labels == c])
        },
        measured=after.measured,
    )


def _compare(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Pearson's correlation of two stages' counts, and the ratio of their means."""
    a, b = before.ravel(), after.ravel()
    spread = float(a.std() * b.std())
    r: float | None = 1.0 if np.array_equal(a, b) else None  # where nothing varies
    if spread > 0.0:
        r = float(np.clip(((a - a.mean()) * (b - b.mean())).mean() / spread, -1.0, 1.0))
    mean = float(a.mean())
    return r, None if mean == 0.0 else float(b.mean()) / mean


def _steepest(correlation: Mapping[str, float | None]) -> str | None:
    """Return the layer at which the correlation falls most against the one before it; the input's is 1."""
    falls: dict[str, float] = {}
    reached = 1.0
    for name, r in correlation.items():
        value = 0.0 if r is None else r
        falls[name] = reached - value
        reached = min(reached, value)
    worst = max(falls, key=lambda name: falls[name], default=None)
    return worst if worst is not None and falls[worst] > CLEAR_DROP else None
