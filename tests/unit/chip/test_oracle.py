"""The oracle's graphs and clock in instant time, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.device import Counters, Monitor
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.program import Target
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from small_chips import core, graph, on_channels, relay, rows, run
from strategies_chip import neuron, pulses

# ---- merges and branches


def test_a_tie_is_heard_in_the_order_of_the_cores_not_of_the_stream() -> None:
    # Core 7 (position 0) relays channel 0, core 3 (position 1) channel 1; both reach core 1, on channels 0 and 1, which
    # weigh +10 and -10 at threshold 10. At t = 5 channel 1 comes first in the stream. Core 7's event is heard first all
    # the same: +10 fires, then -10 is left. (In the stream's order: -10, then 0, no spike.)
    cores = (
        core(7, [9, 0], (2, 1, 1), threshold=9, targets=(Target(1),)),
        core(3, [0, 9], (2, 1, 1), threshold=9, targets=(Target(1, shift=1),)),
        core(1, [10, -10], (2, 1, 1), threshold=10),
    )
    program = graph(*cores, inputs=(Target(7), Target(3)), outputs=(1,), input_shape=SensorShape(2, 1, 1))
    trace = run(program, on_channels([5, 5], [1, 0], 2), 0, 6)
    assert rows(trace.outputs["L1"]) == [(5, 0, 0, 0)]
    assert trace.potentials["L1"].item() == -10
    assert [trace.counters[layer].events_in for layer in ("L7", "L3", "L1")] == [2, 2, 2]


def test_the_input_is_heard_before_every_core() -> None:
    # The input reaches core 1 as well, on channel 1 (weight -4); the relay's event is +10 on channel 0. At t = 3:
    # -4 first, then +10 -> 6, below the threshold of 10. At t = 4: 6 - 4 = 2, 2 + 10 = 12 fires and leaves 2.
    # (With the relay first: 10 fires at t = 3.)
    cores = (relay(0, Target(1)), core(1, [10, -4], (2, 1, 1), threshold=10))
    program = graph(*cores, inputs=(Target(0), Target(1, shift=1)), outputs=(1,))
    trace = run(program, pulses([3, 4]), 0, 4, 5)
    assert trace.potentials["L1"].reshape(-1).tolist() == [6, 2]
    assert trace.outputs["L1"].t_us.tolist() == [4]


def test_time_comes_before_the_source() -> None:
    # Channel 0 through core 0 (position 0) at t = 2, the input itself at t = 1 and t = 3.
    cores = (core(0, [9, 0], (2, 1, 1), threshold=9, targets=(Target(1),)), core(1, [1, 2, 4], (3, 1, 1), threshold=99))
    program = graph(*cores, inputs=(Target(0), Target(1, shift=1)), outputs=(1,), input_shape=SensorShape(2, 1, 1))
    # Input channel 0 arrives at core 1 as channel 1 (weight 2), channel 1 as channel 2 (4), the relay as channel 0 (1).
    trace = run(program, on_channels([1, 2, 3], [1, 0, 1], 2), 0, 2, 3, 4)
    assert trace.potentials["L1"].reshape(-1).tolist() == [4, 4 + 2 + 1, 11]


def test_a_source_heard_twice_comes_target_by_target() -> None:
    # One event arrives on channel 0 (+10) and then on channel 1 (-10): fires, and -10 is left.
    program = graph(core(0, [10, -10], (2, 1, 1), threshold=10), inputs=(Target(0), Target(0, shift=1)), outputs=(0,))
    trace = run(program, pulses([2]), 0, 3)
    assert (len(trace.outputs["L0"]), trace.potentials["L0"].item()) == (1, -10)
    turned = graph(core(0, [10, -10], (2, 1, 1), threshold=10), inputs=program.inputs[::-1], outputs=(0,))
    trace = run(turned, pulses([2]), 0, 3)
    assert (len(trace.outputs["L0"]), trace.potentials["L0"].item()) == (0, 0)


def test_two_targets_with_their_own_pools_and_a_shift() -> None:
    # A relay on 7 x 7, pooled by 2 in the core: 3 x 3 leave. One target takes them as they are, on channels 2 and 3 of
    # 4 (the input fills 0 and 1, pooled by 2); the other pools by 2 once more: 1 x 1.
    shape = (2, 7, 7)
    cores = (
        relay(4, Target(2, shift=2), Target(8, pool=1), in_shape=shape, pool=1),
        relay(2, in_shape=(4, 3, 3)),
        relay(8, in_shape=(2, 1, 1)),
    )
    program = graph(*cores, inputs=(Target(4), Target(2, pool=1)), outputs=(8, 2, 4), input_shape=SensorShape(*shape))
    y, x, c = [3, 6, 5, 0], [2, 0, 1, 5], [1, 0, 0, 1]
    trace = run(program, Events.from_columns([0, 1, 2, 3], c, y, x, SensorShape(*shape)))
    assert program.output_layer == "L8"
    # (3, 2) -> (1, 1); (6, 0) fills no window; (5, 1) -> (2, 0); (0, 5) -> (0, 2)
    assert rows(trace.outputs["L4"]) == [(0, 1, 1, 1), (2, 0, 2, 0), (3, 1, 0, 2)]
    assert rows(trace.outputs["L2"]) == [
        *[(0, 1, 1, 1), (0, 3, 1, 1)],  # input first, then core 4, on channel 1 + 2
        *[(2, 0, 2, 0), (2, 2, 2, 0)],
        *[(3, 1, 0, 2), (3, 3, 0, 2)],
    ]
    # Of the 3 x 3 only (0..1, 0..1) fill the one window of 2.
    assert rows(trace.outputs["L8"]) == [(0, 1, 0, 0)]
    assert [trace.counters[layer].events_in for layer in ("L4", "L2", "L8")] == [4, 6, 1]
    assert trace.counters["L4"].spikes == 4


def test_inner_outputs_leave_as_well_and_batches_report_the_first_one() -> None:
    cores = (relay(0, Target(1)), core(1, 5, threshold=10))
    program = graph(*cores, inputs=(Target(0),), outputs=(0, 1))
    device = OracleDevice()
    device.load(program)
    trace = device.run(pulses([1, 2, 3]))
    assert {layer: len(out) for layer, out in trace.outputs.items()} == {"L0": 3, "L1": 1}
    assert device.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[3]]
    device.load(graph(*cores, inputs=(Target(0),), outputs=(1, 0)))
    batch = device.run_batch([pulses([1, 2, 3]), pulses([1])])
    assert (batch.output_counts.tolist(), batch.output_potentials.tolist()) == ([[1], [0]], [[5], [5]])


# ---- the slow clock


def test_a_clock_edge_comes_before_the_events_of_its_time() -> None:
    # Bias -5, floor 0, clock 10: at t = 10 the edge finds 0 and leaves 0 (floored), then 10 >= 8 fires and leaves 2.
    # (After the event, the edge would have left 0.)
    program = neuron(10, threshold=8, floor=0, bias=np.array([-5]), clock_us=10)
    trace = run(program, pulses([10]), 0, 11)
    assert (trace.potentials["layer0"].item(), trace.counters["layer0"].floored) == (2, 2)


def test_an_edge_comes_before_spikes_of_its_time_from_another_core() -> None:
    # Core 0's bias fires at every edge; core 1 (weight 10, bias -5, floor 0, threshold 8) has had its own edge by then.
    cores = (
        core(0, 0, threshold=6, bias=np.array([6]), targets=(Target(1),)),
        core(1, 10, threshold=8, floor=0, bias=np.array([-5])),
    )
    program = graph(*cores, inputs=(Target(0),), outputs=(1,), clock_us=10)
    trace = run(program, pulses([], stop_us=15), 0, 5, 15)
    assert trace.spikes["L0"].t_us.tolist() == [0, 10]
    # t = 0: floored 0, fires, 2 left. t = 10: 2 - 5 floored to 0, fires, 2 left.
    assert trace.outputs["L1"].t_us.tolist() == [0, 10]
    assert trace.potentials["L1"].reshape(-1).tolist() == [2, 2]
    assert trace.counters["L1"] == Counters(events_in=2, synops=2, spikes=2, floored=2, clocked=2)


@pytest.mark.parametrize(
    ("start", "stop", "edges"),
    [(0, 30, [0, 10, 20]), (0, 31, [0, 10, 20, 30]), (1, 10, []), (10, 20, [10]), (-15, 1, [-10, 0]), (5, 5, [])],
)
def test_edges_lie_in_the_bounds_of_the_events(start: int, stop: int, edges: list[int]) -> None:
    program = neuron(0, threshold=3, bias=np.array([3]), clock_us=10)
    none = Events.empty(SensorShape(1, 1, 1), start_us=start, stop_us=stop)
    trace = run(program, none)
    assert trace.outputs["layer0"].t_us.tolist() == edges
    assert trace.counters["layer0"] == Counters(spikes=len(edges), clocked=len(edges))


def test_an_edge_releases_a_waiting_spike() -> None:
    # 25 fires at t = 1 and leaves 15; the edge at 10 adds 0 and fires again, leaves 5; the one at 20 does not.
    program = neuron(25, threshold=10, bias=np.array([0]), clock_us=10)
    trace = run(program, pulses([1], stop_us=25))
    assert trace.outputs["layer0"].t_us.tolist() == [1, 10]
    assert (trace.counters["layer0"].synops, trace.counters["layer0"].clocked) == (1, 3)


def test_one_spike_an_edge_or_all_that_are_due() -> None:
    # Bias 25, threshold 10. One: 25 -> 15, 40 -> 30. All: 25 -> 2 spikes, 5; 30 -> 3 spikes, 0.
    for rule, times, left in (("one", [0, 10], [15, 30]), ("all", [0, 0, 10, 10, 10], [5, 0])):
        program = neuron(0, threshold=10, spikes_per_update=rule, bias=np.array([25]), clock_us=10)
        trace = run(program, pulses([], stop_us=20), 0, 10, 20)
        assert trace.outputs["layer0"].t_us.tolist() == times
        assert trace.potentials["layer0"].reshape(-1).tolist() == left


def test_an_edge_updates_every_neuron_in_raster_order_then_by_channel() -> None:
    # Three features with biases 4, 0, 5 at threshold 4, on 2 x 2.
    weight = np.zeros((1, 1, 1, 3), np.int8)
    program = graph(
        core(0, weight, (1, 2, 2), threshold=4, bias=np.array([4, 0, 5])),
        inputs=(Target(0),),
        outputs=(0,),
        input_shape=SensorShape(1, 2, 2),
        clock_us=7,
    )
    trace = run(program, Events.empty(SensorShape(1, 2, 2), stop_us=7))
    assert rows(trace.spikes["L0"]) == [(0, f, y, x) for y in (0, 1) for x in (0, 1) for f in (0, 2)]
    assert trace.counters["L0"].clocked == 12


def test_a_core_without_bias_hears_no_clock() -> None:
    # 25 fires and leaves 15, which an update by zero would release.
    program = neuron(25, threshold=10, clock_us=10)
    trace = run(program, pulses([1], stop_us=99))
    assert trace.outputs["layer0"].t_us.tolist() == [1]
    assert trace.counters["layer0"].clocked == 0


def test_windows_must_cover_a_clocked_run_not_only_its_events() -> None:
    program = neuron(1, bias=np.array([1]), clock_us=10)
    device = OracleDevice()
    device.load(program)
    for edges in ((0, 49), (1, 50)):
        with pytest.raises(DeviceError, match=r"0 to 50.*widen"):
            device.run(pulses([20], stop_us=50), monitor=Monitor(counts=("layer0",), window_edges_us=edges))
    device.run(pulses([20], stop_us=50), monitor=Monitor(counts=("layer0",), window_edges_us=(0, 50)))
    device.load(neuron(1))  # without a clock, the events are enough
    device.run(pulses([20], stop_us=50), monitor=Monitor(counts=("layer0",), window_edges_us=(20, 21)))


def test_counts_hold_the_spikes_of_the_clock() -> None:
    # An edge on a window's edge belongs to the later window, and its effect is not in the earlier potential.
    program = neuron(0, threshold=100, bias=np.array([60]), clock_us=10)
    trace = run(program, pulses([], stop_us=40), 0, 10, 20, 40)
    # 60; 120 fires, 20; 80; 140 fires, 40
    assert trace.potentials["layer0"].reshape(-1).tolist() == [60, 20, 40]
    assert trace.counts["layer0"].reshape(-1).tolist() == [0, 1, 1]
