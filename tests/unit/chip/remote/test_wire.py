"""Messages: what is sent is what arrives, down to the order in memory; what is damaged is never taken for whole."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save

from chiploop.chip.device import BatchTrace, DeviceInfo, Monitor, Trace
from chiploop.chip.remote.wire import Streams, pack, unpack
from chiploop.chip.timing import CoreLoad, TimingTrace
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DataError, DeviceError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from strategies_chip import (
    affordable,
    random_events,
    random_monitor,
    random_program,
    require_same_batch,
    require_same_trace,
    seeds,
)

HINTS: dict[str, Any] = {
    "int8": NDArray[np.int8], "int16": NDArray[np.int16], "uint16": NDArray[np.uint16], "int64": NDArray[np.int64],
    "float64": NDArray[np.float64], "bool": NDArray[np.bool_],
}  # fmt: skip
few = settings(max_examples=30)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """An array whose axes lie in memory in any order."""
    shape = draw(st.lists(st.integers(1, 4), max_size=5))
    rng = stream(draw(seeds), "array")
    lying = rng.integers(0, 2, shape).astype(draw(st.sampled_from(list(HINTS))))
    return lying.transpose(draw(st.permutations(range(len(shape)))))


@given(array=arrays())
def test_an_array_arrives_with_its_order_in_memory(array: np.ndarray) -> None:
    found = unpack(pack(a=array)).take(a=HINTS[array.dtype.name])["a"]
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.strides) == (array.dtype, array.strides)


def test_an_array_with_gaps_or_without_elements_arrives() -> None:
    whole = np.arange(24, dtype=np.int64).reshape(4, 6)
    for array in (whole[::2, ::3], whole[::-1], whole[:0], np.zeros((2, 0, 3), np.int64), np.array(7, np.int64)):
        found = unpack(pack(a=array)).take(a=NDArray[np.int64])["a"]
        np.testing.assert_array_equal(found, array)
        assert found.shape == array.shape


@few
@given(seed=seeds)
def test_traces_arrive_as_they_were(seed: int) -> None:
    rng = stream(seed, "wire")
    program = random_program(rng)
    batch = [affordable(program, random_events(rng, program.input_shape), 2_000) for _ in range(3)]
    monitor = random_monitor(rng, program, max(batch, key=lambda events: events.stop_us))
    edges = (0, *(edge for edge in monitor.window_edges_us if edge > 0), 10**6)
    layers = tuple(core.layer for core in program.cores)
    with VirtualDevice(threads=1) as device:
        device.load(program)
        watched = Monitor(counts=layers, potentials=layers, spikes=layers, window_edges_us=edges)
        trace = device.run(batch[0], monitor=watched)
        found = device.run_batch(batch, monitor=Monitor(counts=layers, potentials=layers, window_edges_us=edges))
    require_same_trace(unpack(pack(trace=trace)).take(trace=Trace)["trace"], trace)
    arrived = unpack(pack(trace=found)).take(trace=BatchTrace)["trace"]
    require_same_batch(arrived, found)
    for layer in layers:  # torch chooses its algorithm by them
        assert arrived.counts[layer].strides == found.counts[layer].strides
    assert unpack(pack(s=Streams.of(batch))).take(s=Streams)["s"].batch() == tuple(batch)


def test_what_only_some_devices_report_arrives() -> None:
    none = Events.empty(SensorShape(1, 1, 1), stop_us=3)
    load = CoreLoad(busy_ns=7, peak_synops=3)
    times = {"fc1": np.array([5, 9], np.int64)}
    timing = TimingTrace(latency_ns=times, output_ns=times, load={"fc1": load}, input_load=CoreLoad(), end_ns=11)
    trace = Trace(outputs={"fc1": none}, counters={}, span_us=3, metrics={"a": 1.5, "b": 2}, timing=timing)
    found = unpack(pack(trace=trace)).take(trace=Trace)["trace"]
    assert (found.metrics, found.timing.load, found.timing.end_ns) == ({"a": 1.5, "b": 2.0}, {"fc1": load}, 11)
    np.testing.assert_array_equal(found.timing.latency_ns["fc1"], [5, 9])
    info = DeviceInfo(name="x", kind="board", observes=frozenset({"counts", "spikes"}), deterministic=False)
    assert unpack(pack(info=info, none=None)).take(info=DeviceInfo, none=int | None) == {"info": info, "none": None}


def test_an_empty_batch_arrives() -> None:
    assert unpack(pack(s=Streams.of([]))).take(s=Streams)["s"].batch() == ()


FRAME = pack(n=3, name="layer", a=np.arange(50, dtype=np.int16), program=b"0123")
TYPES = {"n": int, "name": str, "a": NDArray[np.int16], "program": bytes}


@given(at=st.integers(0, len(FRAME) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(at: int, bit: int) -> None:
    damaged = FRAME[:at] + bytes([FRAME[at] ^ 1 << bit]) + FRAME[at + 1 :]
    with pytest.raises((DataError, DeviceError)):
        unpack(damaged)


@given(n=st.integers(0, len(FRAME) - 1))
def test_a_message_that_is_cut_is_refused(n: int) -> None:
    with pytest.raises(DataError):
        unpack(FRAME[:n])


@given(content=st.binary(max_size=200))
def test_noise_is_refused_even_with_a_right_checksum(content: bytes) -> None:
    framed = struct.pack("<4sHI", b"CHLP", 1, zlib.crc32(content)) + content
    for noise in (content, framed):
        with pytest.raises((DataError, DeviceError)):
            unpack(noise)


def test_another_version_is_named() -> None:
    with pytest.raises(DeviceError, match=r"version 2 of the protocol, this one 1: install the same"):
        unpack(FRAME[:4] + (2).to_bytes(2, "little") + FRAME[6:])


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({}, r"has the fields \['a', 'n', 'name', 'program'\], expected \[\]"),
        ({**TYPES, "more": int}, "expected"),
        ({**TYPES, "n": str}, "field 'n' of a message is damaged: 3 is not a str"),
        ({**TYPES, "name": int}, "'layer' is not a int"),
        ({**TYPES, "n": bool}, "3 is not a bool"),
        ({**TYPES, "a": NDArray[np.uint16]}, "an array of int16 stands where uint16 belongs"),
        ({**TYPES, "a": bytes}, "an array of int16 stands where uint8 belongs"),
        ({**TYPES, "n": NDArray[np.int16]}, "field 'n'"),
        ({**TYPES, "name": Events}, "field 'name'"),
        ({**TYPES, "name": tuple[int, ...]}, "'layer' is not a list"),
    ],
)
def test_a_field_of_another_type_is_refused(hints: dict[str, Any], message: str) -> None:
    assert unpack(FRAME).take(**TYPES)["program"] == b"0123"
    with pytest.raises(DataError, match=message):
        unpack(FRAME).take(**hints)


def hand_made(structure: object, **arrays: np.ndarray) -> bytes:
    """A frame whose structure nobody checked."""
    body = save(arrays, metadata={"message": json.dumps(structure)})
    return struct.pack("<4sHI", b"CHLP", 1, zlib.crc32(body)) + body


@pytest.mark.parametrize(
    "reference",
    [
        {"array": "1", "axes": [0]}, {"array": "0", "axes": [0, 1]}, {"array": "0", "axes": [1]}, {"array": "0"},
        {"array": "0", "axes": "0"}, [], None, {"array": ["0"], "axes": [0]},
    ],
)  # fmt: skip
def test_a_reference_to_no_array_is_refused(reference: object) -> None:
    frame = hand_made({"a": reference}, **{"0": np.zeros(3, np.int64)})
    with pytest.raises(DataError, match="field 'a' of a message"):
        unpack(frame).take(a=NDArray[np.int64])


@pytest.mark.parametrize("structure", [[], 3, None, "text"])
def test_a_message_that_is_no_table_is_refused(structure: object) -> None:
    with pytest.raises(DataError, match="no table"):
        unpack(hand_made(structure))


def test_deep_nesting_is_refused() -> None:
    assert unpack(hand_made({"a": 0})).take(a=int) == {"a": 0}
    deep = "[" * 100_000 + "]" * 100_000
    body = save({}, metadata={"message": f'{{"a": {deep}}}'})
    with pytest.raises(DataError, match="cannot be read"):
        unpack(struct.pack("<4sHI", b"CHLP", 1, zlib.crc32(body)) + body)


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": np.array([2, 2])}, {"lengths": np.array([-1, 4])}, {"lengths": np.array([[3]])},
        {"shapes": np.array([[1, 1, 1]])}, {"bounds_us": np.zeros((2, 3), np.int64)}, {"y": np.zeros(2, np.uint16)},
        {"t_us": np.array([1, 0, 0])}, {"x": np.array([0, 9, 0], np.uint16)}, {"shapes": np.zeros((2, 3), np.int64)},
    ],
)  # fmt: skip
def test_streams_that_do_not_fit_together_are_refused(changes: dict[str, np.ndarray]) -> None:
    pixel = SensorShape(1, 2, 2)
    batch = [Events.from_columns([0, 1], [0, 0], [1, 0], [0, 1], pixel), Events.from_columns([5], [0], [0], [1], pixel)]
    streams = Streams.of(batch)
    assert streams.batch() == tuple(batch)
    fields = {**vars(streams), **changes}
    with pytest.raises(DataError):
        Streams(**fields).batch()
