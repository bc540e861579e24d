"""`chiploop explain` on a finished run: parts that add up to the recorded gap, a further record, clear refusals."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chiploop.measure.record import read_records
from command_line import Command


def test_the_parts_add_up_to_the_gap_that_the_run_recorded(chiploop: Command, done: Path, bars: Path) -> None:
    before = {path: path.read_bytes() for path in done.rglob("record.json")}
    ran = chiploop("explain", done, "--data", bars, "--json", "--quiet")
    assert (ran.code, ran.err) == (0, "")
    explanations = ran.json["explanations"]
    assert [one["method"] for one in explanations] == ["cnn", "bptt", "cil-bptt"]
    for one in explanations:
        measured = one["causes"]  # nothing lies beyond the chip here: no faults, and a chain that drops nothing
        assert measured[-1]["measured"]
        whole = math.fsum(step["difference"] for step in measured)
        assert whole == pytest.approx(one["gap"], abs=1e-12)
        assert one["gap"] == pytest.approx(one["recorded_gap"], abs=1e-12)
        assert one["advice"]
    first = [step["cause"] for step in explanations[0]["causes"]]
    assert first == ["rate-coding", "weights", "thresholds", "event-order", "one-spike", "saturation"]
    assert [step["cause"] for step in explanations[1]["causes"]] == first[1:]

    assert {path: path.read_bytes() for path in done.rglob("record.json")} == before
    later = [record for record in read_records(done) if any(stage.name == "explain" for stage in record.stages)]
    assert [figure.method for record in later for figure in record.figures] == ["cnn", "bptt", "cil-bptt"]
    reported = chiploop("report", done)
    assert reported.code == 0
    assert "Why accuracy is lost" in (done / "report.html").read_text()


def test_a_table_for_people_and_rows_of_their_choice(chiploop: Command, done: Path, bars: Path) -> None:
    ran = chiploop("explain", done, "--row", "bptt", "--n", 5, "--data", bars, "--quiet")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("bptt: ")
    assert "recorded by the run" not in ran.out  # five recordings are not those of the run
    assert "+ event by event instead of window by window" in ran.out
    assert "5 samples each" in ran.out
    assert "\n- " in ran.out


def test_refusals_say_what_to_give(chiploop: Command, done: Path, bars: Path, tmp_path: Path) -> None:
    ran = chiploop("explain", done, "--row", "bpt", "--data", bars)
    assert ran.code == 2
    assert "did you mean 'bptt'" in ran.err
    ran = chiploop("explain", tmp_path)
    assert ran.code == 2
    assert "has no recipe.toml; give the folder that `chiploop run` wrote to" in ran.err
    (tmp_path / "recipe.toml").write_bytes((done / "recipe.toml").read_bytes())
    ran = chiploop("explain", tmp_path)
    assert ran.code == 2
    assert "holds no finished run" in ran.err
