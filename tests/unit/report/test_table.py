from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.errors import DataError
from chiploop.report.table import BEGIN, END, Cell, Column, Table, row, update_readme

TABLE = Table(
    (Column("Method", align="left"), Column("Chip", "%")),
    (row("bptt", Cell("95.0", "[92.1, 97.0]")), row("a|b", "–", quoted=True)),
    "One seed.",
)


def test_text_lines_up() -> None:
    assert TABLE.to_text().splitlines() == [
        "Method           Chip (%)",
        "------  -----------------",
        "bptt    95.0 [92.1, 97.0]",
        "a|b                     –",
        "",
        "One seed.",
    ]


def test_markdown_escapes_and_marks_quoted_rows() -> None:
    assert TABLE.to_markdown().splitlines() == [
        "| Method | Chip (%) |",
        "|:---|---:|",
        "| bptt | 95.0 [92.1, 97.0] |",
        "| *a\\|b* | – |",
        "",
        "One seed.",
    ]


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(DataError, match="row 0 has 1 cells for 2 columns"):
        Table(TABLE.columns, (row("only"),))


def test_wide_letters_take_two_columns() -> None:
    table = Table((Column("a", align="left"), Column("b", align="left")), (row("日本", "x"), row("abcd", "y")))
    assert table.to_text().splitlines()[2:] == ["日本  x", "abcd  y"]


def test_readme_changes_between_the_markers_only(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n{BEGIN}\nold\n{END}\nrest\n", encoding="utf-8")
    assert update_readme(path, TABLE) is True
    content = path.read_text(encoding="utf-8")
    assert content == f"# Title\n{BEGIN}\n{TABLE.to_markdown()}\n{END}\nrest\n"
    assert update_readme(path, TABLE) is False


@pytest.mark.parametrize("content", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_readme_without_its_markers_stays_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="once each"):
        update_readme(path, TABLE)
    assert path.read_text(encoding="utf-8") == content
