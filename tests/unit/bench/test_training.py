"""The training and the loop's benchmarks, reduced: the same path, seconds of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from chiploop.bench import loop, training
from chiploop.bench.benchmark import BENCHMARKS, BenchOptions
from chiploop.bench.memory import peak_bytes
from chiploop.errors import ChiploopError


@pytest.fixture(autouse=True)
def pinned() -> Iterator[None]:
    """A benchmark sets torch's threads and determinism for its process."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(mode)


def test_a_step_is_measured_in_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chiploop.learn.allocator.keep_freed_memory", lambda: False)
    for name, value in {"BATCH": 4, "STEPS": 3, "BATCHES": (4, 6), "LENGTHS": (2, 3), "HALVINGS": 2}.items():
        monkeypatch.setattr(training, name, value)
    outcome = BENCHMARKS.get("training").run(BenchOptions(rounds=2, threads=1, who=()), lambda _: None)
    times = {(row.setting["batch"], row.setting["T"]): row for row in outcome.rows if row.what == training.TIME}
    assert set(times) == {(4, 3), (6, 3), (4, 2)}
    (memory,) = (row for row in outcome.rows if row.what == training.MEMORY)
    assert min(memory.values) > 1e5
    parts = {row.setting["part"]: row.median for row in outcome.rows if row.what == training.PART}
    assert {"convolutions, forward", "scans, backward"} < set(parts)
    assert min(parts.values()) > 0.0
    assert outcome.aims == ()  # nobody to be compared with


def test_weights_fire_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHANNELS", (4, 4, 4, 4, 4))
    work = training.make_work(None, batch=8, steps=6, activity=0.5)
    (weight, *_) = work.convolutions
    current = torch.nn.functional.conv2d(work.x.flatten(0, 1), weight, padding=1).unflatten(0, (6, 8))
    v, spikes = torch.zeros_like(current[0]), torch.tensor(0.0)
    for step in current:  # integrate, fire at 1, back to 0
        v = v + step
        spikes = spikes + (v >= 1.0).float().mean()
        v = torch.where(v >= 1.0, 0.0, v)
    assert float(spikes) == pytest.approx(0.5, rel=0.05)


def test_the_loop_is_measured_beside_the_step_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chiploop.learn.allocator.keep_freed_memory", lambda: False)
    for name, value in {"BATCH": 4, "TRAINING": 16, "EPOCHS": 1, "LENGTHS": (10,)}.items():
        monkeypatch.setattr(loop, name, value)
    outcome = BENCHMARKS.get("loop").run(BenchOptions(rounds=2, threads=1), lambda _: None)
    steps = {row.who: row for row in outcome.rows if row.what == loop.STEP}
    assert set(steps) == {"ann", "bptt", "cil-ann", "cil-bptt", loop.BY_CHIP}
    for aim in outcome.aims:
        looped = next(name for name in loop.PAIRS if f"a step of {name}, over" in aim.what)
        assert aim.value == pytest.approx(steps[looped].ratio_to(steps[loop.PAIRS[looped][0]])[0])
    assert len(outcome.aims) == len(loop.PAIRS)


def test_a_peer_that_is_not_there_is_named() -> None:
    with pytest.raises(ChiploopError, match="no-such-peer"):
        training.installed(["no-such-peer"])


def test_memory_is_what_the_work_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred megabytes that are touched count, and what was taken before does not."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    grown = peak_bytes("memory_of_tests", "prepare", {"megabytes": 100})
    assert 90e6 < grown < 130e6


def test_work_that_fails_is_said() -> None:
    with pytest.raises(ChiploopError, match="no_such_function"):
        peak_bytes("chiploop.bench.training", "no_such_function", {})
