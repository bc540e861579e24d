from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.measure.record import RunRecord, read_record, read_records
from chiploop.report import render

HERE = Path(__file__).parent
RECORDS = HERE / "records-v1"


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    return read_records(RECORDS)


def test_the_report_of_the_golden_records_is_the_golden_report(records: list[RunRecord], tmp_path: Path) -> None:
    # made by: PYTHONPATH=src:tests python tests/golden/make_report.py
    written = render(records, tmp_path)
    assert written.markdown.read_text(encoding="utf-8") == (HERE / "report.md").read_text(encoding="utf-8")


def test_records_of_schema_1_still_read(records: list[RunRecord]) -> None:
    assert [(record.id, record.seed, record.schema_) for record in records] == [
        ("nmnist-table-s0", 0, 1),
        ("nmnist-table-s1", 1, 1),
    ]
    first = records[0]
    plain = json.loads((RECORDS / "seed-0" / "record.json").read_text(encoding="utf-8"))
    assert len(first.metrics) == len(plain["metrics"])
    for metric, written in zip(first.metrics, plain["metrics"], strict=True):
        assert metric.to_dict() == written
    assert [figure.data for figure in first.figures] == [figure["data"] for figure in plain["figures"]]


def test_the_golden_file_is_what_would_be_written_today() -> None:
    for path in sorted(RECORDS.rglob("record.json")):
        assert read_record(path).to_json() == path.read_text(encoding="utf-8")
