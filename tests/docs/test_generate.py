"""`make docs`: the generated parts follow the records, and nothing else on the page moves."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from chiploop.measure.aggregate import aggregate
from chiploop.measure.record import RunRecord, read_records, write_record
from chiploop.report.table import BEGIN, END
from doc_pages import ROOT
from record_store import make_record

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def records() -> list[RunRecord]:
    return [make_record(seed, n_events=200) for seed in SEEDS]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    (tmp_path / "docs").mkdir()
    return tmp_path


def _outside(text: str, generate: ModuleType) -> str:
    for begin, end in ((BEGIN, END), (generate.FIGURE_BEGIN, generate.FIGURE_END)):
        text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", begin + end, text, flags=re.DOTALL)
    return text


def test_the_table_holds_the_means_of_the_records(
    generate: ModuleType, clone: Path, records: list[RunRecord], tmp_path: Path
) -> None:
    for record in records:
        write_record(tmp_path / "records" / f"seed-{record.seed}", record)
    before = (clone / "README.md").read_text(encoding="utf-8")
    generate.write_all(clone, tmp_path / "records", commands=False)
    after = (clone / "README.md").read_text(encoding="utf-8")
    assert _outside(after, generate) == _outside(before, generate)
    table = after.partition(BEGIN)[2].partition(END)[0]
    chip = {m.method: m for m in aggregate(records) if m.name == "accuracy" and m.where == "chip"}
    for method, metric in chip.items():
        (line,) = [line for line in table.splitlines() if line.startswith(f"| {method} |")]
        assert f"{100 * metric.value:.1f}" in line
    assert f"{len(SEEDS)} seeds" in table
    drawn = ElementTree.parse(clone / "docs/figures/accuracy.svg")
    assert drawn.getroot().tag.endswith("svg")
    assert "](docs/figures/accuracy.svg)" in after


def test_writing_again_changes_nothing(generate: ModuleType, clone: Path, records: list[RunRecord]) -> None:
    generate.write_results(clone, records)
    once = generate.generated(clone)
    generate.write_results(clone, records)
    assert generate.generated(clone) == once


def test_two_experiments_have_a_table_each(generate: ModuleType, clone: Path, records: list[RunRecord]) -> None:
    other = records[0].model_copy(update={"id": "other", "recipe": {"name": "other", "seed": 0, "data": {"n": 1}}})
    generate.write_results(clone, [*records, other])
    results = (clone / "README.md").read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert results.count("|:---|") == 2
    assert "**other.**" in results
    assert results.count("1 seed") + results.count("seed 0") >= 1


def test_published_records_hold_no_recordings(generate: ModuleType, records: list[RunRecord], tmp_path: Path) -> None:
    for record in records:
        write_record(tmp_path / "runs" / f"seed-{record.seed}", record)
    generate.publish(tmp_path / "runs", tmp_path / "published")
    published = read_records(tmp_path / "published")
    assert [(record.seed, record.metrics) for record in published] == [(r.seed, r.metrics) for r in records]
    assert any(figure.kind == "raster" for record in records for figure in record.figures)
    assert not any(figure.kind == "raster" for record in published for figure in record.figures)


def test_without_records_the_readme_stays(generate: ModuleType, clone: Path, tmp_path: Path) -> None:
    before = (clone / "README.md").read_bytes()
    generate.write_all(clone, tmp_path / "none", commands=False)
    assert (clone / "README.md").read_bytes() == before


def test_the_help_of_a_command_is_plain(generate: ModuleType) -> None:
    text = generate.help_text("ls")
    assert text.startswith("Usage: chiploop ls")
    assert not re.search("[\x1b╭│]", text)
