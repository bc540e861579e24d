"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import codecs
import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from chiploop.report.table import Table

FAILED, BAD_INPUT, BUG, INTERRUPTED, BROKEN_PIPE = 1, 2, 70, 130, 141
"""Exit codes: the answer is no; an error with a message; a fault of ours (sysexits.h); 128 + SIGINT; 128 + SIGPIPE."""
MARK_COLUMN, COLUMN_GAP = 16, 2


PLAIN = "chiploop-plain"
"""How streams write what their encoding lacks: a minus sign or a tick must not end a run on an ASCII terminal."""
_LOOK_ALIKES = {"−": "-", "–": "-", "✓": "+", "✗": "x", "·": ",", "±": "+-"}


def _write_plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # streams are only written
    letters = error.object[error.start : error.end]
    return "".join(_LOOK_ALIKES.get(letter, "?") for letter in letters), error.end


codecs.register_error(PLAIN, _write_plain)


def print_json(plain: dict[str, Any]) -> None:
    """Print one JSON object on stdout, in ASCII, so that any terminal can take it."""
    sys.stdout.write(json.dumps(plain, indent=2, allow_nan=False) + "\n")


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr)


def fail(message: str, *, code: int, as_json: bool) -> NoReturn:
    """Report why a command ends early, and end it."""
    report_error(message, as_json=as_json)
    raise typer.Exit(code)


def report_error(message: str, *, as_json: bool) -> None:
    """Print one line on stderr and, under --json, the object that keeps stdout parseable."""
    line = one_line(message)
    say(f"error: {line}")
    if as_json:
        print_json({"error": line})


def one_line(message: str) -> str:
    """Return a message that lists things over several lines as one line.

    >>> one_line("two rules:\\n  [stride] 3\\n  [pool] 5")
    'two rules: [stride] 3; [pool] 5'
    """
    first, *rest = [line.strip() for line in message.splitlines() if line.strip()] or ["unknown error"]
    if not rest:
        return first
    return f"{first}{' ' if first.endswith(':') else '; '}{'; '.join(rest)}"


def wrapped(text: str, lead: str = "") -> str:
    """Return text in the terminal's width behind a lead, as wide a margin below it; words such as paths stay whole."""
    import shutil
    import textwrap

    width = max(shutil.get_terminal_size().columns, 2 * len(lead))
    margin = " " * len(lead)
    return textwrap.fill(
        text, width, initial_indent=lead, subsequent_indent=margin, break_on_hyphens=False, break_long_words=False
    )


def print_mark(good: bool, name: str, text: str, *, fault: bool = True) -> None:
    """Print one line of a check-up; what is merely absent (`fault` False) is no fault."""
    from rich.console import Console
    from rich.text import Text

    mark, style = ("✓", "green") if good else ("✗", "red") if fault else ("–", "dim")
    body = wrapped(text, " " * (MARK_COLUMN + len("  ✓ "))).lstrip()
    line = Text.assemble("  ", (mark, style), " ", name.ljust(MARK_COLUMN), body)
    Console(highlight=False, soft_wrap=True).print(line)


def print_table(table: Table, *, essential: int | None = None) -> None:
    """Print a table: as it is where it fits or where nobody looks, else folded to the terminal's width.

    Where even that is too wide, columns beyond the first `essential` ones (all, by default) are left out.
    """
    text = table.to_text()
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console

    console = Console(highlight=False)
    shown = len(table.columns)
    folded = max(map(len, text.splitlines()[: len(table.rows) + 2])) > console.width
    while folded and shown > (essential or shown) and _width(table, shown) > console.width:
        shown -= 1
    console.print(_rich(table, shown, folded=folded))
    if shown < len(table.columns):
        left = ", ".join(column.title.lower() for column in table.columns[shown:])
        console.print(f"Not shown for want of room: {left}.", style="dim")
    if table.caption:
        console.print(table.caption, style="dim")


def _width(table: Table, shown: int) -> int:
    """Columns of the terminal that a table takes when headings wrap at words and cells at their detail."""
    return sum(
        max(
            *(len(word) for word in column.heading.split()),
            *(len(part) for row in table.rows for part in (row.cells[i].text, row.cells[i].detail)),
        )
        + COLUMN_GAP
        for i, column in enumerate(table.columns[:shown])
    )


def _rich(table: Table, shown: int, *, folded: bool) -> Any:
    """Cells in one line, or what is read when looking closer below what is read first."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    view = RichTable(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    for column in table.columns[:shown]:
        longest = max(len(word) for word in column.heading.split())
        view.add_column(column.heading, justify=column.align, min_width=longest, overflow="fold")
    for row in table.rows:
        cells = []
        for cell in row.cells[:shown]:
            gap = "\n" if folded and cell.detail else " "
            cells.append(Text.assemble(cell.text, (gap + cell.detail if cell.detail else "", "dim")))
        view.add_row(*cells, style="italic dim" if row.quoted else None)
    return view
