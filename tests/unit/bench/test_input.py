"""The benchmark of input: every contender does the same work, and the rows and aims follow from what was timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.bench import input as bench_input
from chiploop.bench.benchmark import BENCHMARKS, BenchOptions
from chiploop.datasets.shapes import open_shapes
from chiploop.events.types import Events, SensorShape


def wide(events: Events) -> Events:
    return Events(events.t_us, events.channel, events.y, events.x, SensorShape(2, 34, 34), 0, events.stop_us)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[Events]:
    """Forty small recordings, a short streamed run, and the process's memory left as it is."""
    data = open_shapes(n=40)
    events = [wide(data.sample(i).events) for i in range(40)]
    monkeypatch.setattr(bench_input, "open_recordings", lambda root: (data, "shapes"))
    monkeypatch.setattr(bench_input, "some_events", lambda dataset, n: events)
    monkeypatch.setattr(bench_input, "N_STREAMED", 600)
    monkeypatch.setattr(bench_input, "keep_freed_memory", lambda: False)
    return events


def test_rows_and_aims_follow_from_the_rounds(small: list[Events]) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs the kernel's account of a process's memory, /proc/self/status")
    told: list[str] = []
    outcome = BENCHMARKS.get("input").run(BenchOptions(rounds=2, threads=1), told.append)
    steps = ["decode", "packed read", "bin", "batches", "batches, augmented"]
    assert told[:-1] == steps
    speeds = {(row.what, row.who): row for row in outcome.rows if row.unit == "recordings/s"}
    assert set(speeds) == {(step, who) for step in steps for who in ("chiploop", "numpy", "memcpy")}
    assert all(len(row.values) == 2 and min(row.values) > 0 for row in speeds.values())
    for aim in outcome.aims[:3]:
        ours, copy = (speeds[aim.what.partition(",")[0], who] for who in ("chiploop", "memcpy"))
        ratios = [a / b for a, b in zip(copy.values, ours.values, strict=True)]
        assert (aim.low, aim.high) == (min(ratios), max(ratios))
    assert outcome.aims[-1].unit == "MB"


def test_the_files_that_are_timed_hold_the_recordings(small: list[Events], tmp_path: Path) -> None:
    contents, packed = bench_input._written(small, tmp_path)
    assert [packed.sample(i).events for i in range(40)] == small
    stop = packed.duration_us
    assert [bench_input.decode_nmnist(content, stop_us=stop) for content in contents] == small
    assert np.array_equal(packed.parts[0].offsets[1:], np.cumsum([len(one) for one in small]))
