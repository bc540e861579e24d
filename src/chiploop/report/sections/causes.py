"""Why accuracy is lost: the way from the model to the chip, one cause at a time."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from chiploop.measure.causes import CAUSES
from chiploop.measure.record import RunRecord
from chiploop.report.causes import Data, accuracy_of, causes_table, difference_of
from chiploop.report.number import percent
from chiploop.report.plot import GAIN, INK, LOSS, MUTED, WIDE, colour, panel
from chiploop.report.section import Block, Heading, Panels, Plot, Text, section

_HALF = 0.32


@section("causes", title="Why accuracy is lost", order=22)
def causes(records: Sequence[RunRecord]) -> Sequence[Block]:
    """A waterfall of causes for every method that was explained, its table, and the advice drawn from it."""
    found = _by_method(records)
    if not found:
        return []
    blocks: list[Block] = [
        Text(
            "The same samples at stages that differ by one cause each. Causes interact, so a difference says what a "
            "cause costs on top of those before it. Filled bars end at the chip as the run measured it; hatched ones "
            "are conditions beyond, such as time and faults."
        )
    ]
    for number, (title, seeds) in enumerate(found.items(), 1):
        blocks.append(Heading(title))
        blocks.append(Panels((waterfall(title, seeds, number),)))
        blocks.append(causes_table(seeds))
        blocks += [Text(line) for line in _advice(seeds)]
    return blocks


def waterfall(method: str, seeds: Sequence[Data], number: int) -> Plot:
    """Return the accuracy after each cause, and each cause's step with its interval."""
    first = seeds[0]
    names = first["causes"]
    start = sum(data["start"][0] for data in seeds) / len(seeds)
    levels = [100 * start, *(100 * accuracy_of(seeds, i) for i in range(len(names)))]

    def paint(axes: Axes) -> None:
        axes.bar(0, levels[0], 2 * _HALF, color=colour(method))
        for i in range(len(names)):
            before, after = levels[i], levels[i + 1]
            step = difference_of(seeds, i)
            shade = LOSS if after < before else GAIN
            beyond = not _is_measured(first, i)
            axes.bar(
                i + 1,
                after - before,
                2 * _HALF,
                bottom=before,
                facecolor="white" if beyond else f"{shade}55",
                edgecolor=shade,
                hatch="///" if beyond else None,
            )
            axes.plot([i + _HALF, i + 1 - _HALF], [before, before], color=MUTED, linewidth=0.8)
            axes.errorbar(
                i + 1,
                after,
                yerr=[[100 * (step.value - step.low)], [100 * (step.high - step.value)]],
                color=INK,
                linewidth=0.9,
                capsize=2,
            )
            text = percent(step.value, signed=True)
            axes.annotate(
                text,
                (i + 1, max(before, after + 100 * (step.high - step.value))),
                (0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=INK,
            )
        axes.set_xticks(range(len(names) + 1), ["model", *(name.replace("-", "\n") for name in names)], fontsize=8)
        low = min(levels)
        axes.set_ylim(max(0.0, low - 0.25 * (max(levels) - low) - 6.0), max(levels) + 0.12 * (max(levels) - low) + 5.0)
        axes.grid(visible=False, axis="x")

    told = ", ".join(
        f"{CAUSES[name]} {percent(difference_of(seeds, i).value, signed=True)}" for i, name in enumerate(names)
    )
    return panel(
        paint,
        name=f"causes-{number}",
        alt=f"Causes of the gap of {method}, in points: {told}",
        title="",
        x="",
        y="accuracy (%)",
        size=WIDE,
    )


def _advice(seeds: Sequence[Data]) -> list[str]:
    """Return the advice of every seed; several are told apart by their place in the row of seeds."""
    if len(seeds) == 1:
        return list(seeds[0]["advice"])
    return [f"Run {number}: {line}" for number, data in enumerate(seeds, 1) for line in data["advice"]]


def _is_measured(data: Data, i: int) -> bool:
    """Whether a step leads up to the chip as a run measures it."""
    return any(data["measured"][i:])


def _by_method(records: Sequence[RunRecord]) -> dict[str, list[Data]]:
    """Return the figures by method, the latest of each seed; methods of several experiments carry the recipe's name."""
    found: dict[tuple[str, str, str], dict[int, Data]] = {}
    for record in records:
        for figure in record.figures:
            if figure.kind == "causes":
                key = (record.experiment, record.name, figure.method or "")
                found.setdefault(key, {})[record.seed] = figure.data
    methods = [method for _, _, method in found]
    return {
        method if methods.count(method) == 1 else f"{method} ({name})": [seeds[seed] for seed in sorted(seeds)]
        for (_, name, method), seeds in found.items()
    }
