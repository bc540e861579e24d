"""The device: what it refuses, what a failing board does to it, readout, counters, batches between runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chiploop.chip.device import Monitor
from chiploop.chip.hardware import SpeckDevice
from chiploop.chip.hardware.board_streams import fan_out_map
from chiploop.chip.hardware.conversation import Conversation
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.program import Program, Target
from chiploop.chip.readout import Readout
from chiploop.errors import DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from fake_board import Board, NeuronValue, ReadoutPinValue, Spike
from strategies_board import board_program, connect
from strategies_chip import chain_of, neuron, one_core, pulses, random_events

WINDOWS = Monitor(potentials=("layer0",), window_edges_us=(0, 10, 20))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return connect(Board(keeps_states=True), monkeypatch)


@pytest.fixture
def device(board: Board) -> SpeckDevice:
    opened = SpeckDevice(timeout_ms=200)
    opened.load(neuron(4))
    return opened


def test_potentials_of_windows_are_refused_with_the_way_out(device: SpeckDevice) -> None:
    with pytest.raises(DeviceError, match=r"potentials at 2 edges.*slow_potentials=True"):
        device.run(pulses([1]), monitor=WINDOWS)
    with pytest.raises(DeviceError, match="stream 0 of the batch: potentials"):
        device.run_batch([pulses([1])], monitor=WINDOWS)
    one = dataclasses.replace(WINDOWS, window_edges_us=(0, 20))
    assert device.run(pulses([1, 2]), monitor=one).potentials["layer0"].tolist() == [[[[8]]]]


def test_slow_potentials_and_a_slow_clock_exclude_each_other(board: Board) -> None:
    core = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), bias=np.ones(1, np.int16))
    base = chain_of(dataclasses.replace(core, bias=None))
    device = SpeckDevice(slow_potentials=True)
    device.load(dataclasses.replace(base, cores=(core,), clock_us=1_000))
    with pytest.raises(DeviceError, match="stop the slow clock"):
        device.run(pulses([1]), monitor=WINDOWS)


def test_a_program_that_a_board_cannot_run_is_refused_before_the_board_is_touched(board: Board) -> None:
    with pytest.raises(DeviceError, match="cannot run this program"):
        SpeckDevice().load(neuron(4, spikes_per_update="all"))
    assert board.applied == 0


def test_layers_that_the_board_does_not_report_are_refused(board: Board) -> None:
    first = one_core(np.full((1, 1, 1, 1), 9, np.int8), (1, 1, 1), threshold=9, targets=(Target(1),))
    second = one_core(np.full((1, 1, 1, 1), 9, np.int8), (1, 1, 1), threshold=9, core=1, layer="layer1")
    device = SpeckDevice(monitor_layers=())
    device.load(chain_of(first, second))
    trace = device.run(pulses([1, 2]), monitor=Monitor(counts=("layer1",), window_edges_us=(0, 9)))
    assert trace.counts["layer1"].tolist() == [[[[2]]]]
    assert trace.counters == {}  # of layer0 nothing is known, and so not what layer1 heard
    for monitor in (Monitor(spikes=("layer0",)), Monitor(counts=("layer0",), window_edges_us=(0, 9))):
        with pytest.raises(DeviceError, match="does not report layer 'layer0'; add it to monitor_layers"):
            device.run(pulses([1]), monitor=monitor)
    with pytest.raises(DeviceError, match="did you mean 'layer1'"):
        SpeckDevice(monitor_layers=("layer_1",)).load(chain_of(first, second))


def test_recordings_longer_than_the_boards_clock_are_refused(device: SpeckDevice) -> None:
    with pytest.raises(DeviceError, match="32-bit clock"):
        device.run(pulses([1], stop_us=1 << 33))


def test_a_silent_board_times_out_and_wants_a_reset(device: SpeckDevice, board: Board) -> None:
    board.is_mute = True
    with pytest.raises(DeviceTimeoutError, match="nothing for 200 ms"):
        device.run(pulses([1]))
    board.is_mute = False
    with pytest.raises(DeviceError, match=r"states are not known.*reset\(\)"):
        device.run(pulses([1]))
    device.reset()
    assert len(device.run(pulses([1, 2, 3])).outputs["layer0"]) == 1  # 4 + 4 + 4 reaches 10 once, from zero


def test_a_lost_board_is_taken_up_again_by_loading(device: SpeckDevice, board: Board) -> None:
    board.is_unplugged = True
    with pytest.raises(DeviceLostError, match=r"USB device not found.*load the program again"):
        device.run(pulses([1]))
    with pytest.raises(DeviceError, match="call load"):
        device.run(pulses([1]))
    with pytest.raises(DeviceLostError, match="no Speck board is connected"):
        device.load(neuron(4))
    board.is_unplugged = False
    device.load(neuron(4))
    assert len(device.run(pulses([1, 2, 3])).outputs["layer0"]) == 1


def test_a_board_lost_in_a_batch(device: SpeckDevice, board: Board) -> None:
    device.run(pulses([1]))
    board.is_unplugged = True
    with pytest.raises(DeviceLostError):
        device.run_batch([pulses([1])])
    board.is_unplugged = False
    device.load(neuron(4))
    assert device.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]


@pytest.mark.parametrize("nonsense", [Spike(layer=5), Spike(feature=3), NeuronValue(address=9), Spike(timestamp=-1)])
def test_nonsense_is_a_readout_error_and_wants_a_reset(device: SpeckDevice, board: Board, nonsense: object) -> None:
    board.says = [nonsense]
    with pytest.raises(ReadoutError):
        device.run(pulses([1]))
    with pytest.raises(DeviceError, match="reset"):
        device.run_batch([])


def test_spikes_that_go_back_in_time_are_no_stream(device: SpeckDevice, board: Board) -> None:
    board.says = [Spike(timestamp=9), Spike(timestamp=3)]
    with pytest.raises(ReadoutError, match=r"make no stream.*times must not decrease"):
        device.run(pulses([1]))


def test_a_neuron_that_does_not_take_zero_is_found(board: Board) -> None:
    board.sticky = (0, 3)
    core = one_core(np.ones((1, 1, 1, 4), np.int8), (1, 1, 1))
    with pytest.raises(ReadoutError, match=r"core 0 \('layer0'\): neuron .* = \(3, 0, 0\) holds -\d+ after a reset"):
        SpeckDevice().load(chain_of(core))


def test_messages_of_an_earlier_time_are_counted_not_heard(device: SpeckDevice, board: Board) -> None:
    board.out += [Spike(timestamp=4), NeuronValue(), Spike(layer=7)]
    board.says = [ReadoutPinValue()]
    trace = device.run(pulses([1]))
    assert len(trace.outputs["layer0"]) == 0
    assert (trace.metrics["stray_messages"], trace.metrics["other_messages"]) == (3, 0)


def test_a_batch_between_two_runs_leaves_every_state_as_it_was(board: Board) -> None:
    rng = stream(4, "batch")
    program = board_program(rng)
    events = random_events(rng, program.input_shape, 60)
    device = SpeckDevice()
    device.load(program)
    device.run(events)
    before = {number: [list(map(list, plane)) for plane in core.v] for number, core in board.cores.items()}
    device.run_batch([events, random_events(rng, program.input_shape)])
    assert {number: core.v for number, core in board.cores.items()} == before
    assert any(v for core in before.values() for plane in core for line in plane for v in line)


def test_updates_are_counted_at_the_true_fan_out() -> None:
    core = one_core(np.ones((1, 3, 3, 2), np.int8), (1, 4, 5), stride=2, padding=1)
    # Neurons at rows -1, 1 and columns -1, 1, 3; rows 0..3 lie under 1, 2, 1, 1 of them, columns 0..4 under 1 2 1 2 1.
    assert fan_out_map(core).tolist() == [[2 * a * b for b in (1, 2, 1, 2, 1)] for a in (1, 2, 1, 1)]


def classifier() -> Program:
    weight = stream(1, "head").integers(-20, 60, (2, 2, 2, 3)).astype(np.int8)
    return chain_of(one_core(weight, (2, 2, 2), core=4, layer="head", threshold=80))


def test_with_a_readout_channels_are_spread_for_the_board_and_gathered_for_the_user(board: Board) -> None:
    rng = stream(2, "readout")
    program, shape = classifier(), SensorShape(2, 2, 2)
    t = np.sort(rng.integers(0, 9_000, 60))
    events = Events.from_columns(t, *(rng.integers(0, 2, 60) for _ in range(3)), shape, stop_us=10_000)
    monitor = Monitor(counts=("head",), potentials=("head",), spikes=("head",), window_edges_us=(0, 10_000))
    device = SpeckDevice(readout=Readout(tick_us=1_000, average=1, threshold=2.0))
    device.load(program)
    assert board.cores[4].features == 9
    board.says = [ReadoutPinValue(index=3, timestamp=1_000), ReadoutPinValue(index=1, timestamp=2_000)]
    mine = device.run(events, monitor=monitor)
    with OracleDevice() as oracle:
        oracle.load(program)
        theirs = oracle.run(events, monitor=monitor)
    assert len(theirs.outputs["head"]) > 0
    assert (mine.outputs, mine.spikes) == (theirs.outputs, theirs.spikes)
    np.testing.assert_array_equal(mine.counts["head"], theirs.counts["head"])
    np.testing.assert_array_equal(mine.potentials["head"], theirs.potentials["head"])
    assert mine.counters["head"].synops == theirs.counters["head"].synops
    assert device.pins == ((1_000, 2), (2_000, 0))  # the readout counts its channels from 1
    batch = device.run_batch([events])
    assert batch.output_counts[0].tolist() == theirs.counts["head"][0].reshape(-1).tolist()


def test_a_spike_of_a_channel_without_weights_is_nonsense(board: Board) -> None:
    device = SpeckDevice(readout=Readout(tick_us=1_000, average=1, threshold=2.0))
    device.load(classifier())
    board.says = [Spike(layer=4, feature=1, timestamp=1)]
    with pytest.raises(ReadoutError, match="cannot spike"):
        device.run(Events.empty(SensorShape(2, 2, 2), stop_us=5))


def test_a_time_out_of_nothing_is_refused() -> None:
    with pytest.raises(DeviceError, match="timeout_ms = 0"):
        SpeckDevice(timeout_ms=0)


def test_a_spike_while_potentials_are_read_is_no_silent_loss(
    device: SpeckDevice, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_states = Conversation.read_states

    def late(self: Conversation, core: int) -> np.ndarray:
        board.says = [Spike(timestamp=2)]
        return read_states(self, core)

    monkeypatch.setattr(Conversation, "read_states", late)
    with pytest.raises(ReadoutError, match=r"1 spike\(s\) came while potentials were read"):
        device.run(pulses([1]), monitor=dataclasses.replace(WINDOWS, window_edges_us=(0, 9)))
