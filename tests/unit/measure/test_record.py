from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import pytest

from chiploop.errors import DataError
from chiploop.measure.metric import Metric
from chiploop.measure.record import (
    RunRecord,
    StageRecord,
    new_record,
    read_code,
    read_host,
    read_record,
    read_records,
    read_versions,
    write_record,
)
from record_store import make_record


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return make_record(0, methods=("cnn", "bptt"))


def test_what_is_written_is_what_is_read(tmp_path: Path, record: RunRecord) -> None:
    path = write_record(tmp_path / "run", record)
    assert path.name == "record.json"
    assert read_record(path) == record
    assert read_record(path).to_json() == path.read_text(encoding="utf-8")


def test_a_later_stage_writes_a_new_file_and_changes_nothing(tmp_path: Path, record: RunRecord) -> None:
    first = write_record(tmp_path, record)
    before = first.read_bytes()
    second = write_record(tmp_path, record.model_copy(update={"id": "later", "created_utc": "2027"}))
    assert second.name == "record-2.json"
    assert first.read_bytes() == before
    assert [r.id for r in read_records(tmp_path)] == [record.id, "later"]


def test_an_id_is_written_once(tmp_path: Path, record: RunRecord) -> None:
    write_record(tmp_path, record)
    with pytest.raises(DataError, match="never changed"):
        write_record(tmp_path, record)


def test_no_damaged_file_is_skipped(tmp_path: Path, record: RunRecord) -> None:
    write_record(tmp_path / "good", record)
    text = record.to_json()
    for name, content in {
        "cut": text[: len(text) // 2],
        "empty": "",
        "latin": "\xff\xfe",
        "later": text.replace('"schema": 1', '"schema": 2'),
        "none": "{}",
        "list": "[1]",
        "field": text.replace('"seed": 0,\n', '"seed": "zero",\n'),
        "metric": text.replace('"how": "counted"', '"how": "felt"', 1),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_bytes(content.encode("latin-1", "replace"))
    with pytest.raises(DataError) as caught:
        read_records(tmp_path)
    message = str(caught.value)
    assert message.startswith("8 of the records")
    for name in ("cut", "empty", "latin", "later", "none", "list", "field", "metric"):
        assert str(tmp_path / name / "record.json") in message
    assert str(tmp_path / "good") not in message
    assert "\n" not in message


def test_one_record_in_two_places_counts_once_but_one_id_means_one_content(tmp_path: Path, record: RunRecord) -> None:
    write_record(tmp_path / "a", record)
    write_record(tmp_path / "b", record)
    assert read_records(tmp_path) == [record]
    write_record(tmp_path / "c", record.model_copy(update={"seed": 5}))
    with pytest.raises(DataError, match="share the id"):
        read_records(tmp_path)


def test_reading_no_folder(tmp_path: Path) -> None:
    assert read_records(tmp_path) == []
    with pytest.raises(DataError, match="is not a folder"):
        read_records(tmp_path / "missing")


def test_records_come_oldest_first_whatever_the_folders_say(tmp_path: Path, record: RunRecord) -> None:
    for folder, when in (("a", "2026-03"), ("b", "2026-01"), ("c", "2026-02")):
        write_record(tmp_path / folder, record.model_copy(update={"id": folder, "created_utc": when}))
    assert [r.id for r in read_records(tmp_path)] == ["b", "c", "a"]


def test_unknown_fields_are_refused(tmp_path: Path, record: RunRecord) -> None:
    plain = json.loads(record.to_json())
    for where in (plain, plain["metrics"][0], plain["figures"][0], plain["host"]):
        where["extra"] = 1
        (tmp_path / "record.json").write_text(json.dumps(plain), encoding="utf-8")
        with pytest.raises(DataError, match="extra"):
            read_record(tmp_path / "record.json")
        del where["extra"]


def test_the_experiment_is_the_recipe_without_seed_name_and_notes(record: RunRecord) -> None:
    same = record.model_copy(update={"recipe": {**record.recipe, "seed": 9, "name": "other", "notes": "n"}, "seed": 9})
    other = record.model_copy(update={"recipe": {**record.recipe, "learn": {"rate": 0.1}}})
    assert same.experiment == record.experiment
    assert other.experiment != record.experiment


def test_a_recipe_with_infinity_and_tuples_survives(tmp_path: Path) -> None:
    made = new_record({"tau_us": math.inf, "layers": (1, 2)}, "f" * 64, 3)
    assert made.recipe == {"tau_us": "inf", "layers": [1, 2]}
    assert read_record(write_record(tmp_path, made)) == made


def test_a_new_record_names_time_recipe_and_seed_but_neither_host_nor_folder(tmp_path: Path) -> None:
    metric = Metric(name="train_seconds", value=1.5, unit="s", how="measured")
    made = new_record({"name": "x"}, "abcdef0123", 7, stages=[StageRecord(name="train", seconds=1.5)], metrics=[metric])
    assert made.id.endswith("-abcdef01-s7")
    assert made.created_utc.endswith("+00:00")
    text = made.to_json()
    assert str(Path.home()) not in text
    assert str(Path(__file__).parents[3]) not in text


def test_host_and_versions_are_real() -> None:
    host = read_host()
    assert host.cores >= 1
    assert host.cpu.strip()
    assert read_versions()["numpy"] == __import__("numpy").__version__


def test_code_tells_clean_from_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(
            ("git", "-C", str(tmp_path), *identity, *arguments), check=True, capture_output=True, text=True
        ).stdout.strip()

    assert read_code(tmp_path).commit is None
    git("init", "-q")
    (tmp_path / "a.txt").write_text("1")
    git("add", ".")
    git("commit", "-qm", "one")
    assert (read_code(tmp_path).commit, read_code(tmp_path).dirty) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "a.txt").write_text("2")
    assert read_code(tmp_path).dirty is True
    sub = tmp_path / "installed"
    sub.mkdir()
    (sub / "b.txt").write_text("not tracked")
    assert read_code(sub).commit is None
