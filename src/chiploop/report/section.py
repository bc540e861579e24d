"""A report section: a function from records to blocks, registered; a block knows no format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chiploop.measure.figure import Figure
from chiploop.measure.record import RunRecord
from chiploop.registry import Registry
from chiploop.report.table import Table


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Plot:
    """A drawing: `svg` as text, `name` for its file, `alt` for those who cannot see it, `wide` for a whole row."""

    name: str
    svg: str
    alt: str
    wide: bool = False


@dataclass(frozen=True)
class Panels:
    """Plots of one kind, side by side where there is room, with one caption."""

    plots: tuple[Plot, ...]
    caption: str = ""


Block = Text | Heading | Table | Plot | Panels
SectionFunction = Callable[[Sequence[RunRecord]], Sequence[Block]]


@dataclass(frozen=True)
class Section:
    """A registered section; `order` places it on the page. Without blocks it is left out."""

    title: str
    order: int
    blocks: SectionFunction


SECTIONS: Registry[Section] = Registry("report section", "chiploop.report.sections")
"""Every section; each is a file of `chiploop.report.sections`."""


def section(name: str, *, title: str, order: int) -> Callable[[SectionFunction], SectionFunction]:
    """Return the decorator that registers a function records -> blocks as a section."""

    def enter(function: SectionFunction) -> SectionFunction:
        SECTIONS.register(name)(Section(title=title, order=order, blocks=function))
        return function

    return enter


def sections() -> list[tuple[str, Section]]:
    """Return all sections in the order of the page."""
    named = [(name, SECTIONS.get(name)) for name in SECTIONS.names()]
    return sorted(named, key=lambda pair: pair[1].order)


@dataclass(frozen=True)
class Shown:
    """A figure with the record it comes from and the title that tells it from its neighbours."""

    record: RunRecord
    figure: Figure
    title: str

    @property
    def method(self) -> str:
        """The method's name, or nothing."""
        return self.figure.method or ""

    @property
    def data(self) -> dict[str, object]:
        """The figure's data."""
        return self.figure.data


def first_figures(records: Sequence[RunRecord], kind: str) -> list[Shown]:
    """Return one figure a method and experiment: the latest of the lowest seed, in order of first appearance."""
    found: dict[tuple[str, str | None], tuple[RunRecord, Figure]] = {}
    for record in records:
        for figure in record.figures:
            if figure.kind != kind:
                continue
            key = (record.experiment, figure.method)
            if key not in found or record.seed <= found[key][0].seed:
                found[key] = (record, figure)
    methods = [figure.method for _, figure in found.values()]
    return [
        Shown(record, figure, _title(figure, record, ambiguous=methods.count(figure.method) > 1))
        for record, figure in found.values()
    ]


def _title(figure: Figure, record: RunRecord, *, ambiguous: bool) -> str:
    name = figure.method or record.name
    return f"{name} ({record.name})" if ambiguous and figure.method else name


def seeds_shown(shown: Sequence[Shown]) -> str:
    """Return the phrase that says which seeds the figures come from."""
    seeds = sorted({item.record.seed for item in shown})
    return f"Seed {seeds[0]}." if len(seeds) == 1 else f"Seeds {', '.join(map(str, seeds))}."
