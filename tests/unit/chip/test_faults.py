"""What each fault does, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.faults import FaultyDevice
from chiploop.chip.faults.link import DeviceTimeout, Disconnect
from chiploop.chip.faults.memory import DeadNeurons, FlippedBits, StuckWeights, ThresholdMismatch, thresholds_of
from chiploop.chip.faults.streams import DuplicatedEvents, FifoOverflow, LostEvents, TimeJitter
from chiploop.chip.program import DEAD
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceLostError, DeviceTimeoutError
from chiploop.rng import stream
from strategies_chip import chain_of, neuron, one_core, pulses

N = 40_000
SIGMAS = 5.0


def within(hits: int, share: float) -> bool:
    """Whether a count of N trials lies within five standard deviations."""
    return abs(hits - N * share) < SIGMAS * np.sqrt(N * share * (1 - share))


def test_shares_of_events() -> None:
    events = pulses(list(range(N)))
    assert within(len(LostEvents(0.3).disturb(events, stream(0, "lost"))), 0.7)
    doubled = DuplicatedEvents(0.3).disturb(events, stream(0, "doubled"))
    assert within(len(doubled) - N, 0.3)
    assert np.unique(doubled.t_us).size == N  # each copy has its original's time


def test_jitter_moves_by_its_deviation_and_stays_inside() -> None:
    events = pulses(list(range(0, 100 * N, 100)), stop_us=100 * N)
    moved = TimeJitter(10.0).disturb(events, stream(0, "jitter"))
    assert len(moved) == N
    assert np.all(np.diff(moved.t_us) >= 0)
    deviation = (moved.t_us - events.t_us)[1:-1]  # ten deviations between neighbours: the order stays
    # The variance of N normal deviates has a relative deviation of sqrt(2 / N).
    assert deviation.var() == pytest.approx(100.0 + 1 / 12, rel=SIGMAS * np.sqrt(2 / N))
    at_the_end = TimeJitter(1e6).disturb(events, stream(1, "jitter"))
    assert at_the_end.t_us.min() >= 0
    assert at_the_end.t_us.max() < 100 * N


def test_a_full_queue_drops_by_hand() -> None:
    # Service 10 us, room for one more. 0: served to 10. 1: waits, served to 20. 2: no room. 10: the first is done, the
    # second in service: waits, to 30. 11: no room. 50: idle again.
    events = pulses([0, 1, 2, 10, 11, 50])
    left = FifoOverflow(10.0, depth=1).disturb(events, stream(0, "queue"))
    assert left.t_us.tolist() == [0, 1, 10, 50]


def test_dead_neurons_never_fire_and_the_others_do() -> None:
    core = one_core(np.full((1, 1, 1, N // 100), 127, np.int8), (1, 10, 10), threshold=1)
    changed = DeadNeurons(0.25).apply(chain_of(core), 0).cores[0]
    dead = thresholds_of(changed) == DEAD
    assert within(int(dead.sum()), 0.25)
    assert np.all(thresholds_of(changed)[~dead] == 1)


def test_mismatch_is_relative_and_leaves_the_dead_dead() -> None:
    core = one_core(np.full((1, 1, 1, N // 100), 1, np.int8), (1, 10, 10), threshold=1_000)
    program = DeadNeurons(0.25).apply(chain_of(core), 0)
    changed = thresholds_of(ThresholdMismatch(0.1).apply(program, 0).cores[0])
    dead = thresholds_of(program.cores[0]) == DEAD
    assert np.all(changed[dead] == DEAD)
    alive = changed[~dead]
    assert alive.mean() == pytest.approx(1_000, abs=SIGMAS * 100 / np.sqrt(alive.size))
    assert alive.std() == pytest.approx(100, rel=SIGMAS / np.sqrt(2 * alive.size))


def test_defects_belong_to_the_place_on_the_chip() -> None:
    weight = np.full((1, 1, 1, 400), 1, np.int8)
    here, there = (chain_of(one_core(weight, (1, 10, 10), threshold=1_000, core=number)) for number in (0, 5))
    fault = ThresholdMismatch(0.1)
    again = chain_of(one_core((2 * weight).astype(np.int8), (1, 10, 10), threshold=1_000, layer="another"))
    same, other = fault.apply(again, 0).cores[0], fault.apply(there, 0).cores[0]
    np.testing.assert_array_equal(thresholds_of(same), thresholds_of(fault.apply(here, 0).cores[0]))
    assert np.any(thresholds_of(other) != thresholds_of(same))


def test_stuck_weights_and_flipped_bits() -> None:
    core = one_core(np.full((100, 1, 1, N // 100), 5, np.int8), (100, 1, 1))
    stuck = StuckWeights(0.2, at=-3).apply(chain_of(core), 0).cores[0].weight
    assert set(np.unique(stuck)) == {-3, 5}
    assert within(int((stuck == -3).sum()), 0.2)
    flipped = FlippedBits(1.0).apply(chain_of(core), 0).cores[0].weight
    assert np.all(flipped == ~np.int8(5))
    some = FlippedBits(0.1).apply(chain_of(core), 0).cores[0].weight
    for bit in range(8):
        changed = ((some.view(np.uint8) ^ np.uint8(5)) >> bit) & 1
        assert within(int(changed.sum()), 0.1)


def test_a_mismatched_neuron_fires_at_its_own_threshold() -> None:
    program = neuron(10, threshold=100)
    theta = int(thresholds_of(ThresholdMismatch(0.3).apply(program, 4).cores[0])[0, 0, 0])
    assert theta != 100
    due = -(-theta // 10)  # updates until the first spike
    with FaultyDevice(VirtualDevice(), (ThresholdMismatch(0.3),), seed=4) as device:
        device.load(program)
        assert device.run(pulses(list(range(200)))).outputs["layer0"].t_us[0] == due - 1


def test_a_link_that_breaks() -> None:
    with FaultyDevice(VirtualDevice(), (Disconnect(2),), seed=0) as device:
        device.load(neuron(10))
        device.run(pulses([1]))
        device.run_batch([pulses([1])])
        for _ in range(2):
            with pytest.raises(DeviceLostError, match="after 2 runs"):
                device.run(pulses([1]))


def test_a_link_that_is_slow_now_and_then() -> None:
    failed = 0
    with FaultyDevice(VirtualDevice(), (DeviceTimeout(0.3),), seed=0) as device:
        device.load(neuron(10))
        for _ in range(400):
            try:
                device.run(pulses([1]))
            except DeviceTimeoutError:
                failed += 1
    assert abs(failed - 120) < SIGMAS * np.sqrt(400 * 0.3 * 0.7)
