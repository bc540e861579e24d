"""When a run is over: after as many rounds of answers as there are cores, and not because time passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from chiploop.chip.hardware.board_session import (
    Answer,
    BoardSession,
    NeuronValue,
    Order,
    Other,
    ReadNeuron,
    ReadoutPin,
    Spike,
    WriteNeuron,
)
from chiploop.chip.hardware.conversation import MAX_ROUNDS, N_SAMPLED, Conversation
from chiploop.errors import DeviceTimeoutError, ReadoutError
from strategies_chip import one_core

MS = 1_000


class Pipeline:
    """A chain of cores of one neuron that pass each event on, only while a question pushes them.

    What stands before a question to core n has been passed to core n + 1 when it is answered, and nothing else moves.
    So an event needs one round a core, which is the slowest that a board with queues can be.
    """

    def __init__(self, n_cores: int) -> None:
        self.n_cores = n_cores
        self.inside: list[tuple[int, Spike]] = []  # which core has it waiting
        self.out: list[Answer] = []
        self.now = 0
        self.rounds = 0
        self.clock: list[int | None] = []

    def open(self) -> str:
        return "pipeline"

    def apply(self, configuration: Mapping[str, Any]) -> None:
        pass

    def restart_clock(self) -> None:
        self.now = 0

    def set_slow_clock(self, rate_hz: int | None) -> None:
        self.clock.append(rate_hz)

    def write_events(self, orders: Sequence[Order]) -> None:
        questions = [order for order in orders if isinstance(order, ReadNeuron)]
        self.rounds += bool(questions)
        moved: list[tuple[int, Spike]] = []
        for where, spike in self.inside if questions else []:
            if where == self.n_cores - 1:
                self.out.append(spike._replace(core=where))
            else:
                moved.append((where + 1, spike))
        if questions:
            self.inside = moved
        self.out += [NeuronValue(q.core, q.address, 7) for q in questions]
        self.inside += [(0, order) for order in orders if isinstance(order, Spike)]

    def read_events(self, timeout_ms: int) -> list[Answer]:
        out, self.out = self.out, []
        self.now += 0 if out else timeout_ms
        return out

    def now_ms(self) -> int:
        return self.now

    def close(self) -> None:
        pass


def cores(n: int) -> list[Any]:
    return [one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), core=c, layer=f"layer{c}") for c in range(n)]


def talk_to(session: Pipeline, *, timeout_ms: int = 100) -> Conversation:
    assert isinstance(session, BoardSession)
    return Conversation(session, cores(session.n_cores), timeout_ms=timeout_ms)


@pytest.mark.parametrize("n_cores", [1, 2, 5, 9])
def test_an_event_in_the_slowest_pipeline_is_waited_for(n_cores: int) -> None:
    session = Pipeline(n_cores)
    talk = talk_to(session)
    talk.play([Spike(0, 0, 0, 0, 0)], lasts_ms=0)
    assert talk.spikes == [Spike(0, n_cores - 1, 0, 0, 0)]
    assert session.inside == []
    assert session.rounds == n_cores + 1  # the one that brought the spike, and a quiet one


def test_a_run_lasts_its_time_and_so_does_the_slow_clock() -> None:
    session = Pipeline(1)
    talk_to(session).play([], lasts_ms=35, slow_clock_hz=50)
    assert session.now >= 35
    assert session.clock == [50, None]
    session = Pipeline(1)
    talk_to(session).play([], lasts_ms=0)
    assert session.clock == []


def test_states_are_asked_neuron_by_neuron_and_come_back_in_place() -> None:
    class Echo(Pipeline):
        def write_events(self, orders: Sequence[Order]) -> None:
            asked = [order for order in orders if isinstance(order, ReadNeuron)]
            self.out += [NeuronValue(core, address, 100 * core + address) for core, address in reversed(asked)]

    core = one_core(np.ones((1, 1, 1, 3), np.int8), (1, 2, 3), core=4)
    states = Conversation(Echo(1), [core], timeout_ms=100).read_states(4)
    # Two bits of channel, two of x: address = y << 4 | x << 2 | channel.
    assert states[2, 1, 2] == 400 + (1 << 4 | 2 << 2 | 2)
    assert states[0, 0, 1] == 404


def test_silence_is_a_time_out_that_says_who_owes_what() -> None:
    class Silent(Pipeline):
        def write_events(self, orders: Sequence[Order]) -> None:
            self.out += [NeuronValue(q.core, q.address, 0) for q in orders if isinstance(q, ReadNeuron) and q.core != 1]

    session = Silent(3)
    with pytest.raises(DeviceTimeoutError, match=r"nothing for 100 ms: 2 of 3 states read, core\(s\) \[1\] owe"):
        talk_to(session).play([], lasts_ms=0)
    assert 100 < session.now < 200


def test_a_board_that_goes_on_talking_is_not_timed_out() -> None:
    class Slow(Pipeline):
        n_reads = 0

        def read_events(self, timeout_ms: int) -> list[Answer]:
            self.now += 90
            self.n_reads += 1
            return super().read_events(timeout_ms) if self.n_reads % 20 == 0 else [Other("Heartbeat")]

    talk = talk_to(Slow(1))
    talk.play([], lasts_ms=0)
    assert talk.n_other == 19


def test_a_board_that_never_stops_spiking_is_refused() -> None:
    class Noisy(Pipeline):
        def write_events(self, orders: Sequence[Order]) -> None:
            super().write_events(orders)
            self.out.append(Spike(0, 0, 0, 0, 0))

    with pytest.raises(ReadoutError, match=f"after {MAX_ROUNDS} rounds"):
        talk_to(Noisy(1)).play([], lasts_ms=0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Spike(0, 5, 0, 0, 0), "core 5, which carries no layer"),
        (Spike(0, 0, 1, 0, 0), "outside core 0"),
        (Spike(0, 0, 0, 1, 0), "outside core 0"),
        (Spike(0, 0, 0, 0, 9), "outside core 0"),
        (Spike(-1, 0, 0, 0, 0), "outside core 0"),
        (NeuronValue(0, 3, 0), "state at 3, which was not asked for"),
        (NeuronValue(0, 0, 40_000), "40000 is no 16-bit state"),
    ],
)
def test_nonsense_is_refused(answer: Answer, said: str) -> None:
    session = Pipeline(1)
    session.out.append(answer)
    with pytest.raises(ReadoutError, match=said):
        talk_to(session).play([], lasts_ms=0)


def test_a_state_told_twice_is_refused() -> None:
    class Twice(Pipeline):
        def write_events(self, orders: Sequence[Order]) -> None:
            super().write_events(orders)
            self.out += self.out

    with pytest.raises(ReadoutError, match="not asked for"):
        talk_to(Twice(1)).play([], lasts_ms=0)


def test_what_came_before_is_thrown_away_and_counted() -> None:
    session = Pipeline(1)
    talk = talk_to(session)
    session.out += [Spike(0, 0, 0, 0, 0), NeuronValue(0, 3, 0), ReadoutPin(0, 1)]
    assert talk.begin() == 3
    assert (talk.spikes, talk.pins) == ([], [])


class Babbler(Pipeline):
    """A board that says things nobody asked for, without end."""

    def read_events(self, timeout_ms: int) -> list[Answer]:
        return [Other("Noise")] * 10_000


def test_a_board_that_never_falls_silent_is_an_error() -> None:
    with pytest.raises(ReadoutError, match="does not fall silent: 1,010,000 messages"):
        talk_to(Babbler(1)).begin()


def test_a_reset_writes_every_neuron_and_looks_at_some() -> None:
    class Memory(Pipeline):
        broken: int | None = None

        def __init__(self) -> None:
            super().__init__(1)
            self.memory = dict.fromkeys(range(256), -5)
            self.written: list[int] = []
            self.looked: list[int] = []

        def write_events(self, orders: Sequence[Order]) -> None:
            for order in orders:
                if isinstance(order, WriteNeuron):
                    self.written.append(order.address)
                    if order.address != self.broken:
                        self.memory[order.address] = order.value
                elif isinstance(order, ReadNeuron):
                    self.looked.append(order.address)
                    self.out.append(NeuronValue(0, order.address, self.memory[order.address]))

    core = one_core(np.ones((1, 1, 1, 3), np.int8), (1, 5, 7))
    session = Memory()
    talk = Conversation(session, [core], timeout_ms=100)
    talk.zero_states()
    assert len(set(session.written)) == 105
    assert len(session.looked) == N_SAMPLED
    assert {0, (4 << 5) | (6 << 2) | 2} <= set(session.looked)  # the first neuron and the last
    session.broken = (4 << 5) | (6 << 2) | 2
    session.memory[session.broken] = 12
    with pytest.raises(ReadoutError, match=r"\(channel, y, x\) = \(2, 4, 6\) holds 12 after a reset"):
        talk.zero_states()
    with pytest.raises(ReadoutError, match=r"\(2, 4, 6\) did not take the value 3"):
        talk.put_states({0: np.full((3, 5, 7), 3, np.int16)})
