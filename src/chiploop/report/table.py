"""Tables: one description, written for the terminal, for Markdown and (by the page's template) for HTML."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chiploop import atomic
from chiploop.errors import DataError

BEGIN = "<!-- chiploop:results:begin -->"
END = "<!-- chiploop:results:end -->"
"""The lines of a README between which `update_readme` writes; everything outside them stays."""
ABSENT = "–"


@dataclass(frozen=True)
class Column:
    """A column's title and side; `unit` stands in the title where given. `wraps` lets a page break long cells."""

    title: str
    unit: str = ""
    align: Literal["left", "right"] = "right"
    wraps: bool = False

    @property
    def heading(self) -> str:
        """Title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Cell:
    """A cell: what is read first, and what is read when looking closer (an interval, a source)."""

    text: str = ABSENT
    detail: str = ""

    @property
    def line(self) -> str:
        """Both parts in one line."""
        return f"{self.text} {self.detail}" if self.detail else self.text


@dataclass(frozen=True)
class Row:
    """A row of cells; a quoted row holds somebody else's numbers and is shown apart."""

    cells: tuple[Cell, ...]
    quoted: bool = False


@dataclass(frozen=True)
class Table:
    """Columns and rows of equal width, and one sentence on how to read them."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row.cells) != len(self.columns):
                raise DataError(f"table row {number} has {len(row.cells)} cells for {len(self.columns)} columns")

    def to_text(self) -> str:
        """Return the table for a terminal: columns padded with blanks, no colours.

        >>> print(Table((Column("place", align="left"), Column("n")), (row("chip", "300"),)).to_text())
        place    n
        -----  ---
        chip   300
        """
        grid = [[column.heading for column in self.columns], *([cell.line for cell in r.cells] for r in self.rows)]
        widths = [max(_width(line[i]) for line in grid) for i in range(len(self.columns))]
        lines = [self._padded(line, widths) for line in grid]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*lines, *(("", self.caption) if self.caption else ())])

    def to_markdown(self) -> str:
        """Return the table as GitHub Markdown; quoted rows in italics."""
        head = "| " + " | ".join(_escaped(column.heading) for column in self.columns) + " |"
        rule = "|" + "|".join("---:" if column.align == "right" else ":---" for column in self.columns) + "|"
        body = ["| " + " | ".join(_marked(cell, r.quoted) for cell in r.cells) + " |" for r in self.rows]
        return "\n".join([head, rule, *body, *(("", self.caption) if self.caption else ())])

    def _padded(self, line: list[str], widths: list[int]) -> str:
        cells = []
        for text, width, column in zip(line, widths, self.columns, strict=True):
            blanks = " " * (width - _width(text))
            cells.append(blanks + text if column.align == "right" else text + blanks)
        return "  ".join(cells).rstrip()


def row(*texts: str | Cell, quoted: bool = False) -> Row:
    """Return a row of cells; a plain text is a cell without detail."""
    return Row(tuple(text if isinstance(text, Cell) else Cell(text) for text in texts), quoted=quoted)


def update_readme(path: Path, content: Table | str) -> bool:
    """Write a table (or finished Markdown) between the file's markers; return whether the file changed.

    Raises DataError unless both markers stand in the file exactly once and in order; nothing is written then.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(f"{path} must hold the lines {BEGIN} and {END} once each, in this order")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    markdown = content if isinstance(content, str) else content.to_markdown()
    updated = f"{before}{BEGIN}\n{markdown}\n{END}{after}"
    if updated == text:
        return False
    atomic.write_text(path, updated)
    return True


def _width(text: str) -> int:
    """Columns a terminal uses: wide East Asian letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _marked(cell: Cell, quoted: bool) -> str:
    line = _escaped(cell.line)
    return f"*{line}*" if quoted and line != ABSENT else line
