"""Several devices as one: the same bits, whoever fails, and a word about it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.chip.accelerator import Accelerator
from chiploop.chip.device import BatchTrace, Device, Monitor
from chiploop.chip.open import device_opener, members_of
from chiploop.chip.pool import COMEBACKS, DevicePool, divided
from chiploop.chip.program import Program
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from served import Fault, Script
from strategies_chip import neuron, pulses, random_events, random_program, require_same_batch, seeds

LOST = DeviceLostError("unplugged")


def silent(n: int) -> Events:
    """A stream of n events, 10 us apart."""
    none = [0] * n
    return Events.from_columns(range(0, 10 * n, 10), none, none, none, SensorShape(1, 1, 1))


@given(counts=st.lists(st.integers(0, 40), max_size=12), n=st.integers(1, 5))
def test_parts_cover_the_batch_in_order_and_weigh_alike(counts: list[int], n: int) -> None:
    batch = [silent(count) for count in counts]
    parts = divided(batch, range(len(batch)), n)
    assert [at for part in parts for at in part] == list(range(len(batch)))
    assert len(parts) <= n
    if not batch:
        assert parts == [range(0)]
        return
    costs = [count + 1 for count in counts]
    weights = [sum(costs[at] for at in part) for part in parts]
    assert min(map(len, parts)) > 0
    # Each edge lies at most half a stream off its even place, so a part misses its share by a stream at most.
    assert max(weights) <= sum(costs) / n + max(costs)


def test_some_of_a_batch_is_divided_by_what_lies_in_it() -> None:
    batch = [silent(n) for n in (99, 5, 5, 5, 5)]
    assert divided(batch, range(1, 5), 2) == [range(1, 3), range(3, 5)]


def case(seed: int, n: int) -> tuple[Program, list[Events], Monitor]:
    rng = stream(seed, "pool")
    program = random_program(rng)
    batch = [random_events(rng, program.input_shape) for _ in range(n)]
    layers = tuple(core.layer for core in program.cores)
    stop = max([events.stop_us for events in batch], default=1) + 1
    return program, batch, Monitor(counts=layers, potentials=layers, window_edges_us=(0, stop // 2 + 1, stop + 2))


def on_one(program: Program, batch: list[Events], monitor: Monitor) -> BatchTrace:
    with VirtualDevice(threads=1) as device:
        device.load(program)
        return device.run_batch(batch, monitor=monitor)


@given(seed=seeds, n=st.integers(0, 7), members=st.integers(1, 4))
def test_a_pool_gives_the_bits_of_one_device(seed: int, n: int, members: int) -> None:
    program, batch, monitor = case(seed, n)
    with DevicePool([lambda: VirtualDevice(threads=1)] * members) as pool:
        pool.load(program)
        trace = pool.run_batch(batch, monitor=monitor)
    alone = on_one(program, batch, monitor)
    require_same_batch(trace, alone)
    # Its order in memory, too: torch chooses by it how it sums.
    assert [steps(array) for array in trace.counts.values()] == [steps(array) for array in alone.counts.values()]


def steps(array: np.ndarray) -> list[int]:
    """Bytes from one to the next along every axis that has a next."""
    return [step for step, length in zip(array.strides, array.shape, strict=True) if length > 1]


def scripts(*faults: dict[int, Fault]) -> list[Script]:
    return [Script(fault) for fault in faults]


@pytest.mark.parametrize("error", [LOST, DeviceTimeoutError("late"), ReadoutError("a layer is missing")])
def test_a_part_that_a_device_leaves_goes_to_the_others(error: DeviceError, caplog: pytest.LogCaptureFixture) -> None:
    program, batch, monitor = case(3, 9)
    told = scripts({}, {0: error}, {})
    with caplog.at_level(logging.WARNING), DevicePool([s.open for s in told], names=["a", "b", "c"]) as pool:
        pool.load(program)
        require_same_batch(pool.run_batch(batch, monitor=monitor), on_one(program, batch, monitor))
        assert pool.info.name == "pool of a, b, c (1 out, failures: 1)"
        assert (pool.failures, [s.closed for s in told]) == (1, [0, 1, 0])
        assert f"b is taken out of the pool, 2 of 3 stay: {error}" in caplog.text
        require_same_batch(pool.run_batch(batch, monitor=monitor), on_one(program, batch, monitor))
        assert told[1].calls == 1  # who is out is not asked
        pool.load(program)
        assert (told[1].opened, pool.info.name) == (2, "pool of a, b, c (0 out, failures: 1)")
        require_same_batch(pool.run_batch(batch, monitor=monitor), on_one(program, batch, monitor))
        assert told[1].calls == 2
    assert [s.closed for s in told] == [1, 2, 1]


def test_the_last_one_left_does_it_all() -> None:
    program, batch, monitor = case(4, 8)
    told = scripts({0: LOST}, {0: LOST}, {}, {0: LOST})
    with DevicePool([s.open for s in told]) as pool:
        pool.load(program)
        require_same_batch(pool.run_batch(batch, monitor=monitor), on_one(program, batch, monitor))
        assert pool.failures == 3


def test_a_pool_without_devices_is_lost() -> None:
    told = scripts({0: LOST}, {0: LOST})
    with DevicePool([s.open for s in told]) as pool:
        pool.load(neuron(1))
        with pytest.raises(DeviceLostError, match=r"all 2 devices of the pool are lost \(2 failures\): open it anew"):
            pool.run_batch([pulses([1]), pulses([2])])
        pool.load(neuron(1))  # as on a device that was plugged in again
        assert pool.run_batch([pulses([1])] * 2).output_counts.shape == (2, 1)


def test_a_device_that_stays_dead_is_opened_so_often_and_no_more() -> None:
    dead = Script({0: LOST}, refuse_opening=99)
    with DevicePool([Script().open, dead.open]) as pool:
        for _ in range(COMEBACKS + 3):
            pool.load(neuron(1))
            pool.run_batch([pulses([1])] * 2)
        assert (dead.opened, pool.failures) == (1 + COMEBACKS, 1 + COMEBACKS)


def test_what_every_device_refuses_takes_none_out() -> None:
    with DevicePool([VirtualDevice, VirtualDevice]) as pool:
        pool.load(neuron(1))
        good, bad = pulses([1]), Events.empty(SensorShape(2, 3, 4))
        message = r"stream 1 of the batch.*\(2, 3, 4\).*\(in the part of the batch from stream 2 on\)"
        with pytest.raises(DeviceError, match=message):
            pool.run_batch([good, good, good, bad])
        assert pool.failures == 0
        assert pool.run_batch([good] * 4).output_counts.shape == (4, 1)


def test_a_single_stream_moves_from_reset_state_only() -> None:
    told = scripts({0: LOST}, {2: LOST}, {})
    with DevicePool([s.open for s in told]) as pool:
        pool.load(neuron(6))
        assert len(pool.run(pulses([0])).outputs["layer0"]) == 0  # the first one fails, the second takes over: 6
        assert len(pool.run(pulses([1])).outputs["layer0"]) == 1  # 6 + 6 reaches 10, 2 stay
        with pytest.raises(DeviceLostError):
            pool.run(pulses([2]))
        with pytest.raises(DeviceError, match="states are gone: call reset"):
            pool.run(pulses([2]))
        pool.reset()
        assert len(pool.run(pulses([3])).outputs["layer0"]) == 0  # from zero, on the third


def test_a_batch_that_loses_the_stream_s_device_says_so() -> None:
    told = scripts({1: LOST}, {})
    with DevicePool([s.open for s in told]) as pool:
        pool.load(neuron(6))
        pool.run(pulses([0]))
        pool.run_batch([pulses([1])] * 2)  # costs the first one, with the state of the stream
        with pytest.raises(DeviceError, match="states are gone"):
            pool.run(pulses([1]))


def test_kinds_are_not_mixed() -> None:
    openers: list[type[Device]] = [VirtualDevice, Accelerator]
    with pytest.raises(DeviceError, match=r"devices of one kind, these differ: virtual \(simulated\), accelerator"):
        DevicePool(openers)
    with pytest.raises(DeviceError, match="at least one device"):
        DevicePool([])


def test_pools_by_name() -> None:
    assert members_of("2xvirtual,oracle") == ("virtual", "virtual", "oracle")
    with device_opener("pool:2xvirtual,oracle")() as pool:
        assert pool.info.name == "pool of 2 x virtual, oracle"
        pool.load(neuron(4))
        assert pool.run_batch([pulses([1, 2, 3])] * 3).output_counts.tolist() == [[1]] * 3
    for name, message in {
        "pool": "a pool is pool:2xvirtual",
        "pool:": "a pool is pool:2xvirtual",
        "pool:virtual,": "no device ''",
        "pool:2xvirtaul": "no device 'virtaul': did you mean 'virtual'",
        "pool:0xvirtual": "no device '0xvirtual'",
        "pool:pool:virtual": "stands in a pool already",
        "ray:pool:virtual": "stands in a pool already",
    }.items():
        with pytest.raises(DeviceError, match=message):
            device_opener(name)
