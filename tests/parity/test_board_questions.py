"""Questions that only silicon can answer, asked of a board: pytest -m hardware, with a Speck board connected.

Each is a claim of the chip's contract, small enough that one wrong answer points at one cause. Without the marker the
same questions go to the fake board, which shows that they can be asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from chiploop.chip.device import Monitor, Trace
from chiploop.chip.hardware import SpeckDevice
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.program import Program, Target
from chiploop.events.types import Events, SensorShape
from fake_board import Board
from strategies_board import connect
from strategies_chip import chain_of, neuron, one_core, pulses

MS = 1_000


@pytest.fixture(params=["fake", pytest.param("silicon", marks=pytest.mark.hardware)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpeckDevice]:
    if request.param == "fake":
        connect(Board(keeps_states=True), monkeypatch)
    with SpeckDevice() as opened:
        yield opened


def states_of(device: SpeckDevice, program: Program, events: Events) -> np.ndarray:
    layer = program.output_layer
    device.load(program)
    monitor = Monitor(potentials=(layer,), window_edges_us=(events.start_us, events.stop_us))
    return device.run(events, monitor=monitor).potentials[layer][0]


def test_reaching_the_threshold_exactly_fires(device: SpeckDevice) -> None:
    device.load(neuron(127, threshold=127))
    assert len(device.run(pulses([5 * MS])).outputs["layer0"]) == 1


def test_one_update_gives_one_spike_and_the_surplus_waits_for_the_next_event(device: SpeckDevice) -> None:
    square = one_core(np.array([[[[90], [0]], [[0], [0]]]], np.int8), (1, 2, 2), threshold=30)
    device.load(chain_of(square))
    two_pixels = Events.from_columns(
        [0, 5 * MS, 10 * MS, 15 * MS], [0] * 4, [0, 1, 1, 1], [0, 1, 1, 1], SensorShape(1, 2, 2), stop_us=20 * MS
    )
    # 90 is three thresholds of 30: a spike now, and one with each of the next two events, whose weight is zero.
    assert len(device.run(two_pixels).outputs["layer0"]) == 3


def test_the_floor_comes_before_the_threshold(device: SpeckDevice) -> None:
    kernel = np.array([[[[-100], [25]], [[0], [0]]]], np.int8)
    program = chain_of(one_core(kernel, (1, 2, 2), threshold=20, floor=-7))
    events = Events.from_columns([0, 5 * MS], [0, 0], [0, 0], [0, 1], SensorShape(1, 2, 2), stop_us=10 * MS)
    # -100 stops at -7; 25 more make 18, below 20. Without the floor -75 would be left.
    assert states_of(device, program, events).item() == 18


def test_states_lie_where_the_address_says_on_a_wide_map(device: SpeckDevice) -> None:
    """Sixteen rows of 64: a formula that shifts y by its own bits finds other neurons than those updated."""
    shape = SensorShape(1, 16, 64)
    program = chain_of(one_core(np.array([[[[3, 5, 7, 9]]]], np.int8), shape, threshold=1_000))
    at = [(0, 0), (0, 63), (15, 0), (15, 63), (3, 40), (9, 17)]
    events = Events.from_columns(
        [MS * i for i in range(6)], [0] * 6, [y for y, _ in at], [x for _, x in at], shape, stop_us=10 * MS
    )
    states = states_of(device, program, events)
    assert sorted({(y, x) for _, y, x in np.argwhere(states).tolist()}) == sorted(at)
    for y, x in at:
        assert states[:, y, x].tolist() == [3, 5, 7, 9]


def test_kernels_are_not_transposed_or_turned(device: SpeckDevice) -> None:
    kernel = np.arange(1, 10, dtype=np.int8).reshape(1, 3, 3, 1)  # [C, ky, kx, F]
    program = chain_of(one_core(kernel, (1, 5, 6), threshold=1_000))
    event = Events.from_columns([MS], [0], [2], [3], SensorShape(1, 5, 6), stop_us=5 * MS)
    states = states_of(device, program, event)
    # Neuron (oy, ox) hears pixel (2, 3) through ky = 2 - oy, kx = 3 - ox.
    assert states[0].tolist() == [[0, 9, 8, 7], [0, 6, 5, 4], [0, 3, 2, 1]]


def test_pooling_drops_what_fills_no_window(device: SpeckDevice) -> None:
    way = Target(1, pool=1)
    first = one_core(np.array([[[[9]]]], np.int8), (1, 5, 5), threshold=9, targets=(way,))
    second = one_core(np.array([[[[1]]]], np.int8), (1, 2, 2), threshold=1_000, core=1, layer="layer1")
    every = [(y, x) for y in range(5) for x in range(5)]
    events = Events.from_columns(
        [MS * i for i in range(25)],
        [0] * 25,
        [y for y, _ in every],
        [x for _, x in every],
        SensorShape(1, 5, 5),
        stop_us=30 * MS,
    )
    assert states_of(device, chain_of(first, second), events).tolist() == [[[4, 4], [4, 4]]]


def test_a_chain_spikes_in_the_contracts_order(device: SpeckDevice) -> None:
    rng = np.random.default_rng(7)
    shape = SensorShape(2, 6, 6)
    first = one_core(
        rng.integers(-20, 60, (2, 3, 3, 4)).astype(np.int8), shape, core=2, threshold=60, pool=1, targets=(Target(3),)
    )
    head = one_core(
        rng.integers(-20, 60, (4, 2, 2, 5)).astype(np.int8), (4, 2, 2), core=3, layer="head", threshold=60, floor=-90
    )
    program = chain_of(first, head)
    n = 40
    columns = (rng.integers(0, size, n) for size in shape)
    events = Events.from_columns(np.arange(n) * MS, *columns, shape, stop_us=n * MS)
    monitor = Monitor(spikes=("layer0", "head"))
    traces: list[Trace] = []
    with OracleDevice() as oracle:
        for one in (oracle, device):
            one.load(program)
            traces.append(one.run(events, monitor=monitor))
    for layer in monitor.spikes:
        expected, found = (trace.spikes[layer] for trace in traces)
        assert len(expected) > 0
        for column in ("channel", "y", "x"):
            assert getattr(found, column).tolist() == getattr(expected, column).tolist(), layer
