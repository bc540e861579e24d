"""An answer that is whole passes; each way of being incomplete or of contradicting itself is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

from chiploop.chip.accelerator import Accelerator
from chiploop.chip.compiled import sum_streams
from chiploop.chip.device import BatchTrace, Monitor
from chiploop.chip.plausible import require_plausible
from chiploop.chip.program import Program, Target
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import ReadoutError
from chiploop.events.types import Events
from chiploop.rng import stream
from strategies_chip import affordable, chain_of, one_core, pulses, random_events, random_program, seeds

MONITOR = Monitor(counts=("layer0", "layer1"), potentials=("layer1",), window_edges_us=(0, 5, 10))


def chain() -> Program:
    first = one_core(np.full((1, 1, 1, 2), 10, np.int8), (1, 1, 1), targets=(Target(1),))
    second = one_core(np.full((2, 1, 1, 1), 10, np.int8), (2, 1, 1), core=1, layer="layer1")
    return chain_of(first, second)


def observed(monitor: Monitor = MONITOR) -> BatchTrace:
    """Two streams of three and one events: every event makes two spikes, and each of those one."""
    with VirtualDevice(threads=1) as device:
        device.load(chain())
        return device.run_batch([pulses([1, 2, 7], stop_us=10), pulses([3], stop_us=10)], monitor=monitor)


def test_what_a_device_says_passes() -> None:
    trace = observed()
    assert trace.output_counts.tolist() == [[6], [2]]
    require_plausible(chain(), MONITOR, trace, 2)


@settings(max_examples=40)
@given(seed=seeds)
def test_what_any_program_says_passes(seed: int) -> None:
    rng = stream(seed, "plausible")
    program = random_program(rng)
    batch = [affordable(program, random_events(rng, program.input_shape), 2_000) for _ in range(3)]
    layers = tuple(core.layer for core in program.cores)
    monitor = Monitor(counts=layers, potentials=layers, window_edges_us=(0, 9, 10**6))
    with VirtualDevice(threads=1) as device:
        device.load(program)
        require_plausible(program, monitor, device.run_batch(batch, monitor=monitor), 3)
        require_plausible(program, Monitor(), device.run_batch([]), 0)


def test_silence_is_no_error() -> None:
    with VirtualDevice(threads=1) as device:
        device.load(chain())
        silent = device.run_batch([pulses([], stop_us=10)], monitor=MONITOR)
    require_plausible(chain(), MONITOR, silent, 1)


def changed(**tables: Callable[[np.ndarray], np.ndarray]) -> BatchTrace:
    """The trace with arrays replaced: `output_counts`, or `counts_layer0` for an array of a table."""
    trace = observed()
    for key, change in tables.items():
        kind, _, layer = key.partition("_layer")
        if not layer:
            trace = dataclasses.replace(trace, **{kind: change(getattr(trace, kind).copy())})
            continue
        table = dict(getattr(trace, kind))
        table[f"layer{layer}"] = change(table[f"layer{layer}"].copy())
        trace = dataclasses.replace(trace, **{kind: table})
    return trace


def moved(*index: int, by: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = int(array[index]) + by
        return array

    return change


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda: changed(output_counts=lambda a: a[:1]), r"output_counts have shape \(1, 1\), expected \(2, 1\)"),
        (
            lambda: changed(output_potentials=lambda a: a[:, :0]),
            r"output_potentials have shape \(2, 0\), expected \(2, 1\)",
        ),
        (lambda: changed(lost=lambda a: a[:0]), r"lost have shape \(0,\), expected \(2,\)"),
        (lambda: changed(counters_layer0=lambda a: a[:, 1:]), r"counters\['layer0'\] have shape"),
        (
            lambda: changed(counts_layer1=lambda a: a[:1]),
            r"counts\['layer1'\] have shape \(1, 2, 1, 1, 1\), expected \(2, 2,",
        ),
        (lambda: changed(potentials_layer1=lambda a: a[:, :, 0]), r"potentials\['layer1'\] have shape"),
        (
            lambda: changed(counters_layer0=moved(1, 2, by=-9)),
            r"counters\['layer0'\] holds -7: a count cannot be negative",
        ),
        (lambda: changed(lost=moved(0, by=-1)), "lost holds -1"),
        (
            lambda: changed(counts_layer0=moved(0, 1, 0, 0, 0)),
            r"counts\['layer0'\] sum to 3 in stream 1 of the batch, its counters\['layer0'\] of spikes is 2",
        ),
        (lambda: changed(output_counts=moved(0, 0)), r"output_counts sum to 7 in stream 0 .* is 6"),
        (lambda: changed(counters_layer1=moved(0, 2)), r"counts\['layer1'\] sum to 6 .* is 7"),
        (lambda: observed(Monitor(counts=("layer0",), window_edges_us=(0, 5, 10))), r"counts lack \['layer1'\]"),
        (
            lambda: observed(dataclasses.replace(MONITOR, potentials=("layer0", "layer1"))),
            r"potentials hold \['layer0'\], which nobody asked for",
        ),
    ],
)
def test_each_fault_of_an_answer_is_named(spoilt: Callable[[], BatchTrace], message: str) -> None:
    trace = spoilt()
    with pytest.raises(ReadoutError, match=f"the device's {message}"):
        require_plausible(chain(), MONITOR, trace, 2)


def test_output_counts_must_be_those_of_the_windows_class_by_class() -> None:
    """Two classes that changed places add up to the same."""
    weight = np.array([10, 0], np.int8).reshape(1, 1, 1, 2)
    program = chain_of(one_core(weight, (1, 1, 1)))
    monitor = Monitor(counts=("layer0",), window_edges_us=(0, 10))
    with VirtualDevice(threads=1) as device:
        device.load(program)
        trace = device.run_batch([pulses([1, 2], stop_us=10)], monitor=monitor)
    require_plausible(program, monitor, trace, 1)
    swapped = dataclasses.replace(trace, output_counts=trace.output_counts[:, ::-1])
    with pytest.raises(ReadoutError, match=r"counts of 'layer0' in windows do not add up to its output_counts"):
        require_plausible(program, monitor, swapped, 1)


def test_where_spikes_were_lost_counts_need_not_add_up() -> None:
    short = changed(counts_layer0=moved(0, 1, 0, 0, 0, by=-1), lost=moved(1))
    require_plausible(chain(), MONITOR, short, 2)
    with pytest.raises(ReadoutError, match="in stream 1"):
        require_plausible(chain(), MONITOR, dataclasses.replace(short, lost=short.lost[::-1]), 2)


def test_an_accelerators_outputs_are_no_counts() -> None:
    program = chain_of(one_core(np.full((1, 1, 1, 2), -10, np.int8), (1, 1, 1)))
    batch: list[Events] = [pulses([1, 2])]
    with Accelerator(on_overflow="saturate") as accelerator:
        accelerator.load(program)
        trace = accelerator.run_batch(batch)
    assert trace.output_counts.min() < 0
    require_plausible(program, Monitor(), trace, 1, kind="accelerator")
    with pytest.raises(ReadoutError, match="holds -20"):
        require_plausible(program, Monitor(), trace, 1)
    with pytest.raises(ReadoutError, match="shape"):
        require_plausible(program, Monitor(), trace, 2, kind="accelerator")


def test_a_board_answers_only_for_the_layers_it_monitors() -> None:
    whole = observed(Monitor())
    part = dataclasses.replace(whole, counters={"layer1": whole.counters["layer1"]})
    require_plausible(chain(), Monitor(), part, 2, kind="board")
    with pytest.raises(ReadoutError, match="lack \\['layer0'\\]"):
        require_plausible(chain(), Monitor(), part, 2)
    wrong = dataclasses.replace(part, output_counts=part.output_counts + 1)
    with pytest.raises(ReadoutError, match="output_counts sum to 7"):
        require_plausible(chain(), Monitor(), wrong, 2, kind="board")


@pytest.mark.parametrize("as_written", [True, False])
def test_counts_are_added_up_by_stream(as_written: bool) -> None:
    """In the core, and where memory lies otherwise: as NumPy adds them, past what 16 and 32 bits hold."""
    rng = stream(0, "sums")
    counts = rng.integers(0, 1 << 16, (3, 4, 9, 80, 90)).astype(np.uint16)
    counts[:, 1] = 65535
    maps = np.ascontiguousarray(counts.transpose(0, 1, 3, 4, 2)).transpose(0, 1, 4, 2, 3) if as_written else counts
    np.testing.assert_array_equal(sum_streams(maps), counts.sum(axis=(0, 2, 3, 4), dtype=np.int64))
