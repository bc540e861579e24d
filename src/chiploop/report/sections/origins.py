"""How each number came about: counted, modelled, measured or quoted."""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.measure.metric import HOWS, METRICS
from chiploop.measure.record import RunRecord
from chiploop.report.paper import PAPER
from chiploop.report.section import Block, Text, section
from chiploop.report.table import Column, Table, row

_MEANING = {
    "counted": "exact: events, updates or decisions, counted one by one",
    "modelled": "computed from a model with constants of its own; no instrument was read",
    "measured": "read from a clock or an instrument on the machine named below; another machine gives another number",
    "quoted": "somebody else's number, with its source",
}


@section("origins", title="How the numbers came about", order=100)
def origins(records: Sequence[RunRecord]) -> Sequence[Block]:
    """One row an origin, with the numbers that have it."""
    metrics = [metric for record in records for metric in record.metrics]
    if not metrics:
        return []
    methods = {metric.method for metric in metrics}
    metrics += [metric for metric in PAPER if metric.method in methods]  # shown in the table of results
    rows = []
    for how in HOWS:
        names = dict.fromkeys(_title(m.name) for m in metrics if m.how == how)
        if names:
            rows.append(row(how, ", ".join(names), _MEANING[how]))
    columns = tuple(Column(title, align="left", wraps=title != "Origin") for title in ("Origin", "Numbers", "Meaning"))
    blocks: list[Block] = [Table(columns, tuple(rows))]
    if any(metric.ties == "potential" for metric in metrics):
        blocks.append(Text("Some accuracies break ties by the membrane potential of the output; their rows say so."))
    return blocks


def _title(name: str) -> str:
    return METRICS.get(name).title if name in METRICS.names() else name.replace("_", " ")
