"""The readout: by hand, and against a loop that counts in a list."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.chip.readout import IDLE, Readout, decide
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from strategies import events as streams


def spikes(pairs: list[tuple[int, int]], *, classes: int = 3, stop_us: int = 0, start_us: int = 0) -> Events:
    """Return events (time, class) of a core with one pixel a class."""
    t, c = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    stop = max(stop_us, int(t[-1]) + 1 if len(t) else 0)
    zeros = np.zeros(len(t), np.int64)
    return Events.from_columns(t, c, zeros, zeros, SensorShape(classes, 1, 1), start_us=start_us, stop_us=stop)


def loop(readout: Readout, outputs: Events) -> list[tuple[int, int]]:
    """Return (time, value) of every tick, in exact fractions."""
    _, height, width = outputs.shape
    columns = (outputs.t_us, outputs.channel, outputs.y, outputs.x)
    heard = [
        (t, (c * height + y) * width + x) for t, c, y, x in zip(*(column.tolist() for column in columns), strict=True)
    ]
    said, k = [], outputs.start_us // readout.tick_us
    while k * readout.tick_us < outputs.stop_us:
        now = (k + 1) * readout.tick_us
        recent = [c for t, c in heard if now - readout.average * readout.tick_us <= t < now]
        tally = {c: Fraction(recent.count(c), readout.average) for c in set(recent)}
        top = [c for c, average in tally.items() if average == max(tally.values())]
        over = len(top) == 1 and tally[top[0]] >= Fraction(readout.threshold)
        said.append((now, top[0] if over else IDLE))
        k += 1
    return said


def test_one_tick_at_a_time_by_hand() -> None:
    readout = Readout(tick_us=100, average=1, threshold=2.0)
    outputs = spikes([(0, 2), (99, 2), (100, 1), (210, 0), (220, 0), (299, 1), (300, 1), (310, 0), (350, 0), (390, 1)])
    said = readout.read(outputs)
    assert said.tick_us.tolist() == [100, 200, 300, 400]
    # two of class 2; one spike is under the threshold; two against one; two against two is a tie
    assert said.values.tolist() == [2, IDLE, 0, IDLE]
    assert said.averages.tolist() == [[0, 0, 2], [0, 1, 0], [2, 1, 0], [2, 2, 0]]
    assert said.pins == ((100, 2), (300, 0))
    assert said.decision == decide(readout, outputs) == 0


def test_sixteen_ticks_forget_what_lies_sixteen_ticks_back() -> None:
    # 8 spikes in tick 0 average to a half until tick 15, and are gone at tick 16.
    outputs = spikes([(5, 1)] * 8, stop_us=180)
    said = Readout(tick_us=10, average=16, threshold=0.5).read(outputs)
    assert said.averages[:, 1].tolist() == [0.5] * 16 + [0.0] * 2
    assert said.values.tolist() == [1] * 16 + [IDLE] * 2
    assert (said.pins, said.decision) == (((10, 1),), 1)
    assert Readout(tick_us=10, average=32, threshold=0.5).read(outputs).values.tolist() == [IDLE] * 18
    assert Readout(tick_us=10, average=32, threshold=0.25).read(outputs).values.tolist() == [1] * 18


def test_a_pin_moves_when_a_class_comes_back_from_idle_and_when_another_takes_over() -> None:
    outputs = spikes([(0, 0), (10, 0), (30, 0), (40, 2), (50, 2), (50, 2)], stop_us=70)
    said = Readout(tick_us=10, average=1, threshold=1.0).read(outputs)
    assert said.values.tolist() == [0, 0, IDLE, 0, 2, 2, IDLE]
    assert said.pins == ((10, 0), (40, 0), (50, 2))
    assert said.decision == 2


def test_ticks_keep_the_phase_of_the_clock_whenever_a_stream_starts() -> None:
    # The clock ticks at multiples of 10: a stream of [23, 41) is heard by ticks that end at 30, 40 and 50.
    said = Readout(tick_us=10, average=1, threshold=1.0).read(spikes([(29, 1), (40, 0)], start_us=23))
    assert list(zip(said.tick_us.tolist(), said.values.tolist(), strict=True)) == [(30, 1), (40, IDLE), (50, 0)]


def test_a_class_is_an_address_of_the_output_map() -> None:
    outputs = Events.from_columns([0, 0], [1, 1], [2, 2], [3, 3], SensorShape(2, 3, 4))
    assert decide(Readout(tick_us=5, average=1, threshold=2.0), outputs) == 1 * 12 + 2 * 4 + 3


@pytest.mark.parametrize("stop_us", [0, 50])
def test_silence_is_idle(stop_us: int) -> None:
    said = Readout(tick_us=10, average=16, threshold=0.1).read(spikes([], stop_us=stop_us))
    assert said.values.tolist() == [IDLE] * (stop_us // 10)
    assert (said.pins, said.decision) == ((), IDLE)


@given(
    streams(), st.integers(1, 400), st.sampled_from([1, 16, 32]), st.sampled_from([1 / 32, 1 / 16, 0.1, 0.25, 1.0, 2.0])
)
def test_the_readout_is_the_loop(outputs: Events, tick_us: int, average: int, threshold: float) -> None:
    readout = Readout(tick_us=tick_us, average=average, threshold=threshold)
    said = readout.read(outputs)
    expected = loop(readout, outputs)
    assert list(zip(said.tick_us.tolist(), said.values.tolist(), strict=True)) == expected
    changes = [(t, v) for (_, before), (t, v) in zip([(0, IDLE), *expected], expected, strict=False) if v != before]
    assert said.pins == tuple((t, v) for t, v in changes if v != IDLE)
    assert said.decision == ([IDLE] + [v for _, v in expected if v != IDLE])[-1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tick_us": 0}, "readout.tick_us = 0 must be at least 1 us"),
        ({"average": 8}, r"readout.average = 8 ticks must be one of \(1, 16, 32\)"),
        ({"threshold": 0.0}, "readout.threshold = 0.0 must be positive"),
        ({"threshold": float("inf")}, "readout.threshold = inf must be positive and finite"),
        ({"threshold": float("nan")}, "readout.threshold = nan"),
    ],
)
def test_what_no_readout_can_be_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Readout(**{"tick_us": 10, "average": 1, "threshold": 1.0, **fields})
