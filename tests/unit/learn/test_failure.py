"""The policy's numbers, and the log: where a failure was, and that a training which goes on takes it up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.errors import DataError, DeviceLostError, DeviceTimeoutError, ReadoutError, TrainingError
from chiploop.learn.failure import Failure, FailureLog, FailurePolicy


@pytest.mark.parametrize(
    ("share", "n_batches", "most"),
    [(0.1, 1, 0), (0.1, 2, 1), (0.1, 19, 1), (0.1, 30, 3), (1.0, 7, 6), (0.0, 50, 0), (0.5, 3, 1), (0.001, 100, 1)],
)
def test_how_many_batches_may_be_left_out(share: float, n_batches: int, most: int) -> None:
    assert FailurePolicy(max_skipped=share).most_skipped(n_batches) == most


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"retries": -1}, "retries -1"),
        ({"wait_s": -0.5}, "wait_s -0.5"),
        ({"wait_s": float("inf")}, "wait_s inf"),
        ({"wait_s": float("nan")}, "wait_s nan"),
        ({"then": "go on"}, "then = 'go on' must be 'stop' or 'skip'"),
        ({"max_skipped": 1.5}, "max_skipped 1.5"),
    ],
)
def test_a_policy_out_of_range_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        FailurePolicy(**fields)  # type: ignore[arg-type]


def test_a_failure_is_noted_with_its_place_and_the_kind_of_it() -> None:
    log = FailureLog()
    log.add(DeviceLostError("before training"), "reopened")
    with log.epoch(4, n_batches=10):
        log.at(7)
        log.add(DeviceTimeoutError("in a batch"), "retried")
        log.at(None)
        log.add(ReadoutError("in validation"), "retried")
    log.add(DeviceLostError("after it"), "reopened")
    assert [(e.epoch, e.step, e.kind, e.message, e.done) for e in log.entries] == [
        (None, None, "DeviceLostError", "before training", "reopened"),
        (4, 7, "DeviceTimeoutError", "in a batch", "retried"),
        (4, None, "ReadoutError", "in validation", "retried"),
        (None, None, "DeviceLostError", "after it", "reopened"),
    ]


def test_batches_are_skipped_up_to_the_share_of_each_epoch_and_only_where_the_policy_says_so() -> None:
    error = DeviceTimeoutError("x")
    log = FailureLog(FailurePolicy(then="skip", max_skipped=0.2))
    assert not log.skips(error)  # outside of any epoch
    for epoch in range(2):
        with log.epoch(epoch, n_batches=10):
            assert not log.skips(error)  # before the first batch, and in validation, there is nothing to skip
            log.at(0)
            assert [log.skips(error) for _ in range(4)] == [True, True, False, False]
    assert [entry.done for entry in log.entries] == ["skipped"] * 4
    stopping = FailureLog(FailurePolicy(then="stop"))
    with stopping.epoch(0, n_batches=10):
        stopping.at(0)
        assert not stopping.skips(error)
    assert stopping.entries == ()


@pytest.mark.parametrize(("step", "place"), [(3, "batch 3"), (None, "validation")])
def test_the_end_of_a_training_is_noted_and_says_where_and_what_to_do(step: int | None, place: str) -> None:
    log = FailureLog()

    def fail() -> None:
        with log.epoch(2, n_batches=5):
            log.at(step)
            raise DeviceLostError("the board is gone")

    with pytest.raises(DeviceLostError, match=rf"^epoch 2, {place}: the board is gone; training stops here: finished"):
        fail()
    assert log.entries == (
        Failure(epoch=2, step=step, kind="DeviceLostError", message="the board is gone", done="stopped"),
    )


def test_other_errors_are_not_the_devices() -> None:
    log = FailureLog()
    with pytest.raises(TrainingError, match=r"^the loss is nan$"), log.epoch(0, n_batches=1):
        raise TrainingError("the loss is nan")
    assert log.entries == ()


def test_a_training_that_goes_on_takes_its_failures_up(tmp_path: Path) -> None:
    path = tmp_path / "row.failures.json"
    log = FailureLog(path=path, identity="this")
    assert not path.exists()  # nothing happened
    log.add(DeviceTimeoutError("one"), "retried")
    again = FailureLog(path=path, identity="this")
    assert again.entries == log.entries
    again.add(DeviceTimeoutError("two"), "stopped")
    assert [e.message for e in FailureLog(path=path, identity="this").entries] == ["one", "two"]
    other = FailureLog(path=path, identity="another training")
    assert other.entries == ()
    other.add(DeviceTimeoutError("three"), "retried")
    assert [entry["message"] for entry in json.loads(path.read_text())["failures"]] == ["three"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"identity": "this", "failures": [{"epoch": 1}]}', "\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "row.failures.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"row\.failures\.json is damaged .*; delete it"):
        FailureLog(path=path, identity="this")
