"""Links lead somewhere, names on the pages exist, and no number of results stands without its record."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from chiploop.chip.device import DEVICES
from chiploop.datasets.base import DATASETS
from chiploop.learn.plan import PLANS
from chiploop.measure.record import read_records
from chiploop.recipes.catalogue import catalogue
from chiploop.report.table import BEGIN, END
from doc_pages import PAGES, ROOT, anchors, blocks, links, prose

README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDS = ROOT / "docs" / "records"


def _first_cells(page: str) -> set[str]:
    """Return the words in code style in the first column of a page's tables."""
    first = (line.split("|")[1] for line in prose(Path(page)).splitlines() if line.startswith("|"))
    return {word for cell in first for word in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(there.resolve().relative_to(ROOT)), f"{page}: {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [Path("README.md")]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        targets = [(ROOT / page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link]
        pages = {path.relative_to(ROOT) for path in targets if path.suffix == ".md"}
        ahead.extend(pages - reached)
    assert set(PAGES) == reached


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_modules_named_on_a_page_exist(page: Path) -> None:
    for name in re.findall(r"`(chiploop(?:\.\w+)+)`", prose(page)):
        assert find_spec(name) is not None, f"{page}: {name}"


def test_tables_of_names_are_complete() -> None:
    assert {*catalogue()["methods"](), *PLANS} == _first_cells("docs/methods.md")
    assert set(DEVICES.names()) == _first_cells("docs/chip.md")
    assert set(DATASETS.names()) - {"sides"} == _first_cells("docs/data.md")  # the page's own example may be registered


def test_commands_page_names_every_command_and_option() -> None:
    from typer.main import get_command

    from chiploop.cli.app import app

    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = get_command(app).commands  # type: ignore[attr-defined]
    sections = dict(re.findall(r"^## chiploop (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(commands), "run make docs"
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert {option for option in options if option not in sections[name]} == set(), f"{name}: run make docs"


def _results() -> str:
    _, _, rest = README.partition(BEGIN)
    table, found, _ = rest.partition(END)
    assert found
    return table


def test_results_in_the_readme_come_from_records() -> None:
    """With records, the generated parts are what the records give; without, there is no table and no number."""
    if not (RECORDS.is_dir() and read_records(RECORDS)):
        assert not re.search(r"\d", _results()), "numbers without a record"
        assert "|" not in _results()
        return
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check-results"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_states_no_accuracy_outside_its_table() -> None:
    before, _, rest = README.partition(BEGIN)
    _, _, after = rest.partition(END)
    without_figure = re.sub(r"!\[[^\]]*\]", "", before + after)  # its caption is written with it, from the records
    text = re.sub(r"```.*?```", "", without_figure, flags=re.DOTALL)
    assert re.findall(r"\d+(?:\.\d+)?\s?%", text) == []


def test_results_are_marked_once() -> None:
    assert README.count(BEGIN) == README.count(END) == 1
    assert not any(BEGIN in block.text for page in PAGES for block in blocks(page))
