"""The report as one HTML page that stands alone: styles and images inside, no scripts, nothing loaded."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chiploop import atomic
from chiploop.measure.record import RunRecord
from chiploop.report.markdown import render_blocks, write_markdown
from chiploop.report.section import SECTIONS, Block, Heading, Panels, Plot, Text
from chiploop.report.table import Table


class Written(NamedTuple):
    """The files of a report."""

    html: Path
    markdown: Path


def render(records: Sequence[RunRecord], out_dir: Path) -> Written:
    """Write report.html and report.md (with figures/) from records alone; equal records give equal files."""
    rendered = render_blocks(records)
    title = _title(records)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            lead=_lead(records),
            sections=[(name, section.title, _fragment(blocks)) for name, section, blocks in rendered],
        )
    )
    html = out_dir / "report.html"
    atomic.write_text(html, page)
    return Written(html=html, markdown=write_markdown(rendered, out_dir, title=title))


def fragment(name: str, records: Sequence[RunRecord]) -> str:
    """Return one section's HTML fragment, empty where it has nothing to show."""
    return str(_fragment(SECTIONS.get(name).blocks(records)))


def _fragment(blocks: Sequence[Block]) -> Markup:
    template = _environment().get_template("blocks.html.j2")
    return Markup("\n").join(Markup(template.render(block=block, kind=_kind(block))) for block in blocks)


def _kind(block: Block) -> str:
    kinds = {Text: "text", Heading: "heading", Table: "table", Plot: "plot", Panels: "panels"}
    return kinds[type(block)]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("chiploop.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment


def _data_uri(svg: str) -> str:
    """An image of its own rather than inline SVG: two plots in one page would share their ids."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii")


def _title(records: Sequence[RunRecord]) -> str:
    names = list(dict.fromkeys(record.name for record in records))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"chiploop report: {shown}" if shown else "chiploop report"


def _lead(records: Sequence[RunRecord]) -> str:
    if not records:
        return "There are no records yet."
    seeds = sorted({record.seed for record in records})
    runs = "1 record" if len(records) == 1 else f"{len(records)} records"
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return f"{runs}, {which}. Every number below is in a record."
