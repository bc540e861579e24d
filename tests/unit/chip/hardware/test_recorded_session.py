"""Recording a session and playing it back: the same answers, the first difference, errors, broken files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.chip.device import Monitor
from chiploop.chip.hardware import SpeckDevice
from chiploop.chip.hardware.board_session import BoardSession
from chiploop.chip.hardware.recorded_session import RecordingSession, ReplaySession
from chiploop.chip.hardware.samna_session import SamnaSession
from chiploop.chip.program import Program
from chiploop.errors import DataError, DeviceError, DeviceLostError, DeviceTimeoutError
from chiploop.events.types import Events
from chiploop.rng import stream
from fake_board import Board
from strategies_board import board_program, connect
from strategies_chip import neuron, pulses, random_events, require_same_trace

MONITOR = Monitor(counts=("layer0",), potentials=("layer0",), window_edges_us=(0, 10_000))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return connect(Board(), monkeypatch)


def record(path: Path, program: Program, events: Events) -> object:
    with SpeckDevice(session=RecordingSession(SamnaSession(), path)) as device:
        device.load(program)
        return device.run(events, monitor=MONITOR)


@pytest.mark.parametrize("seed", range(5))
def test_a_replay_gives_the_same_trace_without_a_board(
    board: Board, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = stream(seed, "record")
    program = board_program(rng)
    events = random_events(rng, program.input_shape)
    trace = record(tmp_path / "it.jsonl", program, events)
    monkeypatch.undo()  # samna is gone
    session = ReplaySession(tmp_path / "it.jsonl")
    assert isinstance(session, BoardSession)
    with SpeckDevice(session=session) as device:
        device.load(program)
        require_same_trace(device.run(events, monitor=MONITOR), trace)
    assert session.is_over


def test_the_first_difference_stops_a_replay(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    record(path, neuron(4), pulses([1, 3_000]))
    device = SpeckDevice(session=ReplaySession(path))
    device.load(neuron(4))
    with pytest.raises(DeviceError, match=r"it\.jsonl line \d+: recorded is write_events.*3000.*asked.*3001"):
        device.run(pulses([1, 3_001]), monitor=MONITOR)
    with pytest.raises(DeviceError, match="recorded is apply"):
        SpeckDevice(session=ReplaySession(path)).load(neuron(5))


def test_a_replay_that_is_over_answers_nothing(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    record(path, neuron(4), pulses([1]))
    device = SpeckDevice(session=ReplaySession(path))
    device.load(neuron(4))
    device.run(pulses([1]), monitor=MONITOR)
    device.close()
    with pytest.raises(DeviceError, match="the recorded session is over, asked was open"):
        device.load(neuron(4))


def test_errors_are_recorded_and_raised_again(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    device = SpeckDevice(session=RecordingSession(SamnaSession(), path))
    device.load(neuron(4))
    board.is_unplugged = True
    with pytest.raises(DeviceLostError) as first:
        device.run(pulses([1]))
    again = SpeckDevice(session=ReplaySession(path))
    again.load(neuron(4))
    with pytest.raises(DeviceLostError) as second:
        again.run(pulses([1]))
    assert str(first.value) == str(second.value)


def test_a_time_out_is_replayed_without_waiting(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    device = SpeckDevice(session=RecordingSession(SamnaSession(), path), timeout_ms=50)
    device.load(neuron(4))
    board.is_mute = True
    with pytest.raises(DeviceTimeoutError):
        device.run(pulses([1]))
    device.close()
    again = SpeckDevice(session=ReplaySession(path), timeout_ms=50)
    again.load(neuron(4))
    with pytest.raises(DeviceTimeoutError):
        again.run(pulses([1]))


def test_nothing_said_writes_no_file(tmp_path: Path) -> None:
    SpeckDevice(session=RecordingSession(SamnaSession(), tmp_path / "it.jsonl")).close()
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_session(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "it.jsonl"
    with pytest.raises(DataError, match="cannot read"):
        ReplaySession(path)
    good = json.dumps({"schema": "chiploop.board-session/1"})
    for content, said in (
        ("", "no recorded session"),
        ("{", "no recorded session"),
        ('{"schema": "other"}', "should begin with"),
        (f'{good}\n{{"verb": "open"}}', "line 2 is no call"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=said):
            ReplaySession(path)
    line = {"verb": "read_events", "given": 10, "answer": [["Nonsense", 1]]}
    path.write_text(f"{good}\n{json.dumps(line)}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: no list of answers"):
        ReplaySession(path).read_events(10)
