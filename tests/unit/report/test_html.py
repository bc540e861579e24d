from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from chiploop.measure.record import RunRecord, read_records, write_record
from chiploop.report import fragment, render
from chiploop.report.section import SECTIONS, sections
from record_store import make_record

SHOWS_THE_METHOD = {"summary", "gap", "weights", "rasters", "learning", "correlation", "rates", "quantisation"}
VOID = {"meta", "img", "br", "link", "hr"}


class Balance(HTMLParser):
    """Checks that every tag is closed in order, and collects what could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        self.sources += [given[name] or "" for name in ("src", "href") if name in given]
        if tag == "img":
            self.alts.append(given.get("alt") or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag


def _parsed(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    return [make_record(seed, methods=("bptt",)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def page(records: list[RunRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(records, tmp_path_factory.mktemp("report")).html


def test_the_page_stands_alone(page: Path) -> None:
    parsed = _parsed(page.read_text(encoding="utf-8"))
    assert "script" not in parsed.tags
    assert "link" not in parsed.tags
    assert parsed.sources
    assert all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in parsed.sources)
    assert all(alt for alt in parsed.alts)
    assert "url(" not in page.read_text(encoding="utf-8")


def test_every_image_is_a_whole_drawing_that_loads_nothing(page: Path) -> None:
    images = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page.read_text(encoding="utf-8"))
    assert len(images) == 9  # overview, waterfall, response, weights, raster, learning, correlation, two rates
    for image in images:
        root = ElementTree.fromstring(base64.b64decode(image))
        for element in root.iter():
            for name, value in element.attrib.items():
                if name.endswith("href"):
                    assert value.startswith(("#", "data:"))


def test_navigation_leads_to_the_sections_that_are_there(page: Path, records: list[RunRecord]) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r'<a href="#([a-z-]+)">', text)
    assert targets == re.findall(r'<section id="([a-z-]+)">', text)
    assert targets == [name for name, section in sections() if section.blocks(records)]
    assert len(targets) >= 11


def test_markdown_points_to_files_that_exist(page: Path) -> None:
    text = (page.parent / "report.md").read_text(encoding="utf-8")
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(images) == 9
    assert all((page.parent / image).is_file() for image in images)
    assert "| *bptt (paper, quoted)* |" in text


def test_equal_records_give_equal_bytes(page: Path, records: list[RunRecord], tmp_path: Path) -> None:
    for record in records:
        write_record(tmp_path / "store" / record.id, record)
    again = render(read_records(tmp_path / "store"), tmp_path / "out")
    assert again.html.read_bytes() == page.read_bytes()
    assert again.markdown.read_bytes() == (page.parent / "report.md").read_bytes()


@pytest.mark.parametrize("name", SECTIONS.names())
def test_every_section_renders_nothing_one_and_two(name: str, records: list[RunRecord]) -> None:
    empty = fragment(name, [])
    _parsed(empty)
    assert ("<img" in empty) is False
    for some in (records[:1], records):
        shown = fragment(name, some)
        _parsed(shown)
        assert "bptt" in shown or name not in SHOWS_THE_METHOD


def test_an_empty_store_gives_a_page_that_says_so(tmp_path: Path) -> None:
    written = render([], tmp_path)
    assert "There are no records yet." in written.html.read_text(encoding="utf-8")
    _parsed(written.html.read_text(encoding="utf-8"))
    assert written.markdown.read_text(encoding="utf-8").startswith("# chiploop report\n")


def test_names_from_a_recipe_cannot_break_the_page(tmp_path: Path) -> None:
    name = '<script>alert("x")</script>'
    record = make_record(0, methods=()).model_copy(update={"recipe": {"name": name}, "command": name, "figures": ()})
    parsed = _parsed(render([record], tmp_path).html.read_text(encoding="utf-8"))
    assert "script" not in parsed.tags
