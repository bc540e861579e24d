"""The border to a board: what is said across it, and the few verbs that carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable


class Spike(NamedTuple):
    """An event: on the way in, to a core; on the way out, of a monitored core, before its pooling. Board time in us."""

    t_us: int
    core: int
    channel: int
    y: int
    x: int


class ReadNeuron(NamedTuple):
    """A question: the state at an address of a core's neuron memory. The answer is a `NeuronValue`."""

    core: int
    address: int


class WriteNeuron(NamedTuple):
    """An order: the state at an address of a core's neuron memory becomes `value`."""

    core: int
    address: int
    value: int


class NeuronValue(NamedTuple):
    """The state at an address of a core's neuron memory."""

    core: int
    address: int
    value: int


class ReadoutPin(NamedTuple):
    """The readout layer raised its pins: readout channel `channel` (from 1) is ahead. Board time in us."""

    t_us: int
    channel: int


class Other(NamedTuple):
    """Something the board said that nobody asked for, by the name of its kind."""

    kind: str


Order = Spike | ReadNeuron | WriteNeuron
Answer = Spike | NeuronValue | ReadoutPin | Other
Message = Order | Answer


@runtime_checkable
class BoardSession(Protocol):
    """A board, reduced to what a device needs of it; nothing here waits longer than it is told.

    The board's time counts microseconds from the last `restart_clock`; an event is let in when that time has come. What
    is written arrives in order. Every verb raises DeviceLostError when the board does not take part any more.
    """

    def open(self) -> str:
        """Connect to the board and return its name; opening an open session does nothing."""

    def apply(self, configuration: Mapping[str, Any]) -> None:
        """Give the board a configuration, as `speck_config` makes it; DeviceError when it is refused."""

    def restart_clock(self) -> None:
        """Set the board's time to zero."""

    def set_slow_clock(self, rate_hz: int | None) -> None:
        """Start the clock that adds biases and drives the readout, or stop it."""

    def write_events(self, orders: Sequence[Order]) -> None:
        """Send orders; those after a spike wait until it is let in."""

    def read_events(self, timeout_ms: int) -> list[Answer]:
        """Return what has arrived since the last call, waiting for something at most `timeout_ms`."""

    def now_ms(self) -> int:
        """Return the host's time; it never goes back."""

    def close(self) -> None:
        """Give the board back; closing a closed session does nothing."""
