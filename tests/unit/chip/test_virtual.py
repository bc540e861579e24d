"""The virtual device's own border: what it refuses, how its arrays lie, and that the compiled core may be absent."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from chiploop import _core
from chiploop.chip.device import Monitor
from chiploop.chip.program import Target
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from strategies_chip import chain_of, neuron, one_core, pulses, require_same_batch, require_same_trace

SHAPE = SensorShape(2, 12, 12)


def small_program() -> object:
    rng = stream(0, "virtual")
    first = rng.integers(-60, 90, (2, 3, 3, 5)).astype(np.int8)
    second = rng.integers(-60, 90, (5, 6, 6, 3)).astype(np.int8)
    cores = (
        one_core(first, SHAPE, threshold=200, padding=1, pool=1, targets=(Target(1),)),
        one_core(second, (5, 6, 6), core=1, layer="layer1", threshold=300),
    )
    return chain_of(*cores)


def some_events(seed: int, n: int) -> Events:
    rng = stream(seed, "events")
    columns = [rng.integers(0, size, n) for size in SHAPE]
    return Events.from_columns(np.sort(rng.integers(0, 1000, n)), *columns, SHAPE, stop_us=1000)


def test_without_the_compiled_core_the_package_imports_and_the_device_says_how_to_build_it() -> None:
    script = (
        "import sys; sys.modules['chiploop._core'] = None\n"
        "import chiploop, chiploop.chip.virtual\n"
        "from chiploop.chip.device import DEVICES\n"
        "from chiploop.errors import DeviceError\n"
        "assert 'virtual' in DEVICES.names()\n"
        "DEVICES.get('oracle')()\n"
        "try:\n    DEVICES.get('virtual')()\n"
        "except DeviceError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install --no-build-isolation -e ." in done.stdout
    assert "oracle" in done.stdout


def test_no_threads_are_refused() -> None:
    with pytest.raises(DeviceError, match="threads = 0"):
        VirtualDevice(threads=0)


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(DeviceError, match="isa must be"):
        VirtualDevice(isa="sse9").load(neuron(1))


def test_an_instruction_set_that_this_machine_lacks_is_refused() -> None:
    here = _core.available_isas()
    missing = next(isa for isa in ("neon", "avx512", "avx2") if isa not in here)  # no processor has all three
    with pytest.raises(DeviceError, match=f"this machine has no {missing}; it has {', '.join(here)}"):
        VirtualDevice(isa=missing).load(neuron(1))


def test_the_fastest_instruction_set_comes_first_and_portable_last() -> None:
    here = _core.available_isas()
    assert here[0] == _core.best_isa() == VirtualDevice().isa
    assert here[-1] == "portable"
    assert len(set(here)) == len(here)


def test_observations_are_channels_last_in_memory() -> None:
    device = VirtualDevice()
    device.load(small_program())
    monitor = Monitor(counts=("layer0",), potentials=("layer0",), window_edges_us=(0, 300, 1000))
    batch = device.run_batch([some_events(0, 50), some_events(1, 50)], monitor=monitor)
    for maps in (batch.counts["layer0"], batch.potentials["layer0"]):
        assert maps.shape == (2, 2, 5, 12, 12)
        assert maps.transpose(0, 1, 3, 4, 2).flags.c_contiguous


def test_output_columns_reach_the_caller_without_a_copy() -> None:
    device = VirtualDevice()
    device.load(neuron(10))
    out = device.run(pulses([1, 2])).outputs["layer0"]
    for column in (out.t_us, out.channel, out.y, out.x):
        assert not column.flags.writeable
        assert not column.flags.owndata  # the core's own memory


def test_the_core_takes_no_array_of_another_type() -> None:
    weight = np.ones((1, 1, 1, 1), np.int16)
    arguments = (weight, 1, 0, False, False, 1, 0, 0, (1, 1, 1), (1, 1, 1))
    with pytest.raises(TypeError):
        _core.Chip([arguments])  # type: ignore[list-item]


def test_more_events_than_a_chunk_equal_many_short_runs() -> None:
    device = VirtualDevice()
    device.load(small_program())
    events = some_events(3, 5000)
    layers = ("layer0", "layer1")
    monitor = Monitor(counts=layers, potentials=layers, window_edges_us=(0, 1000))
    whole = device.run(events, monitor=monitor)
    assert whole.counters["layer0"].events_in == 5000
    assert whole.counters["layer1"].spikes > 0
    device.reset()
    total, outputs = dict.fromkeys(layers, 0), []
    for at in range(0, 5000, 7):
        columns = (column[at : at + 7] for column in (events.t_us, events.channel, events.y, events.x))
        trace = device.run(Events(*columns, SHAPE, 0, 1000), monitor=monitor)
        outputs.append(np.stack([getattr(trace.outputs["layer1"], name) for name in ("t_us", "channel", "y", "x")]))
        for layer in layers:
            total[layer] = total[layer] + trace.counts[layer].astype(int)
    for layer in layers:
        np.testing.assert_array_equal(total[layer], whole.counts[layer])
        np.testing.assert_array_equal(trace.potentials[layer], whole.potentials[layer])
    names = ("t_us", "channel", "y", "x")
    expected = np.stack([getattr(whole.outputs["layer1"], name) for name in names])
    np.testing.assert_array_equal(np.concatenate(outputs, axis=1), expected)


def test_batches_do_not_depend_on_threads_or_on_batches_before() -> None:
    batch = [some_events(seed, 40 * seed) for seed in range(9)]
    monitor = Monitor(counts=("layer1",), potentials=("layer0",), window_edges_us=(0, 10, 500, 1000))
    traces = []
    for threads in (1, 2, 3, 16):
        device = VirtualDevice(threads=threads)
        device.load(small_program())
        device.run_batch(batch[::-1], monitor=monitor)
        traces.append(device.run_batch(batch, monitor=monitor))
    assert traces[0].output_counts.sum() > 0
    for trace in traces[1:]:
        require_same_batch(trace, traces[0])


def test_devices_and_callers_at_the_same_time_do_not_disturb_one_another() -> None:
    device = VirtualDevice(threads=2)
    device.load(small_program())
    batch = [some_events(seed, 300) for seed in range(4)]
    alone = device.run_batch(batch)
    results: list[object] = []
    callers = [threading.Thread(target=lambda: results.append(device.run_batch(batch))) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 6
    for result in results:
        require_same_batch(result, alone)  # type: ignore[arg-type]


def test_all_kernels_give_the_same_on_a_long_stream() -> None:
    monitor = Monitor(spikes=("layer0", "layer1"))
    traces = []
    for isa in _core.available_isas():
        device = VirtualDevice(isa=isa)
        device.load(small_program())
        traces.append(device.run(some_events(5, 20_000), monitor=monitor))
    for trace in traces:
        require_same_trace(trace, traces[0])
