"""The integer CNN against plain Python integers and fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from chiploop.chip.accelerator import CHUNK, Accelerator
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import COUNTER_NAMES, DEVICES, BatchTrace, Device, Monitor
from chiploop.chip.integer_cnn import integer_layers, requantize
from chiploop.chip.profile import read_profile
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from chiploop.quantize import quantize
from chiploop.rng import stream
from chiploop.spec import INPUT, NeuronSpec
from chiploop.spec.notation import parse_notation

SHAPE = SensorShape(2, 9, 9)
NOTATION = "3c3s2p1-P2-4c2-6-5"


def program(notation: str = NOTATION, shape: SensorShape = SHAPE, v_th: float = 0.7) -> Program:
    base = parse_notation(notation, shape, NeuronSpec(v_th=v_th), stream(0, "weights"))
    return compile_program(quantize(base), read_profile("ideal"))


def recordings(n: int, shape: SensorShape = SHAPE, *, events: int = 300) -> list[Events]:
    rng = stream(1, "recordings")
    batch = []
    for _ in range(n):
        size = int(rng.integers(events // 2, events))
        columns = [rng.integers(0, bound, size) for bound in shape]
        batch.append(Events.from_columns(np.sort(rng.integers(0, 10_000, size)), *columns, shape))
    return batch


def frame(events: Events) -> np.ndarray:
    counts = np.zeros(events.shape, np.int64)
    np.add.at(counts, (events.channel, events.y, events.x), 1)
    return counts


def half_up(value: Fraction) -> int:
    return int((value + Fraction(1, 2)) // 1)


def plain_layer(core: CoreConfig, a: np.ndarray) -> np.ndarray:
    channels, kh, kw, features = core.weight.shape
    acc = np.zeros(core.neuron_shape, object)
    for f in range(features):
        for oy in range(core.neuron_shape.height):
            for ox in range(core.neuron_shape.width):
                total = 0
                for c in range(channels):
                    for ky in range(kh):
                        for kx in range(kw):
                            y, x = oy * core.stride + ky - core.padding, ox * core.stride + kx - core.padding
                            if 0 <= y < core.in_shape.height and 0 <= x < core.in_shape.width:
                                total += int(core.weight[c, ky, kx, f]) * int(a[c, y, x])
                acc[f, oy, ox] = total
    return acc


def plain_network(loaded: Program, counts: np.ndarray, a_max: int, fractions: dict[str, int]) -> tuple[list[int], int]:
    """Return logits and the number of clamped activations, input included."""
    clamped = 0

    def clamp(value: Fraction) -> int:
        nonlocal clamped
        rounded = half_up(value)
        clamped += rounded > a_max
        return min(rounded, a_max)

    scale = Fraction(2) ** fractions.get(INPUT, 0)
    a = np.vectorize(lambda n: clamp(int(n) * scale), otypes=[object])(counts)
    for core, source in zip(loaded.cores, [INPUT, *(core.layer for core in loaded.cores)], strict=False):
        acc = plain_layer(core, a)
        if core is loaded.cores[-1]:
            return [int(n) for n in acc.ravel()], clamped
        ratio = Fraction(2) ** (fractions.get(core.layer, 0) - fractions.get(source, 0)) / core.threshold
        a = np.zeros(core.out_shape, object)
        for f, y, x in np.ndindex(*core.out_shape):
            k = 1 << core.pool
            window = acc[f, y * k : y * k + k, x * k : x * k + k]
            a[f, y, x] = clamp(sum(max(int(n), 0) for n in window.ravel()) * ratio)
    raise AssertionError("a program has a last core")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("events", [60, 4_000])
def test_every_logit_equals_plain_integers(bits: int, events: int) -> None:
    loaded, batch = program(), recordings(3, events=events)
    with Accelerator(activation_bits=bits) as device:
        device.load(loaded)
        fractions = device.calibrate(batch[:2])
        trace = device.run_batch(batch)
    high = COUNTER_NAMES.index("saturated_high")
    for b, recording in enumerate(batch):
        logits, clamped = plain_network(loaded, frame(recording), (1 << (bits - 1)) - 1, fractions)
        assert trace.output_counts[b].tolist() == logits
        assert int(trace.lost[b]) + sum(int(table[b, high]) for table in trace.counters.values()) == clamped


def test_clamping_is_counted() -> None:
    loaded, batch = program(), recordings(2, events=60_000)
    with Accelerator(fractions={INPUT: 0, "conv1": 3}) as device:
        device.load(loaded)
        trace = device.run_batch(batch)
    logits, clamped = plain_network(loaded, frame(batch[0]), 127, {"conv1": 3})
    assert trace.output_counts[0].tolist() == logits
    assert clamped > int(trace.lost[0]) > 100  # pixels with more than 127 events, and activations
    high = COUNTER_NAMES.index("saturated_high")
    assert int(trace.lost[0]) + sum(int(table[0, high]) for table in trace.counters.values()) == clamped


def test_logits_of_one_layer_are_weights_times_counts() -> None:
    loaded = program("3", SensorShape(4, 1, 1))
    recording = Events.from_columns([0, 1, 2, 3], [0, 2, 2, 3], [0] * 4, [0] * 4, SensorShape(4, 1, 1))
    with Accelerator() as device:
        device.load(loaded)
        logits = device.run_batch([recording]).output_counts[0]
    weight = loaded.cores[0].weight[:, 0, 0, :].astype(int)
    assert logits.tolist() == (weight[0] + 2 * weight[2] + weight[3]).tolist()


def test_sixteen_bits_come_close_to_the_network_of_real_rectified_units() -> None:
    loaded, batch = program(), recordings(8)
    with Accelerator(activation_bits=16) as device:
        device.load(loaded)
        device.calibrate(batch)
        fine = _values(device, device.run_batch(batch))
    with Accelerator(activation_bits=8) as device:
        device.load(loaded)
        device.calibrate(batch)
        coarse = _values(device, device.run_batch(batch))
    real = np.stack([_real_logits(loaded, frame(recording)) for recording in batch])
    spread = np.abs(real).max()
    assert np.abs(fine - real).max() < 1e-3 * spread  # 15 bits a layer, three layers
    assert 1e-4 * spread < np.abs(coarse - real).max() < 0.1 * spread  # 7 bits a layer


def _values(device: Accelerator, trace: BatchTrace) -> np.ndarray:
    return trace.output_counts / 2.0 ** device.fractions["fc1"]


def _real_logits(loaded: Program, counts: np.ndarray) -> np.ndarray:
    a = torch.from_numpy(counts.astype(np.float64))[None]
    for core in loaded.cores:
        weight = torch.from_numpy(core.weight.astype(np.float64)).permute(3, 0, 1, 2)
        acc = torch.nn.functional.conv2d(a, weight, stride=core.stride, padding=core.padding)
        k = 1 << core.pool
        a = torch.nn.functional.avg_pool2d(torch.relu(acc), k) * k * k / core.threshold
    return acc.numpy().ravel()  # type: ignore[no-any-return]


def test_calibration_uses_the_range_and_no_more() -> None:
    loaded, batch = program(), recordings(6)
    with Accelerator() as device:
        device.load(loaded)
        fractions = device.calibrate(batch)
        within = device.run_batch(batch)
        assert within.total("saturated_high") == 0
        assert fractions[INPUT] == 0  # no pixel has more than 127 events
        for name in set(fractions) - {INPUT}:
            more = Accelerator(fractions=fractions | {name: fractions[name] + 1})
            more.load(loaded)
            assert more.run_batch(batch).total("saturated_high") > 0


def test_both_float_widths_are_used_and_exact() -> None:
    loaded = program("8c3p1-10", SensorShape(2, 6, 6))
    narrow = integer_layers(loaded, a_max=127, fractions={})
    wide = integer_layers(loaded, a_max=32767, fractions={})
    assert [layer.matrix.dtype for layer in narrow] == [np.float32, np.float32]
    assert [layer.matrix.dtype for layer in wide] == [np.float64, np.float64]


def test_bounds_are_reached() -> None:
    core = program("2", SensorShape(3, 1, 1)).cores[0]
    layer = integer_layers(program("2", SensorShape(3, 1, 1)), a_max=127, fractions={})[0]
    weight = core.weight[:, 0, 0, :].astype(int)
    assert layer.highest == 127 * max(sum(w for w in column if w > 0) for column in weight.T)
    assert layer.lowest == 127 * min(sum(w for w in column if w < 0) for column in weight.T)


def overflowing() -> Program:
    """Return 600 inputs of weight 127: 32767 * 127 * 600 = 2.5e9 is past 32 bits, 127 * 127 * 600 is not."""
    weight = np.full((600, 1, 1, 1), 127, np.int8)
    first = CoreConfig(
        core=0, layer="first", weight=weight, threshold=100, floor=-32768, reset="subtract", spikes_per_update="one",
        stride=1, padding=0, pool=0, in_shape=SensorShape(600, 1, 1), neuron_shape=SensorShape(1, 1, 1),
        targets=(Target(1),),
    )  # fmt: skip
    last = CoreConfig(
        core=1, layer="last", weight=np.ones((1, 1, 1, 2), np.int8), threshold=1, floor=-32768, reset="subtract",
        spikes_per_update="one", stride=1, padding=0, pool=0, in_shape=SensorShape(1, 1, 1),
        neuron_shape=SensorShape(2, 1, 1), targets=(),
    )  # fmt: skip
    return Program(
        profile_hash="",
        quant_hash="",
        cores=(first, last),
        input_shape=first.in_shape,
        inputs=(Target(0),),
        outputs=(1,),
    )


def test_sums_past_32_bits_are_refused_or_clamped_and_counted() -> None:
    Accelerator().load(overflowing())
    with pytest.raises(DeviceError, match=r"'first': sums may reach 0\.\.2496845400, past 32 bits; use 8-bit"):
        Accelerator(activation_bits=16).load(overflowing())
    each = np.arange(600)  # one event an input; with 15 fraction bits it is 32768, clamped to 32767
    full = Events.from_columns(each, each, 0 * each, 0 * each, SensorShape(600, 1, 1))
    with Accelerator(activation_bits=16, on_overflow="saturate", fractions={INPUT: 15}) as device:
        device.load(overflowing())
        trace = device.run_batch([full])
    assert trace.lost.tolist() == [600]
    assert trace.counters["first"][0, COUNTER_NAMES.index("saturated_high")] == 1
    assert trace.output_counts[0].tolist() == [655, 655]  # (2^31 - 1) / 2^15 / 100 = 655.36


def test_requantize_rounds_halves_up_and_clamps() -> None:
    for divisor in (1, 3, 7, 32767):
        for shift in (-5, 0, 4):
            sums = np.arange(0, 3_000, 7)
            got = requantize(sums, shift=shift, divisor=divisor, a_max=127)
            want = [min(half_up(Fraction(int(n)) * Fraction(2) ** shift / divisor), 127) for n in sums]
            assert got.tolist() == want
    largest = requantize(np.array([2**31 - 1]), shift=30, divisor=32767, a_max=2**62)
    assert int(largest[0]) == half_up(Fraction(2**31 - 1) * 2**30 / 32767)


def test_runs_add_up_until_a_reset_and_batches_leave_them_alone() -> None:
    loaded, (one, two) = program(), recordings(2)
    with Accelerator() as device:
        assert isinstance(device, Device)
        device.load(loaded)
        device.run(one)
        batch = device.run_batch([one, two])
        both = device.run(two).metrics
        device.reset()
        alone = device.run(two).metrics
    joined = Events.from_columns(
        np.concatenate([one.t_us, two.t_us + 10_000]), *(np.concatenate([getattr(one, c), getattr(two, c)])
        for c in ("channel", "y", "x")), SHAPE,
    )  # fmt: skip
    with Accelerator() as device:
        device.load(loaded)
        assert device.run(joined).metrics == both
    assert list(alone.values()) == batch.output_counts[1].tolist()
    assert both != alone


def test_batches_do_not_depend_on_their_size() -> None:
    loaded, batch = program(), recordings(CHUNK + 3, events=40)
    with Accelerator() as device:
        device.load(loaded)
        whole = device.run_batch(batch)
        parts = [device.run_batch([recording]) for recording in batch]
    assert np.array_equal(whole.output_counts, np.concatenate([part.output_counts for part in parts]))
    assert np.array_equal(whole.counters["conv2"], np.concatenate([part.counters["conv2"] for part in parts]))


def test_counters_by_hand() -> None:
    loaded = program()
    silent = Events.empty(SHAPE)
    with Accelerator() as device:
        device.load(loaded)
        trace = device.run_batch([silent, recordings(1)[0]])
    # conv1: 5x5 outputs of 3 channels, 2 * 9 inputs each; conv2 hears 2x2: one output of 4, 3 * 4 inputs each
    assert trace.counters["conv1"][:, COUNTER_NAMES.index("synops")].tolist() == [5 * 5 * 3 * 18] * 2
    assert trace.counters["conv2"][:, COUNTER_NAMES.index("synops")].tolist() == [4 * 12] * 2
    heard = trace.counters["conv1"][:, COUNTER_NAMES.index("events_in")].tolist()
    assert heard == [0, int(np.count_nonzero(frame(recordings(1)[0])))]
    assert trace.output_counts[0].tolist() == [0] * 5


def test_refusals() -> None:
    assert DEVICES.get("accelerator") is Accelerator
    with pytest.raises(DeviceError, match="activation_bits = 4 must be one of"):
        Accelerator(activation_bits=4)
    with pytest.raises(DeviceError, match="on_overflow = 'wrap'"):
        Accelerator(on_overflow="wrap")  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match=r"fractions\['conv9'\]: no such activations; did you mean"):
        Accelerator(fractions={"conv9": 1}).load(program())
    with pytest.raises(DeviceError, match=r"fractions\['conv1'\] = 16 must be in -15\.\.15"):
        Accelerator(fractions={"conv1": 16}).load(program())
    with pytest.raises(DeviceError, match="'conv1' pools its outputs"):
        Accelerator().load(program("3c3-P2"))
    device = Accelerator()
    with pytest.raises(DeviceError, match="no program is loaded"):
        device.run_batch(recordings(1))
    device.load(program())
    with pytest.raises(DeviceError, match="no windows, potentials or spikes"):
        device.run_batch(recordings(1), monitor=Monitor(counts=("conv1",), window_edges_us=(0, 10_000)))
    with pytest.raises(DeviceError, match=r"events of shape \(2, 4, 4\), the program hears \(2, 9, 9\)"):
        device.run_batch(recordings(1, SensorShape(2, 4, 4)))
    with pytest.raises(DeviceError, match="empty batch"):
        device.run_batch([])
