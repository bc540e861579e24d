"""A board that computes what its configuration says, against the oracle that runs the program: the same, bit for bit.

The board is the fake one, which reads the vendor's fields and shares no code with the library; what is tested is the
whole way there and back: configuration, orders, completion, spikes, windows, potentials.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from chiploop.chip.device import Monitor, Trace
from chiploop.chip.dvs import DvsLayer, NoiseFilter
from chiploop.chip.hardware import SpeckDevice
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.program import Program
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from fake_board import Board
from strategies_board import biased_program, board_program, branched_program, connect
from strategies_chip import neuron, pulses, random_events, seeds

few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MS = 1_000


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return connect(Board(keeps_states=True), monkeypatch)


def require_same(board: Trace, oracle: Trace) -> None:
    """All that a board can see; saturations, floors and ticks are the chip's own."""
    assert board.outputs == oracle.outputs
    assert board.spikes == oracle.spikes
    for name in ("counts", "potentials"):
        mine, theirs = getattr(board, name), getattr(oracle, name)
        assert mine.keys() == theirs.keys()
        for layer in mine:
            np.testing.assert_array_equal(mine[layer], theirs[layer], err_msg=f"{name} of {layer}")
    assert board.lost == oracle.lost
    for layer, counters in oracle.counters.items():
        seen = board.counters[layer]
        assert (seen.events_in, seen.synops, seen.spikes) == (counters.events_in, counters.synops, counters.spikes)


def everything(program: Program, *edges: int) -> Monitor:
    layers = tuple(core.layer for core in program.cores)
    return Monitor(counts=layers, potentials=layers, spikes=layers, window_edges_us=edges)


def run_both(program: Program, events: Events, monitor: Monitor, **options: object) -> tuple[Trace, Trace]:
    traces = []
    for device in (SpeckDevice(**options), OracleDevice()):
        with device:
            device.load(program)
            traces.append(device.run(events, monitor=monitor))
    return traces[0], traces[1]


@pytest.mark.parametrize("make", [board_program, branched_program])
@few
@given(seed=seeds)
def test_windows_and_all_layers(board: Board, make: Callable[[np.random.Generator], Program], seed: int) -> None:
    rng = stream(seed, "board")
    program = make(rng)
    events = random_events(rng, program.input_shape, 12)
    edges = sorted({events.start_us, *(int(t) for t in rng.integers(1, events.stop_us + 1, 3)), events.stop_us + 5})
    require_same(*run_both(program, events, everything(program, *edges), slow_potentials=True))


@few
@given(seed=seeds)
def test_clocked_biases(board: Board, seed: int) -> None:
    rng = stream(seed, "board")
    program = biased_program(rng)
    times = np.sort(rng.choice(20 * MS, 8, replace=False))
    events = Events.from_columns(
        times, *(rng.integers(0, n, 8) for n in program.input_shape), program.input_shape, stop_us=20 * MS
    )
    layers = tuple(core.layer for core in program.cores)
    monitor = Monitor(potentials=layers, spikes=layers, window_edges_us=(0, 20 * MS))
    mine, theirs = run_both(program, events, monitor)
    require_same(mine, theirs)
    assert sum(counters.clocked for counters in theirs.counters.values()) > 0  # the clock did tick
    assert board.clock_us is None  # and stopped with the run


def test_the_sensor_layer_is_applied_on_the_host(board: Board) -> None:
    rng = stream(3, "sensor")
    program = board_program(stream(5, "board"))
    channels, height, width = program.input_shape
    layer = DvsLayer(
        in_shape=SensorShape(channels, 2 * height, 2 * width),
        hot_pixels=((0, 1),),
        noise=NoiseFilter(window_us=50),
        pool=1,
        mirror_x=True,
    )
    whole = dataclasses.replace(program, input_shape=layer.in_shape, dvs=layer)
    n = 300
    columns = (rng.integers(0, size, n) for size in layer.in_shape)
    events = Events.from_columns(np.sort(rng.integers(0, 900, n)), *columns, layer.in_shape, stop_us=1_000)
    mine, theirs = run_both(whole, events, everything(whole, 0, 1_000))
    require_same(mine, theirs)
    assert 0 < mine.metrics["dvs_dropped"] < n
    assert mine.metrics["dvs_dropped"] == theirs.metrics["dvs_dropped"]


def test_a_slow_board_stamps_late_and_loses_nothing(board: Board) -> None:
    rng = stream(1, "board")
    program = board_program(rng)
    events = random_events(rng, program.input_shape, 40)
    board.latency_us = late = events.duration_us
    mine, theirs = run_both(program, events, everything(program, events.start_us, events.stop_us))
    assert len(theirs.outputs[program.output_layer]) > 0
    assert mine.outputs[program.output_layer].stop_us > events.stop_us  # the end moved, no spike was dropped
    for layer, spikes in theirs.spikes.items():
        np.testing.assert_array_equal(mine.spikes[layer].t_us, spikes.t_us + late)
        np.testing.assert_array_equal(mine.counts[layer], theirs.counts[layer])
        np.testing.assert_array_equal(mine.potentials[layer], theirs.potentials[layer])


def test_late_spikes_count_in_the_window_that_was_played(board: Board) -> None:
    """Where the board stops at each edge, a spike belongs to the window whose input caused it, whenever it came."""
    board.latency_us = 400
    program = neuron(10)  # a spike for each event
    events = pulses([1, 2, 3, 6, 7], stop_us=10)
    mine, theirs = run_both(program, events, everything(program, 0, 5, 10), slow_potentials=True)
    assert mine.counts["layer0"].reshape(-1).tolist() == theirs.counts["layer0"].reshape(-1).tolist() == [3, 2]
    assert mine.outputs["layer0"].t_us.tolist() == [401, 402, 403, 406, 407]
