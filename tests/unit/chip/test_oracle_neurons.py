"""The oracle's neurons: leak, bias at the ends of the range, thresholds of their own, wide states; worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.chip.device import Monitor
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.oracle_core import decay_factor, decayed, rounded_exp
from chiploop.chip.program import DEAD, Program
from chiploop.events.types import Events, SensorShape
from small_chips import rows, run
from strategies_chip import chain_of, neuron, one_core, pulses

DEAD_ONE = np.full((1, 1, 1), DEAD)
Q31 = 1 << 31


def values(program: Program, events: Events, *edges: int) -> list[int]:
    return run(program, events, *edges).potentials["layer0"].reshape(-1).tolist()


def two_synapses(up: int, down: int, **fields: object) -> Program:
    """Return a neuron with a weight for each of two channels."""
    return chain_of(one_core(np.array([up, down], np.int8).reshape(2, 1, 1, 1), (2, 1, 1), **fields))


def on_channels(*channels: int) -> Events:
    zeros = [0] * len(channels)
    return Events.from_columns(range(len(channels)), channels, zeros, zeros, SensorShape(2, 1, 1))


# ---- leak


def test_the_factor_of_decay_by_hand() -> None:
    # 2^31 / e = 790015084.35
    assert rounded_exp(1000.0, 1000) == 790015084
    assert [decay_factor(1000.0, dt) for dt in (0, 1000)] == [Q31, 790015084]
    # 2500 = 2 * 1024 + 452: the product of two rounded factors, rounded
    fine, coarse = rounded_exp(1000.0, 452), rounded_exp(1000.0, 2048)
    assert decay_factor(1000.0, 2500) == (fine * coarse + Q31 // 2) // Q31
    # 100 in 16 bits of fraction is 6553600; times exp(-1) is 2410934.7
    assert decayed(6553600, 1000.0, 1000) == 2410935
    assert decayed(-6553600, 1000.0, 1000) == -2410935


@pytest.mark.parametrize("tau_us", [0.4, 3.7, 1000.0, 12345.678, 1e9])
def test_factors_are_the_exponential_to_the_last_bit(tau_us: float) -> None:
    for dt in [*range(0, 1024, 31), 1024, 4096, 10_240, 1 << 20]:
        exact = Q31 * math.exp(-dt / tau_us)
        assert abs(rounded_exp(tau_us, dt) - exact) <= 0.5 + 1e-5  # a double of this size errs by less than 1e-6
        # Two factors at most 1, each within half a unit, and the product's rounding: 1.5 units.
        assert abs(decay_factor(tau_us, dt) - exact) <= 1.5 + 1e-5


def test_a_halved_state_rounds_up_also_below_zero() -> None:
    # tau = 1 / ln 2: the factor of 1 us is 2^30. Halves of 3, 1, -1, -3 go up.
    tau = 1 / math.log(2)
    assert decay_factor(tau, 1) == Q31 // 2
    assert [decayed(v, tau, 1) for v in (3, 1, -1, -3)] == [2, 1, 0, -1]


def test_what_decayed_past_the_last_bit_is_zero() -> None:
    # 2^31 exp(-22.2) rounds to 0: nothing is left, whatever the state.
    assert decay_factor(10.0, 1 << 30) == decay_factor(10.0, 1024) == 0
    assert values(neuron(-128, threshold=10, tau_us=10.0), pulses([0]), 0, 1, 1025) == [
        -116,
        0,
    ]  # 128 exp(-0.1) = 115.8


def test_a_potential_decays_as_the_closed_form_and_looking_changes_nothing() -> None:
    # V = 100 exp(-t / tau). A report rounds to a half; the state's own errors are 2^-17 for its rounding and 100 units
    # of 2^-30 for the factor's.
    program = neuron(100, tau_us=700.0, thresholds=DEAD_ONE)
    edges = (0, 1, 2, 300, 701, 1024, 1025, 2048, 4000, 90_000)
    seen = values(program, pulses([0]), *edges)
    for edge, v in zip(edges[1:], seen, strict=True):
        assert abs(v - 100 * math.exp(-edge / 700)) <= 0.5 + 1e-4
    assert seen[-1] == 0
    for edge, v in zip(edges[2:], seen[1:], strict=True):
        assert values(program, pulses([0]), 0, edge) == [v]


def test_leaky_neurons_fire_where_the_geometric_sum_says() -> None:
    # Every 500 us 100 comes in, tau = 1000: V_n = 100 (1 - q^n) / (1 - q), q = exp(-1/2): 100, 160.7, 197.4, 219.75.
    # Threshold 200: the fourth fires and leaves 19.75; then 112.0, 167.9, 201.9 fires and leaves 1.86.
    program = neuron(100, threshold=200, tau_us=1000.0)
    times = [500 * n for n in range(8)]
    edges = [0, *(t + 1 for t in times)]
    trace = run(program, pulses(times), *edges)
    assert trace.outputs["layer0"].t_us.tolist() == [1500, 3000]
    v, want = 0.0, []
    for _ in times:
        v = v * math.exp(-0.5) + 100
        v -= 200 if v >= 200 else 0
        want.append(v * math.exp(-0.001))  # the edge stands 1 us after the event
    seen = trace.potentials["layer0"].reshape(-1)
    assert np.abs(seen - np.array(want)).max() <= 0.5 + 1e-2


def test_an_event_decays_only_the_positions_that_it_meets() -> None:
    # Two positions, both raised to 100 at t = 0; the right one is met again (by weight 0) many times. Each such update
    # rounds to 2^-16, so that after 60 the two may differ by 60 * 2^-17, and not by a unit of a report.
    weight = np.array([100, 0], np.int8).reshape(2, 1, 1, 1)
    core = one_core(weight, (2, 1, 2), tau_us=50.0, thresholds=np.full((1, 1, 2), DEAD))
    n = 60
    events = Events.from_columns(
        [0, 0, *range(1, n + 1)], [0, 0] + [1] * n, [0] * (n + 2), [0, 1] + [1] * n, SensorShape(2, 1, 2)
    )
    left, right = values(chain_of(core), events, 0, n + 1)
    assert left == round(100 * math.exp(-(n + 1) / 50)) == 30
    assert right in (left - 1, left, left + 1)


def test_leaky_saturation_and_floor() -> None:
    # tau = 1e9: no decay to speak of. 258 * 127 = 32766; one more is 32893 and saturates at 32768 - 2^-16, reported
    # as 32767.
    program = neuron(127, tau_us=1e9, thresholds=DEAD_ONE)
    trace = run(program, pulses([0] * 259), 0, 1)
    assert trace.potentials["layer0"].item() == 32767
    assert trace.counters["layer0"].saturated_high == 1
    trace = run(neuron(-128, tau_us=1e9), pulses([0] * 258), 0, 1)  # the 256th sum is -32768, the end of the range
    assert (trace.potentials["layer0"].item(), trace.counters["layer0"].saturated_low) == (-32768, 2)
    trace = run(neuron(-7, tau_us=1e9, floor=-10), pulses([0, 0, 0]), 0, 1)
    assert (trace.potentials["layer0"].item(), trace.counters["layer0"].floored) == (-10, 2)


def test_clock_edges_decay_too() -> None:
    # Bias 50 every 1000 us, tau = 1000: 50, 50 / e + 50 = 68.39, 75.16, towards 50 / (1 - 1 / e) = 79.1.
    program = neuron(0, threshold=1000, tau_us=1000.0, bias=np.array([50]), clock_us=1000)
    edges = (0, 1000, 2000, 3000)
    want = [50 / math.e, 68.394 / math.e, 75.161 / math.e]
    assert values(program, pulses([], stop_us=3000), *edges) == [round(v) for v in want] == [18, 25, 28]


def test_time_that_goes_back_decays_nothing() -> None:
    # 60 at 1000 us, then 60 at 0 us: 120. Its time is now 0: at 1000 us 120 / e = 44 is left.
    device = OracleDevice()
    device.load(neuron(60, threshold=121, tau_us=1000.0))
    device.run(pulses([1000]))
    trace = device.run(pulses([0]), monitor=Monitor(potentials=("layer0",), window_edges_us=(-9, 0, 1, 1001)))
    assert decay_factor(1000.0, -5) == Q31
    assert trace.potentials["layer0"].reshape(-1).tolist() == [60, 120, 44]


def test_a_batch_reports_the_potential_at_the_end() -> None:
    device = OracleDevice()
    device.load(neuron(100, tau_us=1000.0, thresholds=DEAD_ONE))
    batch = device.run_batch([pulses([0], stop_us=stop) for stop in (1, 1000, 2000)])
    assert batch.output_potentials.reshape(-1).tolist() == [100, 37, 14]  # 99.9, 36.8, 13.5
    # With windows, at the end of the last one.
    batch = device.run_batch([pulses([0])], monitor=Monitor(window_edges_us=(0, 500, 2000)))
    assert batch.output_potentials.item() == 14


# ---- bias at the ends of the range


@pytest.mark.parametrize(
    ("bias", "floor", "left", "high", "low", "floored"),
    [
        (30000, -32768, 32767, 2, 0, 0),  # 30000, 60000, 62767
        (-30000, -32768, -32768, 0, 2, 0),  # -30000, -60000, -62768
        (-30000, -100, -100, 0, 0, 3),  # each edge falls to the floor: -30000, -30100, -30100
        (-30000, -32767, -32767, 0, 2, 2),  # saturates first, and then the floor raises it by one
    ],
)
def test_a_bias_saturates_and_meets_the_floor(
    bias: int, floor: int, left: int, high: int, low: int, floored: int
) -> None:
    program = neuron(0, floor=floor, thresholds=DEAD_ONE, bias=np.array([bias]), clock_us=10)
    trace = run(program, pulses([], stop_us=30), 0, 30)
    counters = trace.counters["layer0"]
    assert trace.potentials["layer0"].item() == left
    assert (counters.saturated_high, counters.saturated_low, counters.floored) == (high, low, floored)
    assert (counters.clocked, counters.synops, counters.spikes) == (3, 0, 0)


# ---- thresholds of their own


def test_every_neuron_has_its_own_threshold_and_a_dead_one_never_fires() -> None:
    # Two features on a row of two; each event adds 100 to the two neurons of its column. Thresholds by column:
    # feature 0: 100 and dead, feature 1: 250 and 32767.
    thresholds = np.array([[[100, DEAD]], [[250, 32767]]])
    core = one_core(np.full((1, 1, 1, 2), 100, np.int8), (1, 1, 2), threshold=1, thresholds=thresholds)
    n = 330  # 328 * 100 = 32800 saturates at 32767
    events = Events.from_columns(
        [*range(3), *range(3, 3 + n)], [0] * (3 + n), [0] * (3 + n), [0] * 3 + [1] * n, SensorShape(1, 1, 2)
    )
    trace = run(chain_of(core), events, 0, 3 + n)
    # Column 0: feature 0 fires at every event, feature 1 at the third (300), leaving 50.
    assert rows(trace.outputs["layer0"])[:4] == [(0, 0, 0, 0), (1, 0, 0, 0), (2, 0, 0, 0), (2, 1, 0, 0)]
    # Column 1: the dead one stays at the top; the other reaches 32767 by saturation once, and starts from 0: 200 left.
    assert rows(trace.outputs["layer0"])[4:] == [(3 + 327, 1, 0, 1)]
    assert trace.potentials["layer0"][0].tolist() == [[[0, 32767]], [[50, 200]]]
    assert trace.counters["layer0"].saturated_high == 3 + 1


# ---- wide states


def test_wide_states_do_not_saturate() -> None:
    # 300 times 127 is 38100, and 300 times -127 brings it back to 0; in 16 bits 32767 - 38100 = -5333.
    channels = [0] * 300 + [1] * 300
    for bits, left, high in ((32, 0, 0), (16, -5333, 300 - 258)):
        program = two_synapses(127, -127, thresholds=DEAD_ONE, state_bits=bits)
        trace = run(program, on_channels(*channels), 0, 300, 600)
        assert trace.potentials["layer0"].reshape(-1).tolist() == [32767, left]  # a report has 16 bits
        assert (trace.counters["layer0"].saturated_high, trace.counters["layer0"].spikes) == (high, 0)


def test_wide_states_have_no_floor_where_none_is_given() -> None:
    # 300 times -128 is -38400; 300 times 127 is 38100. Wide: -300. In 16 bits: -32768 + 38100 = 5332.
    channels = [1] * 300 + [0] * 300
    for bits, left in ((32, -300), (16, 5332)):
        program = two_synapses(127, -128, thresholds=DEAD_ONE, state_bits=bits)
        trace = run(program, on_channels(*channels), 0, 300, 600)
        assert trace.potentials["layer0"].reshape(-1).tolist() == [-32768, left]
    floored = two_synapses(127, -128, thresholds=DEAD_ONE, state_bits=32, floor=-32767)
    assert values(floored, on_channels(*channels[:300]), 0, 300) == [-32767]


def test_wide_states_keep_what_one_spike_an_update_cannot_carry_off() -> None:
    # Threshold 1, 127 in and 1 out: 126 n, past 32767 from n = 261 on.
    program = neuron(127, threshold=1, state_bits=32)
    trace = run(program, pulses(list(range(300))))
    assert trace.counters["layer0"].saturated_high == 0
    # Weight -128 from then on: 37800 - 129 m >= 0 as long as it fires: m = 293 leaves 3.
    program = two_synapses(127, -128, threshold=1, state_bits=32)
    trace = run(program, on_channels(*[0] * 300, *[1] * 293), 0, 593)
    assert (trace.potentials["layer0"].item(), trace.counters["layer0"].spikes) == (37800 - 129 * 293, 593)
