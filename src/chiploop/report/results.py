"""The table of results: method by place, with the paper's row below ours."""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.measure.aggregate import aggregate
from chiploop.measure.metric import WHERES, Metric, Where
from chiploop.measure.record import RunRecord
from chiploop.report.number import count_cell, seconds_cell, share_cell
from chiploop.report.paper import PAPER
from chiploop.report.table import Cell, Column, Row, Table

PLACE_TITLES: dict[Where, str] = {
    "software": "Software",
    "int-sync": "Int-sync",
    "accelerator": "Accelerator",
    "chip": "Chip",
    "faulty": "Faulty chip",
}


class Results:
    """Aggregated metrics of comparable records, found by name, method and place."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = tuple(metrics)

    @classmethod
    def of(cls, records: Sequence[RunRecord]) -> Results:
        """Return the means over seeds of records that `split_experiments` put together."""
        return cls(aggregate(records))

    @property
    def methods(self) -> list[str]:
        """Methods with an accuracy, in order of first appearance."""
        return list(dict.fromkeys(m.method for m in self._metrics if m.name == "accuracy" and m.method is not None))

    @property
    def places(self) -> list[Where]:
        """Places with an accuracy, in the order of the data's way."""
        return [where for where in WHERES if any(m.where == where and m.name == "accuracy" for m in self._metrics)]

    def find(self, name: str, method: str, where: Where | None = None, versus: Where | None = None) -> Metric | None:
        """Return the metric of the whole network, at any place where `where` is None; ties counted wrong come first."""
        found = [
            m
            for m in self._metrics
            if (m.name, m.method, m.versus, m.layer) == (name, method, versus, None) and where in (None, m.where)
        ]
        return min(found, key=lambda m: m.ties == "potential", default=None)

    def gap(self, method: str) -> Metric | None:
        """Return chip less software: the paired metric where there is one, else the difference of the means."""
        paired = self.find("gap", method, "chip", "software")
        software, chip = (self.find("accuracy", method, where) for where in ("software", "chip"))
        if paired is not None or software is None or chip is None:
            return paired
        return Metric(
            name="gap",
            value=chip.value - software.value,
            unit="share",
            how="counted",
            method=method,
            where="chip",
            versus="software",
            n_seeds=chip.n_seeds,
            note="difference of the two means, without an interval",
        )


def results_table(records: Sequence[RunRecord], *, quote: bool = True) -> Table:
    """Return accuracy by method and place, the gap, activity and time; `quote` adds the paper's rows.

    The records must be of one experiment, or of several without a common method (see `split_experiments`).
    """
    results, paper = Results.of(records), Results(PAPER)
    places = results.places
    rows: list[Row] = []
    for method in results.methods:
        rows.append(_row(results, method, places, Cell(method)))
        if quote and method in paper.methods:
            rows.append(_row(paper, method, places, Cell(method, "(paper, quoted)"), quoted=True))
    columns = (
        Column("Method", align="left"),
        *(Column(PLACE_TITLES[where], "%") for where in places),
        Column("Gap to chip", "points"),
        Column("Spikes", "a sample"),
        Column("Synaptic updates", "a sample"),
        Column("Training"),
    )
    return Table(columns, tuple(rows), _caption(records, results))


def _row(results: Results, method: str, places: Sequence[Where], name: Cell, *, quoted: bool = False) -> Row:
    return Row(
        (
            name,
            *(share_cell(results.find("accuracy", method, where)) for where in places),
            share_cell(results.gap(method)),
            count_cell(results.find("spikes_per_sample", method, "chip")),
            count_cell(results.find("synops_per_sample", method, "chip")),
            seconds_cell(results.find("train_seconds", method)),
        ),
        quoted=quoted,
    )


def _caption(records: Sequence[RunRecord], results: Results) -> str:
    pairs = [(method, where) for method in results.methods for where in results.places]
    own = [m for method, where in pairs if (m := results.find("accuracy", method, where)) is not None]
    if not own:
        return "No accuracy has been recorded yet."
    seeds = len({record.seed for record in records})
    sizes = sorted({m.n for m in own if m.n is not None})
    samples = " to ".join(f"{size:,}" for size in (sizes if len(sizes) < 2 else (sizes[0], sizes[-1]))) or "uncounted"
    kinds = {m.interval for m in own}
    means = {
        "t": "brackets: 95 % t interval over seeds",
        "wilson": "brackets: 95 % Wilson interval over samples",
    }
    legend = "; ".join(text for kind, text in means.items() if kind in kinds)
    by_potential = any(m.ties == "potential" for m in own)
    ties = "decided by the membrane potential where marked *" if by_potential else "counted as wrong"
    return (
        f"{seeds} seed{'s' if seeds != 1 else ''}, {samples} test samples a seed; {legend or 'no intervals'}. "
        f"Ties and silent outputs are {ties}. Gap: accuracy on the chip less accuracy in software."
    )
