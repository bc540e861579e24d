"""The report as Markdown, its plots as SVG files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chiploop import atomic
from chiploop.measure.record import RunRecord
from chiploop.report.section import Block, Heading, Panels, Plot, Section, Text, sections
from chiploop.report.table import Table

FIGURES = "figures"
"""The folder of the plots, beside report.md."""


def write_markdown(rendered: Sequence[tuple[str, Section, Sequence[Block]]], out_dir: Path, *, title: str) -> Path:
    """Write report.md and its figures; return the file's path."""
    parts = [f"# {title}"]
    for _, section, blocks in rendered:
        parts.append(f"## {section.title}")
        parts.extend(block_markdown(block) for block in blocks)
        for plot in (plot for block in blocks for plot in _plots(block)):
            atomic.write_text(out_dir / FIGURES / f"{plot.name}.svg", plot.svg)
    path = out_dir / "report.md"
    atomic.write_text(path, "\n\n".join(parts) + "\n")
    return path


def block_markdown(block: Block) -> str:
    """Return one block as Markdown."""
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Heading):
        return f"### {block.text}"
    if isinstance(block, Table):
        return block.to_markdown()
    images = "\n".join(f"![{_alt(plot)}]({FIGURES}/{plot.name}.svg)" for plot in _plots(block))
    caption = block.caption if isinstance(block, Panels) else ""
    return f"{images}\n\n{caption}" if caption else images


def render_blocks(records: Sequence[RunRecord]) -> list[tuple[str, Section, Sequence[Block]]]:
    """Return every section that has something to show, with its blocks, in the order of the page."""
    found = [(name, section, section.blocks(records)) for name, section in sections()]
    return [(name, section, blocks) for name, section, blocks in found if blocks]


def _alt(plot: Plot) -> str:
    """Intervals have brackets, which would end the text early."""
    return plot.alt.replace("[", "(").replace("]", ")")


def _plots(block: Block) -> tuple[Plot, ...]:
    if isinstance(block, Panels):
        return block.plots
    return (block,) if isinstance(block, Plot) else ()
