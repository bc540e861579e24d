"""A conversation with a board: runs that end when the board has shown that it is done, states read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.hardware.board_session import (
    Answer,
    BoardSession,
    NeuronValue,
    ReadNeuron,
    ReadoutPin,
    Spike,
    WriteNeuron,
)
from chiploop.chip.hardware.neuron_address import neuron_addresses, neuron_at
from chiploop.chip.program import STATE_MAX, STATE_MIN, CoreConfig
from chiploop.errors import DeviceTimeoutError, ReadoutError

POLL_MS = 10
"""Longest that one look for answers waits."""
MAX_ROUNDS = 1_000
"""Rounds of questions after which a board that still spikes is taken for broken."""
MAX_STRAY = 1_000_000
"""Messages of an earlier time after which a board is taken for broken."""
N_SAMPLED = 64
"""Neurons of each core that are looked at after a reset."""


class Conversation:
    """What a device says to the board that carries these cores, and what it hears.

    A run is over when every core, asked for a state after the input, has answered as many times as there are cores and
    the last round brought no spike. A core answers after the events that stood before the question, and its spikes
    stand before the next question to the core they go to; so after round n the first n cores of any way are done.
    Nothing is taken for done because time passed: when nothing at all arrives for `timeout_ms`, DeviceTimeoutError is
    raised.
    """

    def __init__(self, session: BoardSession, cores: Sequence[CoreConfig], *, timeout_ms: int) -> None:
        self._session = session
        self._cores = {core.core: core for core in cores}
        self._addresses = {core.core: neuron_addresses(core.neuron_shape) for core in cores}
        self._timeout_ms = timeout_ms
        self._values: dict[tuple[int, int], int] = {}
        self._asked: set[tuple[int, int]] = set()
        self.spikes: list[Spike] = []
        self.pins: list[ReadoutPin] = []
        self.n_other = 0

    def begin(self) -> int:
        """Forget what was heard, and return how many messages of an earlier time were thrown away.

        ReadoutError when they do not end.
        """
        n_stray = 0
        while stray := self._session.read_events(0):
            n_stray += len(stray)
            if n_stray > MAX_STRAY:
                raise ReadoutError(
                    f"the board does not fall silent: {n_stray:,} messages, and nothing was asked; turn it off and on"
                )
        self.spikes, self.pins, self.n_other = [], [], 0
        return n_stray

    def play(self, spikes: Sequence[Spike], *, lasts_ms: int, slow_clock_hz: int | None = None) -> None:
        """Send spikes, each due at its time from now, and hear everything until the board is done.

        It is not done before `lasts_ms` have passed. The slow clock, if any, runs for that long.
        """
        self._session.restart_clock()
        begun = self._session.now_ms()
        if slow_clock_hz is not None:
            self._session.set_slow_clock(slow_clock_hz)
        self._session.write_events(spikes)
        while (left := begun + lasts_ms - self._session.now_ms()) > 0:
            self._hear(min(left, POLL_MS))
        if slow_clock_hz is not None:
            self._session.set_slow_clock(None)
        for n_rounds in range(1, MAX_ROUNDS + 1):
            before = len(self.spikes)
            self._ask([ReadNeuron(core, 0) for core in self._cores])
            if n_rounds >= len(self._cores) and len(self.spikes) == before:
                return
        raise ReadoutError(f"the board still spikes after {MAX_ROUNDS} rounds of questions; reset it")

    def read_states(self, core: int) -> NDArray[np.int16]:
        """Return the potentials of a core, int16[F, H, W]."""
        addresses = self._addresses[core]
        answers = self._ask([ReadNeuron(core, int(address)) for address in addresses.flat])
        flat = [answers[core, int(address)] for address in addresses.flat]
        return np.array(flat, np.int16).reshape(addresses.shape)

    def put_states(self, states: Mapping[int, NDArray[np.int16]]) -> None:
        """Set the potentials of cores, int16[F, H, W] each, and make sure: ReadoutError where one did not take."""
        self._write_states(states)
        for core, values in states.items():
            differs = np.argwhere(self.read_states(core) != values)
            if len(differs):
                at = tuple(int(i) for i in differs[0])
                raise ReadoutError(f"core {core}: neuron (channel, y, x) = {at} did not take the value {values[at]}")

    def zero_states(self) -> None:
        """Set every potential to zero, then look at some: ReadoutError when one is not."""
        self._write_states({core: np.zeros(there.shape, np.int16) for core, there in self._addresses.items()})
        for core, there in self._addresses.items():
            picked = np.unique(np.linspace(0, there.size - 1, min(N_SAMPLED, there.size)).astype(np.int64))
            answers = self._ask([ReadNeuron(core, int(there.flat[i])) for i in picked])
            for (_, address), value in answers.items():
                if value != 0:
                    at = neuron_at(address, self._cores[core].neuron_shape)
                    raise ReadoutError(
                        f"core {core} ({self._cores[core].layer!r}): neuron (channel, y, x) = {at} holds {value} after "
                        "a reset; power the board off and on"
                    )

    def _write_states(self, states: Mapping[int, NDArray[np.int16]]) -> None:
        for core, values in states.items():
            flat = zip(self._addresses[core].flat, values.flat, strict=True)
            self._session.write_events([WriteNeuron(core, int(address), int(value)) for address, value in flat])

    def _ask(self, questions: Sequence[ReadNeuron]) -> dict[tuple[int, int], int]:
        """Return the answer to each question, hearing everything else meanwhile."""
        self._values, self._asked = {}, {(q.core, q.address) for q in questions}
        self._session.write_events(questions)
        deadline = self._session.now_ms() + self._timeout_ms
        while len(self._values) < len(questions):
            if self._hear(POLL_MS):
                deadline = self._session.now_ms() + self._timeout_ms
            elif self._session.now_ms() > deadline:
                missing = sorted({core for core, _ in self._asked})
                raise DeviceTimeoutError(
                    f"the board said nothing for {self._timeout_ms} ms: {len(self._values)} of {len(questions)} states "
                    f"read, core(s) {missing} owe the rest; a core with too much to do stalls the chip. Reset it, send "
                    "fewer events, or give the device a larger timeout_ms"
                )
        return self._values

    def _hear(self, timeout_ms: int) -> int:
        """Take in what has arrived, and return how much it was."""
        answers = self._session.read_events(timeout_ms)
        for answer in answers:
            self._take(answer)
        return len(answers)

    def _take(self, answer: Answer) -> None:
        if isinstance(answer, Spike):
            self.spikes.append(self._checked(answer))
        elif isinstance(answer, NeuronValue):
            where = answer.core, answer.address
            if where not in self._asked:
                raise ReadoutError(f"core {answer.core} told the state at {answer.address}, which was not asked for")
            if not STATE_MIN <= answer.value <= STATE_MAX:
                raise ReadoutError(f"core {answer.core}, address {answer.address}: {answer.value} is no 16-bit state")
            self._asked.discard(where)
            self._values[where] = answer.value
        elif isinstance(answer, ReadoutPin):
            self.pins.append(answer)
        else:
            self.n_other += 1

    def _checked(self, spike: Spike) -> Spike:
        core = self._cores.get(spike.core)
        if core is None:
            raise ReadoutError(f"a spike of core {spike.core}, which carries no layer")
        features, height, width = core.neuron_shape
        inside = 0 <= spike.channel < features and 0 <= spike.y < height and 0 <= spike.x < width
        if not inside or spike.t_us < 0:
            raise ReadoutError(f"{spike} lies outside core {spike.core} ({core.layer!r}), {tuple(core.neuron_shape)}")
        return spike
