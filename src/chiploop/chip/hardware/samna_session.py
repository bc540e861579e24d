"""Every call of the vendor's library `samna`, in one place; it is imported when a board is opened, not before."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from chiploop.chip.hardware.board_session import (
    Answer,
    NeuronValue,
    Order,
    Other,
    ReadNeuron,
    ReadoutPin,
    Spike,
    WriteNeuron,
)
from chiploop.errors import DeviceError, DeviceLostError, nearest

BOARDS = {
    "Speck2fModuleDevKit": "speck2f",
    "Speck2fDevKit": "speck2f",
    "Speck2eDevKit": "speck2e",
    "Speck2eTestBoard": "speck2e",
}
"""Boards by the name that samna gives their type, and the module of samna that speaks to them."""
MOST_AT_ONCE = 1 << 16
"""Most events that one look takes from samna's buffer."""


class SamnaSession:
    """A Speck board through samna: written against its documented interface, never run on a board by this project.

    `board` is the name of the board's type, or None for the first one that is connected. Whatever samna raises
    becomes a DeviceLostError with its words.
    """

    def __init__(self, board: str | None = None) -> None:
        if board is not None and board not in BOARDS:
            raise DeviceError(f"board {board!r}: {nearest(board, BOARDS)}")
        self._wanted = board
        self._samna: Any = None
        self._board: Any = None
        self._chip: Any = None  # samna.speck2f, for instance
        self._graphs: list[Any] = []
        self._source: Any = None
        self._sink: Any = None
        self._name = ""

    def open(self) -> str:
        """Connect to the board and return its name; raises DeviceLostError when none is there."""
        if self._board is not None:
            return self._name
        self._samna = _import_samna()
        with self._border("opening it"):
            found = {info.device_type_name: info for info in reversed(self._samna.device.get_unopened_devices())}
            names = [name for name in found if name in BOARDS and self._wanted in (None, name)]
            if not names:
                wanted = self._wanted or "Speck board"
                raise DeviceLostError(f"no {wanted} is connected and free (seen: {sorted(found) or 'nothing'})")
            self._name = names[-1]  # the first that samna names
            self._chip = getattr(self._samna, BOARDS[self._name])
            self._board = self._samna.device.open_device(found[self._name])
            try:
                self._connect(BOARDS[self._name])
            except BaseException:
                self.close()  # half a connection would pass for an open board at the next call
                raise
        return self._name

    def apply(self, configuration: Mapping[str, Any]) -> None:
        """Fill samna's configuration, have samna check it, and give it to the board."""
        with self._border("configuring it"):
            filled = self._chip.configuration.SpeckConfiguration()
            _fill(filled, configuration, "configuration")
            good, message = self._chip.validate_configuration(filled)
            if not good:
                raise DeviceError(f"samna refuses this configuration: {message}")
            self._board.get_model().apply_configuration(filled)

    def restart_clock(self) -> None:
        """Set the board's stopwatch to zero and let it stamp events."""
        with self._border("restarting its clock"):
            watch = self._board.get_stop_watch()
            watch.set_enable_value(True)
            watch.reset()

    def set_slow_clock(self, rate_hz: int | None) -> None:
        """Start the board's slow clock, or stop it."""
        with self._border("setting its slow clock"):
            io = self._board.get_io_module()
            if rate_hz is not None:
                io.set_slow_clk_rate(rate_hz)
            io.set_slow_clk(rate_hz is not None)

    def write_events(self, orders: Sequence[Order]) -> None:
        """Send orders."""
        with self._border("writing to it"):
            self._source.write([self._event(order) for order in orders])

    def read_events(self, timeout_ms: int) -> list[Answer]:
        """Return what has arrived."""
        with self._border("reading from it"):
            return [_answer(event) for event in self._sink.get_n_events(MOST_AT_ONCE, timeout_ms)]

    def now_ms(self) -> int:
        """Return the host's monotonic time."""
        return time.monotonic_ns() // 1_000_000

    def close(self) -> None:
        """Stop the streams and give the board back; a board that is gone already is no error."""
        board, self._board = self._board, None
        if board is None:
            return
        try:
            for graph in self._graphs:
                graph.stop()
            self._samna.device.close_device(board)
        except Exception:  # samna names no types; there is nothing left to give back
            pass
        self._graphs = []

    def _connect(self, chip: str) -> None:
        model = self._board.get_model()
        self._source = getattr(self._samna, f"BasicSourceNode_{chip}_event_input_event")()
        self._sink = getattr(self._samna, f"BasicSinkNode_{chip}_event_output_event")()
        for nodes in ([self._source, model.get_sink_node()], [model.get_source_node(), self._sink]):
            graph = self._samna.graph.EventFilterGraph()
            graph.sequential(nodes)
            graph.start()
            self._graphs.append(graph)

    def _event(self, order: Order) -> Any:
        made = getattr(self._chip.event, _KINDS[type(order)])()
        if isinstance(order, Spike):
            made.layer, made.feature, made.y, made.x = order.core, order.channel, order.y, order.x
            made.timestamp = order.t_us
        else:
            made.layer, made.address = order.core, order.address
        if isinstance(order, WriteNeuron):
            made.neuron_state = order.value
        return made

    @contextmanager
    def _border(self, doing: str) -> Iterator[None]:
        """Turn whatever samna raises into an error that says what was being done."""
        if self._board is None and doing != "opening it":
            raise DeviceLostError("the board is not open; load a program first")
        try:
            yield
        except DeviceError:
            raise
        except Exception as error:  # samna names no types of its own
            raise DeviceLostError(
                f"the board {self._name or self._wanted or ''} failed while {doing} "
                f"({type(error).__name__}: {error}); check the cable and load the program again"
            ) from error


_KINDS: dict[type, str] = {Spike: "Spike", ReadNeuron: "ReadNeuronValue", WriteNeuron: "WriteNeuronValue"}


def _import_samna() -> Any:
    try:
        return importlib.import_module("samna")
    except Exception as error:  # what it raises without its native part depends on its version
        raise DeviceError(
            "the device 'speck' needs the vendor's library samna: pip install 'chiploop[speck]', on a machine that "
            f"reaches the vendor's package index at the first import ({type(error).__name__}: {error})"
        ) from error


def _fill(target: Any, plain: Any, where: str) -> None:
    """Set the fields of samna's nested objects, those of lists one by one; a field that samna lacks is an error."""
    for key, value in plain.items():
        at = f"{where}.{key}"
        if not hasattr(target, key):
            raise DeviceError(f"this version of samna has no {at}; use one that knows the board's configuration")
        if isinstance(value, Mapping):
            _fill(getattr(target, key), value, at)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for i, (entry, one) in enumerate(zip(getattr(target, key), value, strict=True)):
                _fill(entry, one, f"{at}[{i}]")
        else:
            setattr(target, key, value)


def _answer(event: Any) -> Answer:
    kind = type(event).__name__
    if kind == "Spike":
        return Spike(int(event.timestamp), int(event.layer), int(event.feature), int(event.y), int(event.x))
    if kind == "NeuronValue":
        return NeuronValue(int(event.layer), int(event.address), int(event.neuron_state))
    if kind == "ReadoutPinValue":
        return ReadoutPin(int(event.timestamp), int(event.index))
    return Other(kind)
