"""Timing constants: from a profile, by hand, and refused."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.oracle_timed import TimedOracle
from chiploop.chip.profile import read_profile
from chiploop.chip.program import STATE_MIN, CoreConfig, Program, Target
from chiploop.chip.timing import CoreLoad, Timing, TimingTrace
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape


@pytest.mark.parametrize("name", ["speck2e", "speck2f", "mini"])
def test_one_event_through_nine_cores_of_one_update_takes_what_is_published(name: str) -> None:
    timing = Timing.of(read_profile(name))
    hops = 8  # the first core hears the sensor at once
    assert 9 * timing.service_ns(1) + hops * timing.hop_ns == 3_360 == read_profile("speck2f").event_latency_ns


def test_the_timed_chip_takes_the_published_time() -> None:
    pixel = SensorShape(1, 1, 1)
    relay = {"threshold": 5, "floor": STATE_MIN, "reset": "subtract", "spikes_per_update": "one", "stride": 1}
    shapes = {"padding": 0, "pool": 0, "in_shape": pixel, "neuron_shape": pixel}
    weight = np.full((1, 1, 1, 1), 5, np.int8)
    cores = tuple(
        CoreConfig(
            core=i,
            layer=f"core{i}",
            weight=weight,
            targets=(Target(i + 1),) if i < 8 else (),
            **relay,  # type: ignore[arg-type]
            **shapes,  # type: ignore[arg-type]
        )
        for i in range(9)
    )
    program = Program(profile_hash="", quant_hash="", cores=cores, input_shape=pixel, inputs=(Target(0),), outputs=(8,))
    with TimedOracle(Timing.of(read_profile("speck2f"))) as chip:
        chip.load(program)
        timing = chip.run(Events.from_columns([10], [0], [0], [0], pixel)).timing
    assert timing is not None
    assert timing.latency_ns["core8"].tolist() == [3_360]
    assert timing.output_ns["core8"].tolist() == [10_000 + 3_360]


def test_the_limit_is_what_a_core_can_do_that_does_nothing_but_updates() -> None:
    table = read_profile("speck2f").timing
    assert table is not None
    assert table.max_synops_per_s is not None
    assert 1e9 / table.synop_ns == pytest.approx(table.max_synops_per_s, rel=0.02)  # 33 ns against 30 million


def test_constants_come_from_the_table() -> None:
    timing, table = Timing.of(read_profile("speck2f")), read_profile("speck2f").timing
    assert table is not None
    names = ("event_ns", "synop_ns", "hop_ns", "fifo_depth", "overflow")
    assert [getattr(timing, name) for name in names] == [getattr(table, name) for name in names]


def test_a_profile_without_timing_is_named() -> None:
    with pytest.raises(DeviceError, match=r"chip profile 'ideal' states no timing: add a \[timing\] table"):
        Timing.of(read_profile("ideal"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_ns": -1}, "timing.event_ns = -1"),
        ({"synop_ns": 1.5}, "timing.synop_ns = 1.5"),
        ({"fifo_depth": 0}, "timing.fifo_depth = 0 must be at least 1"),
        ({"overflow": "stal"}, "timing.overflow = 'stal': did you mean 'stall'"),
    ],
)
def test_wrong_constants(change: dict[str, object], message: str) -> None:
    good = {"event_ns": 1, "synop_ns": 1, "hop_ns": 1}
    Timing(**good)
    with pytest.raises(DeviceError, match=message):
        Timing(**{**good, **change})  # type: ignore[arg-type]


def test_a_trace_has_one_latency_for_each_output_time_and_freezes_both() -> None:
    times = np.array([5, 7])
    trace = TimingTrace(
        latency_ns={"fc": times}, output_ns={"fc": times + 1}, load={"fc": CoreLoad()}, input_load=CoreLoad(), end_ns=9
    )
    times[0] = 99
    assert trace.latency_ns["fc"].tolist() == [5, 7]
    with pytest.raises(ValueError, match="read-only"):
        trace.output_ns["fc"][0] = 1
    with pytest.raises(DeviceError, match="layer 'fc': 2 latencies for None output times"):
        TimingTrace(latency_ns={"fc": times}, output_ns={}, load={}, input_load=CoreLoad(), end_ns=0)
