"""The border to samna: absent, without a board, with an unknown version, with the wrong words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chiploop.chip.hardware import SpeckDevice, samna_session
from chiploop.chip.hardware.board_session import (
    BoardSession,
    NeuronValue,
    Other,
    ReadNeuron,
    ReadoutPin,
    Spike,
    WriteNeuron,
)
from chiploop.chip.hardware.samna_session import BOARDS, SamnaSession
from chiploop.errors import DeviceError, DeviceLostError
from fake_board import Board, DvsEvent, ReadoutPinValue
from strategies_board import connect
from strategies_chip import neuron


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return connect(Board(), monkeypatch)


def test_without_samna_loading_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "samna", None)
    device = SpeckDevice()  # no complaint yet
    with pytest.raises(DeviceError, match=r"pip install 'chiploop\[speck\]'.*ModuleNotFoundError"):
        device.load(neuron(4))


def test_samna_that_fails_at_its_import_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases on the public index fetch their native part when imported, and fail as that does."""

    def refuse(name: str) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(samna_session, "importlib", type("importlib", (), {"import_module": staticmethod(refuse)}))
    with pytest.raises(DeviceError, match=r"vendor's package index.*CalledProcessError"):
        SamnaSession().open()


def test_the_library_is_not_imported_before_a_board_is_opened() -> None:
    code = (
        "import sys\nfrom chiploop.chip.device import DEVICES\nDEVICES.get('speck')()\n"
        "assert 'samna' not in sys.modules and 'sinabs' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_half_a_connection_is_given_back(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board whose streams cannot be built is free again, and the next call opens it anew."""
    samna = sys.modules["samna"]
    graphs = samna.graph

    def broken() -> None:
        raise RuntimeError("no stream")

    session = SamnaSession()
    monkeypatch.setattr(samna, "graph", type("graph", (), {"EventFilterGraph": staticmethod(broken)}))
    with pytest.raises(DeviceLostError, match=r"failed while opening it .RuntimeError: no stream"):
        session.open()
    monkeypatch.setattr(samna, "graph", graphs)
    assert session.open() == board.name
    session.restart_clock()


def test_no_board(board: Board) -> None:
    board.is_unplugged = True
    with pytest.raises(DeviceLostError, match=r"no Speck board is connected and free .seen: nothing"):
        SamnaSession().open()


def test_another_board_than_the_wanted_one(board: Board) -> None:
    with pytest.raises(DeviceLostError, match=r"no Speck2eDevKit is connected and free .seen: \['Speck2fDevKit'\]"):
        SamnaSession("Speck2eDevKit").open()
    assert SamnaSession("Speck2fDevKit").open() == "Speck2fDevKit"


def test_a_board_nobody_knows() -> None:
    with pytest.raises(DeviceError, match="did you mean 'Speck2fDevKit'"):
        SamnaSession("Speck2fDevkit")
    assert set(BOARDS.values()) == {"speck2e", "speck2f"}


def test_opening_twice_is_opening_once_and_a_closed_board_is_free_again(board: Board) -> None:
    session = SamnaSession()
    assert isinstance(session, BoardSession)
    assert session.open() == session.open() == "Speck2fDevKit"
    session.close()
    session.close()
    assert SamnaSession().open() == "Speck2fDevKit"


def test_a_closed_session_says_so(board: Board) -> None:
    session = SamnaSession()
    for act in (lambda: session.read_events(1), session.restart_clock, lambda: session.write_events([])):
        with pytest.raises(DeviceLostError, match="not open"):
            act()


def test_a_field_that_samna_lacks_is_named(board: Board) -> None:
    session = SamnaSession()
    session.open()
    with pytest.raises(DeviceError, match=r"no configuration\.cnn_layers\[1\]\.dimensions\.colour"):
        session.apply({"cnn_layers": [{}, {"dimensions": {"colour": 1}}, *({} for _ in range(7))]})


def test_a_configuration_that_samna_refuses(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    session = SamnaSession()
    session.open()
    monkeypatch.setattr(sys.modules["samna"].speck2f, "validate_configuration", lambda config: (False, "too wide"))
    with pytest.raises(DeviceError, match="samna refuses this configuration: too wide"):
        session.apply({})
    assert board.applied == 0


def test_orders_become_samnas_events_field_by_field(board: Board) -> None:
    session = SamnaSession()
    session.open()
    session.write_events([Spike(70, 3, 5, 6, 7), ReadNeuron(4, 99), WriteNeuron(8, 77, -12)])
    spike, read, write = board.queue
    assert (spike.timestamp, spike.layer, spike.feature, spike.y, spike.x) == (70, 3, 5, 6, 7)
    assert (type(read).__name__, read.layer, read.address) == ("ReadNeuronValue", 4, 99)
    assert (type(write).__name__, write.layer, write.address, write.neuron_state) == ("WriteNeuronValue", 8, 77, -12)


def test_what_the_board_says_is_translated(board: Board) -> None:
    session = SamnaSession()
    session.open()
    samna = sys.modules["samna"].speck2f.event
    board.out += [
        samna.Spike(2, 3, 4, 5, 600),
        samna.NeuronValue(1, 8, -3),
        ReadoutPinValue(index=4, timestamp=12),
        DvsEvent(3),
    ]
    assert session.read_events(0) == [
        Spike(600, 2, 3, 4, 5),
        NeuronValue(1, 8, -3),
        ReadoutPin(12, 4),
        Other("DvsEvent"),
    ]


def test_the_clocks(board: Board) -> None:
    session = SamnaSession()
    session.open()
    board.now_us = 5_000
    session.restart_clock()
    assert (board.time_us, board.log) == (0, ["stopwatch True"])
    session.set_slow_clock(200)
    assert board.clock_us == 5_000
    session.set_slow_clock(None)
    assert board.clock_us is None
    assert session.now_ms() == 5


def test_whatever_samna_raises_is_a_lost_board_in_its_words(board: Board) -> None:
    session = SamnaSession()
    session.open()
    board.is_unplugged = True
    for act, doing in (
        (lambda: session.read_events(1), "reading from it"),
        (lambda: session.write_events([]), "writing to it"),
        (lambda: session.apply({}), "configuring it"),
        (session.restart_clock, "restarting its clock"),
        (lambda: session.set_slow_clock(None), "setting its slow clock"),
    ):
        with pytest.raises(DeviceLostError, match=f"{doing}.*RuntimeError: USB device not found"):
            act()
    session.close()  # nothing left to give back, and no complaint
