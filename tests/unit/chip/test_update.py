"""Updates of one neuron and of small maps, worked by hand; the compiled core and the oracle must both agree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from chiploop import _core
from chiploop.chip.device import DEVICES, Device, Monitor, Trace
from chiploop.events.types import Events, SensorShape
from strategies_chip import chain_of, neuron, one_core, pulses


@pytest.fixture(params=[*(f"virtual {isa}" for isa in _core.available_isas()), "oracle"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    name, *isa = request.param.split()
    with DEVICES.get(name)(**{"isa": isa[0]} if isa else {}) as opened:
        yield opened


def each_update(device: Device, times: list[int], **monitor: tuple[str, ...]) -> Trace:
    """Run pulses with a window for each time."""
    return device.run(
        pulses(times), monitor=Monitor(potentials=("layer0",), window_edges_us=tuple(range(times[-1] + 2)), **monitor)
    )


def potentials(trace: Trace) -> list[int]:
    return trace.potentials["layer0"].reshape(-1).tolist()


def test_one_spike_an_update_and_the_surplus_waits(device: Device) -> None:
    # w = 37, theta = 10 (3.7 theta): 37 -> spike, 27 left; 64 -> spike, 54 left; 91 -> spike, 81 left.
    device.load(neuron(37, threshold=10))
    trace = each_update(device, [0, 1, 2])
    assert trace.outputs["layer0"].t_us.tolist() == [0, 1, 2]
    assert potentials(trace) == [27, 54, 81]


def test_all_spikes_that_are_due(device: Device) -> None:
    # 37 -> 3 spikes, 7 left; 44 -> 4 spikes, 4 left; 41 -> 4 spikes, 1 left.
    device.load(neuron(37, threshold=10, spikes_per_update="all"))
    trace = each_update(device, [0, 1, 2], counts=("layer0",))
    assert trace.outputs["layer0"].t_us.tolist() == [0] * 3 + [1] * 4 + [2] * 4
    assert trace.counts["layer0"].reshape(-1).tolist() == [3, 4, 4]
    assert potentials(trace) == [7, 4, 1]


@pytest.mark.parametrize("rule", ["one", "all"])
def test_reset_to_zero_throws_the_surplus_away(device: Device, rule: str) -> None:
    device.load(neuron(37, threshold=10, reset="zero", spikes_per_update=rule))
    trace = each_update(device, [0, 1, 2])
    assert trace.outputs["layer0"].t_us.tolist() == [0, 1, 2]
    assert potentials(trace) == [0, 0, 0]


def test_an_update_by_zero_releases_a_waiting_spike(device: Device) -> None:
    # Channel 0 weighs 25, channel 1 weighs 0: 25 -> spike, 15 left; 15 + 0 -> spike, 5 left; 5 + 0 -> none.
    weight = np.array([25, 0], np.int8).reshape(2, 1, 1, 1)
    device.load(chain_of(one_core(weight, (2, 1, 1), threshold=10)))
    events = Events.from_columns([0, 1, 2], [0, 1, 1], [0] * 3, [0] * 3, SensorShape(2, 1, 1))
    trace = device.run(events)
    assert trace.outputs["layer0"].t_us.tolist() == [0, 1]
    assert trace.counters["layer0"].synops == 3


def test_threshold_is_reached_by_equality(device: Device) -> None:
    device.load(neuron(5, threshold=10))
    assert device.run(pulses([0, 1, 2, 3])).outputs["layer0"].t_us.tolist() == [1, 3]


def test_floor_comes_before_threshold(device: Device) -> None:
    # Channel 0 weighs -100, channel 1 weighs 10. Floor -15: -100 is raised to -15 (counted), then 10 -> -5, 10 -> 5,
    # 10 -> 15 >= 10 spikes and leaves 5; -100 again: -95 is raised to -15.
    weight = np.array([-100, 10], np.int8).reshape(2, 1, 1, 1)
    device.load(chain_of(one_core(weight, (2, 1, 1), threshold=10, floor=-15)))
    events = Events.from_columns(range(5), [0, 1, 1, 1, 0], [0] * 5, [0] * 5, SensorShape(2, 1, 1))
    trace = device.run(events, monitor=Monitor(potentials=("layer0",), window_edges_us=tuple(range(6))))
    assert potentials(trace) == [-15, -5, 5, 5, -15]
    assert trace.outputs["layer0"].t_us.tolist() == [3]
    assert trace.counters["layer0"].floored == 2


def test_a_state_on_the_floor_is_not_counted_as_raised(device: Device) -> None:
    device.load(neuron(-5, threshold=10, floor=-10))
    trace = each_update(device, [0, 1, 2])
    assert potentials(trace) == [-5, -10, -10]
    assert trace.counters["layer0"].floored == 1


def test_high_saturation(device: Device) -> None:
    # theta 1 and w 127 leave 126 more each time: after n updates 126 n. 260 updates: 32760; the 261st sum is 32887,
    # saturates at 32767, fires, leaves 32766, and so does every later one.
    device.load(neuron(127, threshold=1))
    trace = device.run(pulses(list(range(260))), monitor=Monitor(potentials=("layer0",), window_edges_us=(0, 260)))
    assert potentials(trace) == [32760]
    assert trace.counters["layer0"].saturated_high == 0
    trace = device.run(pulses([260, 261]), monitor=Monitor(potentials=("layer0",), window_edges_us=(0, 262)))
    assert potentials(trace) == [32766]
    assert (trace.counters["layer0"].saturated_high, trace.counters["layer0"].spikes) == (2, 2)


def test_a_threshold_at_the_top_is_reached_by_saturation(device: Device) -> None:
    # 258 * 127 = 32766 < 32767 does not fire; the 259th sum is 32893, saturates at 32767, fires, leaves 0.
    device.load(neuron(127, threshold=32767))
    trace = device.run(pulses(list(range(259))), monitor=Monitor(potentials=("layer0",), window_edges_us=(0, 258, 259)))
    assert potentials(trace) == [32766, 0]
    assert trace.outputs["layer0"].t_us.tolist() == [258]
    assert trace.counters["layer0"].saturated_high == 1


@pytest.mark.parametrize(("floor", "low", "floored"), [(-32768, 2, 0), (-32767, 2, 3)])
def test_low_saturation_and_then_the_floor(device: Device, floor: int, low: int, floored: int) -> None:
    # 256 * 128 = 32768: the sum is exact and, without a floor, unchanged. Two more leave int16, and are counted low;
    # a floor of -32767 raises all three.
    device.load(neuron(-128, threshold=1, floor=floor))
    trace = device.run(pulses(list(range(258))), monitor=Monitor(potentials=("layer0",), window_edges_us=(0, 258)))
    counters = trace.counters["layer0"]
    # With the floor, the 257th starts from -32767: -32895 is low as well.
    assert (counters.saturated_low, counters.floored) == (low, floored)
    assert potentials(trace) == [floor]


def test_kernel_orientation_is_correlation(device: Device) -> None:
    # A 2 x 3 kernel of distinct weights on a 3 x 4 map, one event at (1, 2): V[oy, ox] = w[1 - oy, 2 - ox].
    weight = np.array([[10, 11, 12], [20, 21, 22]], np.int8).reshape(1, 2, 3, 1)
    device.load(chain_of(one_core(weight, (1, 3, 4), threshold=1000)))
    events = Events.from_columns([0], [0], [1], [2], SensorShape(1, 3, 4))
    trace = device.run(events, monitor=Monitor(potentials=("layer0",), window_edges_us=(0, 1)))
    assert trace.potentials["layer0"][0, 0].tolist() == [[22, 21], [12, 11]]


def test_stride_and_padding(device: Device) -> None:
    # Kernel 3, stride 2, padding 1 on a row of 5: outputs stand over inputs -1..1, 1..3, 3..5. Input 1 meets output 0
    # with k = 2 and output 1 with k = 0; input 2 meets output 1 with k = 1; input 4 meets output 2 with k = 1.
    weight = np.array([1, 2, 4], np.int8).reshape(1, 1, 3, 1)
    core = one_core(np.pad(weight, ((0, 0), (1, 1), (0, 0), (0, 0))), (1, 1, 5), threshold=100, stride=2, padding=1)
    device.load(chain_of(core))
    for x, want in ((0, [2, 0, 0]), (1, [4, 1, 0]), (2, [0, 2, 0]), (3, [0, 4, 1]), (4, [0, 0, 2])):
        device.reset()
        events = Events.from_columns([0], [0], [0], [x], SensorShape(1, 1, 5))
        trace = device.run(events, monitor=Monitor(potentials=("layer0",), window_edges_us=(0, 1)))
        assert potentials(trace) == want
        assert trace.counters["layer0"].synops == np.count_nonzero(want)


def test_a_stride_past_the_kernel_leaves_inputs_unheard(device: Device) -> None:
    device.load(chain_of(one_core(np.full((1, 1, 1, 1), 9, np.int8), (1, 1, 7), threshold=5, stride=3)))
    events = Events.from_columns(range(7), [0] * 7, [0] * 7, range(7), SensorShape(1, 1, 7))
    trace = device.run(events)
    assert list(zip(trace.outputs["layer0"].t_us, trace.outputs["layer0"].x, strict=True)) == [(0, 0), (3, 1), (6, 2)]
    assert (trace.counters["layer0"].events_in, trace.counters["layer0"].synops) == (7, 3)


@pytest.mark.parametrize(("pool", "leaving"), [(1, 4 * 4), (2, 4 * 4)])
def test_pooling_merges_addresses_and_drops_the_odd_edge(device: Device, pool: int, leaving: int) -> None:
    # Every neuron of a 5 x 5 map fires once. By 2 the map is 2 x 2 and row and column 4 belong to no window; by 4 it is
    # 1 x 1 with 16 neurons. The 25 spikes are all counted, 16 leave.
    device.load(chain_of(one_core(np.full((1, 1, 1, 1), 9, np.int8), (1, 5, 5), threshold=9, pool=pool)))
    y, x = np.divmod(np.arange(25), 5)
    events = Events.from_columns(np.arange(25), np.zeros(25, np.int64), y, x, SensorShape(1, 5, 5))
    trace = device.run(events, monitor=Monitor(counts=("layer0",), spikes=("layer0",), window_edges_us=(0, 25)))
    out, kept = trace.outputs["layer0"], (y < 4) & (x < 4)
    assert len(out) == leaving
    np.testing.assert_array_equal(out.y, y[kept] >> pool)
    np.testing.assert_array_equal(out.x, x[kept] >> pool)
    np.testing.assert_array_equal(out.t_us, np.arange(25)[kept])
    assert trace.counters["layer0"].spikes == 25
    np.testing.assert_array_equal(trace.counts["layer0"], np.ones((1, 1, 5, 5)))
    np.testing.assert_array_equal(trace.spikes["layer0"].x, x)


def test_order_within_one_event(device: Device) -> None:
    # One event in the middle of a 3 x 3 map makes all neurons fire: y, then x, then feature.
    device.load(chain_of(one_core(np.full((1, 3, 3, 18), 9, np.int8), (1, 3, 3), threshold=9, padding=1)))
    out = device.run(Events.from_columns([4], [0], [1], [1], SensorShape(1, 3, 3))).outputs["layer0"]
    want = [(y, x, f) for y in range(3) for x in range(3) for f in range(18)]
    assert list(zip(out.y.tolist(), out.x.tolist(), out.channel.tolist(), strict=True)) == want
    assert set(out.t_us.tolist()) == {4}


def test_counts_are_full_at_65535_and_the_rest_is_lost(device: Device) -> None:
    # 127 spikes an update under "all": 65535 = 516 * 127 + 3, so 517 updates lose 124 of 65659 spikes.
    device.load(neuron(127, threshold=1, spikes_per_update="all"))
    trace = device.run(pulses(list(range(517))), monitor=Monitor(counts=("layer0",), window_edges_us=(0, 517)))
    assert trace.counts["layer0"].item() == 65535
    assert trace.lost == 124
    assert trace.counters["layer0"].spikes == 517 * 127


def test_output_counts_of_a_batch_are_channel_first(device: Device) -> None:
    # Weights 9 and 18, theta 18: two events at x = 1 fire feature 0 there once and feature 1 twice.
    weight = np.array([9, 18], np.int8).reshape(1, 1, 1, 2)
    device.load(chain_of(one_core(weight, (1, 1, 3), threshold=18)))
    events = Events.from_columns([0, 1, 2], [0] * 3, [0] * 3, [1, 1, 2], SensorShape(1, 1, 3))
    trace = device.run_batch([events, events])
    assert trace.output_counts.tolist() == [[0, 1, 0, 0, 2, 1]] * 2
    assert trace.output_potentials.tolist() == [[0, 0, 9, 0, 0, 0]] * 2
