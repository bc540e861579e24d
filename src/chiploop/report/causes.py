"""The table of causes: what each costs on the way from the model to the chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chiploop.measure.causes import CAUSES
from chiploop.measure.stats import Interval, paired_difference, seed_interval
from chiploop.report.number import percent
from chiploop.report.table import ABSENT, Cell, Column, Row, Table, row

Data = Mapping[str, Any]
"""The data of a figure of kind "causes"."""


def causes_table(seeds: Sequence[Data]) -> Table:
    """Return one line a cause from the figures of one method, one a seed; brackets are 95 % intervals."""
    first = seeds[0]
    start = _mean([data["start"][0] for data in seeds])
    whole = _mean([data["accuracy"][-1] - data["start"][0] for data in seeds])
    rows: list[Row] = [row("the model itself", percent(start), ABSENT, ABSENT, ABSENT, ABSENT)]
    for i, cause in enumerate(first["causes"]):
        mean = difference_of(seeds, i)
        bounds = f"[{percent(mean.low, signed=True)}, {percent(mean.high, signed=True)}]"
        share = ABSENT if abs(whole) * first["n"] < 1 else f"{percent(mean.value / whole, digits=0)} %"
        rows.append(
            row(
                f"+ {CAUSES[cause].lower()}",
                percent(accuracy_of(seeds, i)),
                Cell(percent(mean.value, signed=True), bounds),
                share,
                _lowest([data["correlation"][i] for data in seeds]),
                first["layer"][i] or ABSENT,
            )
        )
    columns = (
        Column("Stage", align="left"),
        Column("Accuracy", "%"),
        Column("Difference", "points"),
        Column("Share"),
        Column("Correlation"),
        Column("Most in", align="left"),
    )
    interval = "95 % interval of the paired difference"
    if len(seeds) > 1:
        interval = "the wider of the 95 % t interval over seeds and that of the paired difference over all samples"
    caption = (
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)}, {first['n']:,} samples each; brackets: {interval}. Each stage has "
        "one cause more than the one before, so the differences add up to the whole. Correlation: the lowest of a "
        "layer's counts with those of the stage before; most in: the layer where it falls most."
    )
    return Table(columns, tuple(rows), caption)


def accuracy_of(seeds: Sequence[Data], i: int) -> float:
    """Return the mean accuracy with a cause."""
    return _mean([data["accuracy"][i] for data in seeds])


def difference_of(seeds: Sequence[Data], i: int) -> Interval:
    """Return what a cause changes: the paired difference of one seed; of several the mean, and the wider interval.

    Seeds that happen to agree would have no interval at all; the paired one over all their samples keeps it honest.
    """
    if len(seeds) == 1:
        return Interval(*(seeds[0][name][i] for name in ("difference", "low", "high")))
    over_seeds = seed_interval([data["difference"][i] for data in seeds])
    gained, lost = (sum(data[name][i] for data in seeds) for name in ("n_gained", "n_lost"))
    paired = paired_difference(gained, lost, sum(data["n"] for data in seeds))
    return Interval(over_seeds.value, min(over_seeds.low, paired.low), max(over_seeds.high, paired.high))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _lowest(by_seed: Sequence[Sequence[float | None]]) -> str:
    found = [r for correlations in by_seed for r in correlations if r is not None]
    return f"{min(found):.3f}" if found else ABSENT
