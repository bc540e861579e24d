"""Every fault: strength 0 is the identity, a seed is a chip, and more of it does more harm."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chiploop.chip.device import Monitor
from chiploop.chip.faults import FAULTS, CallFault, FaultyDevice, ProgramFault, StreamFault
from chiploop.chip.faults.fault import make_faults, strength_field
from chiploop.chip.program import Program, Target
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from strategies_chip import chain_of, one_core, require_same_batch

STRENGTHS = {
    "lost": (0.05, 0.4),
    "duplicated": (0.05, 0.5),
    "jitter": (3.0, 300.0),
    "overflow": (5.0, 12.0),
    "dead": (0.05, 0.5),
    "mismatch": (0.05, 0.6),
    "stuck": (0.05, 0.5),
    "flipped": (0.01, 0.2),
}
"""A little and a lot of every fault that changes results."""
CALLS = {"timeout", "disconnect"}
SHAPE = SensorShape(2, 10, 10)


def program() -> Program:
    rng = stream(0, "faulty program")
    first = rng.integers(-60, 90, (2, 3, 3, 8)).astype(np.int8)
    second = rng.integers(-60, 90, (8, 5, 5, 4)).astype(np.int8)

    return chain_of(
        one_core(first, SHAPE, threshold=200, floor=-200, padding=1, pool=1, targets=(Target(1),)),
        one_core(second, (8, 5, 5), core=1, layer="layer1", threshold=300, floor=-300),
    )


def recordings(n: int) -> list[Events]:
    rng = stream(1, "faulty recordings")
    made = []
    for _ in range(n):
        t = np.sort(rng.integers(0, 2_000, 400))
        address = (rng.integers(0, size, 400) for size in SHAPE)
        made.append(Events.from_columns(t, *address, SHAPE, stop_us=2_000))
    return made


def counts(name: str | None, strength: float = 0.0, *, seed: int = 0) -> np.ndarray:
    """Return the spikes of both layers for some recordings, on a chip with one fault."""
    faults = () if name is None else make_faults({name: {strength_field(FAULTS.get(name)): strength}})
    monitor = Monitor(counts=("layer0", "layer1"), window_edges_us=(0, 2_000))
    with FaultyDevice(VirtualDevice(), faults, seed=seed) as device:
        device.load(program())
        trace = device.run_batch(recordings(8), monitor=monitor)
    return np.concatenate([trace.counts[layer].reshape(-1).astype(int) for layer in monitor.counts])


def test_every_fault_is_tested_here() -> None:
    assert FAULTS.names()
    assert set(FAULTS.names()) == set(STRENGTHS) | CALLS
    for name in FAULTS.names():
        kinds = [kind for kind in (ProgramFault, StreamFault, CallFault) if issubclass(FAULTS.get(name), kind)]
        assert len(kinds) == 1


@pytest.mark.parametrize("name", [*STRENGTHS, *CALLS])
def test_strength_0_is_the_identity(name: str) -> None:
    fault = FAULTS.get(name)(0)
    monitor = Monitor(counts=("layer0",), potentials=("layer1",), window_edges_us=(0, 900, 2_000))
    batch = recordings(3)
    traces = []
    for device in (VirtualDevice(), FaultyDevice(VirtualDevice(), (fault,), seed=3)):
        with device:
            device.load(program())
            traces.append(device.run_batch(batch, monitor=monitor))
    require_same_batch(*traces)
    if isinstance(fault, ProgramFault):
        assert fault.apply(program(), 3) == program()
    if isinstance(fault, StreamFault):
        assert fault.disturb(batch[0], stream(0, "x")) == batch[0]


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_seed_is_a_chip(name: str) -> None:
    much = STRENGTHS[name][1]
    np.testing.assert_array_equal(counts(name, much), counts(name, much))
    if name != "overflow":  # a queue draws nothing
        assert np.any(counts(name, much, seed=1) != counts(name, much, seed=2))


@pytest.mark.parametrize("name", STRENGTHS)
def test_more_of_it_does_more_harm(name: str) -> None:
    little, much = STRENGTHS[name]
    sound = counts(None)
    harm = [int(np.abs(counts(name, strength) - sound).sum()) for strength in (little, much)]
    assert 0 < harm[0] < harm[1]


@pytest.mark.parametrize("name", ["lost", "duplicated", "jitter"])
def test_a_streams_fault_does_not_depend_on_its_batch(name: str) -> None:
    fault = FAULTS.get(name)(STRENGTHS[name][1])
    with FaultyDevice(VirtualDevice(threads=1), (fault,), seed=0) as device:
        device.load(program())
        whole = device.run_batch(recordings(4)).output_counts
        turned = device.run_batch(recordings(4)[::-1]).output_counts
        np.testing.assert_array_equal(whole, turned[::-1])


@pytest.mark.parametrize("name", sorted(FAULTS.names()))
def test_impossible_strengths_are_refused(name: str) -> None:
    fault = FAULTS.get(name)
    with pytest.raises(DeviceError, match=f"{fault.__name__}: {strength_field(fault)} = -1"):
        fault(-1)
    if strength_field(fault) == "share":
        with pytest.raises(DeviceError, match=r"must be in 0\.\.1"):
            fault(1.5)


def test_a_table_of_faults_names_what_is_wrong_with_it() -> None:
    assert make_faults({"lost": {"share": 0.4}}, strength=5.0) == (FAULTS.get("lost")(1.0),)
    assert make_faults({"disconnect": {"every": 7}}, strength=0.5) == (FAULTS.get("disconnect")(7),)
    for table, message in (
        ({"lots": {"share": 0.1}}, "did you mean 'lost'"),
        ({"lost": {"chare": 0.1}}, "unknown option 'chare', did you mean 'share'"),
        ({"overflow": {"depth": 3}}, "give its strength, 'service_us'"),
    ):
        with pytest.raises(Exception, match=message):
            make_faults(table)
    with pytest.raises(DeviceError, match="strength = -1"):
        make_faults({}, strength=-1)


def test_faults_are_plain_data() -> None:
    for name in FAULTS.names():
        assert dataclasses.is_dataclass(FAULTS.get(name))
