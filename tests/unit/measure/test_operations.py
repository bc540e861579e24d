"""Operations against loops that touch every product, and their energies by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import Monitor
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.profile import read_profile
from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape
from chiploop.measure.operations import (
    Operations,
    count_fan_in,
    fan_out,
    frame_operations,
    heard_counts,
    operation_metrics,
    window_operations,
)
from chiploop.quantize import quantize
from chiploop.rng import stream
from chiploop.spec import NeuronSpec
from chiploop.spec.graph import Edge, LayerSpec, NetworkSpec
from chiploop.spec.notation import parse_notation
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool

IF = NeuronSpec()


def products(op: Conv, in_shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Every (channel, y, x) that a product is taken of, once for each product: the definition, written out."""
    channels, height, width = in_shape
    features, out_height, out_width = op.out_shape(in_shape)
    found = []
    for _ in range(features):
        for oy in range(out_height):
            for ox in range(out_width):
                for c in range(channels):
                    for ky in range(op.kernel):
                        for kx in range(op.kernel):
                            y, x = oy * op.stride + ky - op.padding, ox * op.stride + kx - op.padding
                            if 0 <= y < height and 0 <= x < width:
                                found.append((c, y, x))
    return found


@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    size=st.tuples(st.integers(1, 3), st.integers(4, 7), st.integers(4, 7)),
    features=st.integers(1, 3),
)
def test_products_and_fan_out_are_those_of_the_loops(
    kernel: int, stride: int, padding: int, size: tuple[int, int, int], features: int
) -> None:
    op = Conv(channels=features, kernel=kernel, stride=stride, padding=padding)
    reached: NDArray[np.int64] = np.zeros(size, np.int64)
    for address in (touched := products(op, size)):
        reached[address] += 1
    assert count_fan_in(op, size) == len(touched)
    assert np.array_equal(fan_out(op, size), reached)


def test_a_padded_border_by_hand() -> None:
    # 3x3 over 4x4 with padding 1: 2, 3, 3, 2 rows inside, and the same columns: 10 x 10 products, 2 inputs, 5 outputs
    op = Conv(channels=5, kernel=3, padding=1)
    assert count_fan_in(op, (2, 4, 4)) == 5 * 2 * 10 * 10
    # with stride 2: outputs at -1 and 1: 2 and 3 rows inside
    assert count_fan_in(Conv(channels=1, kernel=3, stride=2, padding=1), (1, 4, 4)) == 5 * 5
    # what a stride jumps over reaches nobody
    assert fan_out(Conv(channels=3, kernel=1, stride=2), (1, 3, 3))[0].tolist() == [[3, 0, 3], [0, 0, 0], [3, 0, 3]]


def test_linear_by_hand() -> None:
    assert count_fan_in(Linear(features=10), (64,)) == 640
    assert fan_out(Linear(features=10), (3,)).tolist() == [10, 10, 10]


def test_a_frame_costs_each_layer_once() -> None:
    network = parse_notation("4c3-P2-10", (2, 8, 8), IF, stream(0, "operations"))
    # 6x6 outputs of 2 * 9 inputs, four times; then 4 * 3 * 3 inputs to 10
    assert list(frame_operations(network).macs.values()) == [36 * 18 * 4, 360]
    assert frame_operations(network, n=7).totals() == {"macs": 7 * (36 * 18 * 4 + 360)}


def test_windows_by_hand() -> None:
    network = parse_notation("1c1-P2-3", (1, 4, 4), IF, stream(0, "operations"))
    (conv, fc) = (layer.name for layer in network.spiking)
    inputs = np.zeros((2, 1, 4, 4), np.int64)  # two windows
    inputs[0, 0, 0, 0], inputs[1, 0, 3, 3] = 2, 1
    spikes = {conv: np.full((2, 1, 4, 4), 3, np.float32), fc: np.ones((2, 3))}
    operations = window_operations(network, inputs, spikes, n=1, n_windows=2)
    assert operations.acs == {conv: 3, fc: 2 * 16 * 3 * 3}  # 96 spikes survive the pool, each reaches 3 neurons
    assert operations.updates == {conv: 2 * 16, fc: 2 * 3}


def test_rows_that_fill_no_pool_reach_nobody() -> None:
    network = parse_notation("1c1-P2-3", (1, 5, 5), IF, stream(0, "operations"))
    conv, fc = (layer.name for layer in network.spiking)
    spikes = np.zeros((1, 5, 5), np.int64)
    spikes[0, 4, :] = 1
    spikes[0, 0, 0] = 1
    operations = window_operations(network, np.zeros((1, 5, 5)), {conv: spikes}, n=1, n_windows=1)
    assert operations.acs == {conv: 0, fc: 3}


def test_merged_edges_add_up_or_stand_side_by_side() -> None:
    def conv(name: str, channels: int, in_channels: int) -> LayerSpec:
        weight = np.ones((channels, in_channels, 1, 1), np.float32)
        op = Conv(channels=channels, kernel=1)
        return LayerSpec(name=name, op=op, weight=weight, neuron=IF, in_shape=(in_channels, 2, 2))

    network = NetworkSpec(
        layers=(conv("a", 2, 1), conv("b", 2, 2), conv("sum", 1, 2), conv("join", 1, 3)),
        edges=(
            Edge("input", "a"),
            Edge("a", "b"),
            Edge("a", "sum"),
            Edge("b", "sum"),
            Edge("b", "join"),
            Edge("sum", "join", shift=2),
        ),
        input_shape=(1, 2, 2),
    )
    spikes = {"a": np.full((2, 2, 2), 5), "b": np.full((2, 2, 2), 7), "sum": np.full((1, 2, 2), 1)}
    heard = heard_counts(network, np.full((1, 2, 2), 3), spikes)
    assert (heard["sum"][1] == 12).all()
    assert heard["join"][1][:, 0, 0].tolist() == [7, 7, 1]


def test_accumulates_of_the_chips_own_spikes_are_its_synaptic_updates() -> None:
    rng = stream(3, "operations")
    network = parse_notation("4c3p1-P2-6c3s2p1-5", (2, 9, 9), NeuronSpec(v_th=0.4), rng)
    columns = (np.sort(rng.integers(1_000, size=120)), *(rng.integers(k, size=120) for k in (2, 9, 9)))
    events = Events.from_columns(*columns, SensorShape(2, 9, 9))
    program = compile_program(quantize(network), read_profile("ideal"))
    names = tuple(core.layer for core in program.cores)
    with OracleDevice() as device:
        device.load(program)
        run = device.run(events, monitor=Monitor(counts=names, window_edges_us=(0, 300, 1_000)))
    inputs = np.zeros((2, 9, 9), np.int64)
    np.add.at(inputs, (events.channel, events.y, events.x), 1)
    operations = window_operations(network, inputs, run.counts, n=1, n_windows=2)
    assert operations.acs == {name: run.counters[name].synops for name in names}
    assert min(operations.acs.values()) > 0


@given(cut=st.integers(1, 5), seed=st.integers(0, 99))
def test_two_parts_make_the_whole(cut: int, seed: int) -> None:
    rng = stream(seed, "operations")
    network = parse_notation("2c3p1-3", (1, 4, 4), IF, rng)
    conv, fc = (layer.name for layer in network.spiking)
    inputs, spikes = rng.integers(4, size=(6, 1, 4, 4)), {conv: rng.integers(3, size=(6, 2, 4, 4))}

    def part(rows: slice) -> Operations:
        chosen = {name: values[rows] for name, values in spikes.items()}
        return window_operations(network, inputs[rows], chosen, n=len(inputs[rows]), n_windows=3)

    whole = part(slice(None))
    assert part(slice(cut)) + part(slice(cut, None)) == whole
    assert whole.updates == {conv: 6 * 3 * 32, fc: 6 * 3 * 3}
    assert frame_operations(network, n=cut) + frame_operations(network, n=2) == frame_operations(network, n=cut + 2)


def test_energy_of_a_frame_by_hand() -> None:
    operations = Operations(n=2, macs={"conv": 1_000_000, "fc": 500_000})
    macs, energy = operation_metrics(operations, arithmetic="float32", method="cnn", where="software", seed=1)
    assert (macs.name, macs.value, macs.unit, macs.how) == ("macs_per_sample", 750_000, "MACs", "counted")
    assert energy.value == pytest.approx(750_000 * 4.6 / 1e6)
    assert (energy.how, energy.unit, energy.interval, energy.low) == ("modelled", "uJ", None, None)
    assert energy.source is not None
    assert energy.source.startswith("multiply-accumulate (float32 multiply + float32 add) 4.6 pJ (paper: Horowitz 2014")
    integer = operation_metrics(operations, arithmetic="int8")[1]
    assert integer.value == pytest.approx(750_000 * 0.3 / 1e6)


def test_energy_of_windows_by_hand() -> None:
    operations = Operations(n=4, acs={"conv": 3_000, "fc": 1_000}, updates={"conv": 200, "fc": 200})
    acs, updates, energy = operation_metrics(operations, arithmetic="float32")
    assert (acs.name, acs.value, updates.name, updates.value) == ("acs_per_sample", 1_000, "updates_per_sample", 100)
    assert energy.value == pytest.approx(1_100 * 0.9 / 1e6)
    assert operation_metrics(operations, arithmetic="int8")[2].value == pytest.approx(1_100 * 0.05 / 1e6)


def test_large_sums_are_exact() -> None:
    network = parse_notation("1", (1, 1, 1), IF, stream(0, "operations"))
    inputs = np.full((3, 1, 1, 1), 2**24 + 1, np.float64)  # more than float32 counts
    assert sum(window_operations(network, inputs, {}, n=1, n_windows=1).acs.values()) == 3 * (2**24 + 1)


def test_what_cannot_be_counted_is_refused() -> None:
    network = parse_notation("1c1-3", (1, 2, 2), IF, stream(0, "operations"))
    conv = network.spiking[0].name
    good = np.zeros((1, 2, 2))
    with pytest.raises(DataError, match="no spikes of layer"):
        window_operations(network, good, {}, n=1, n_windows=1)
    with pytest.raises(DataError, match="no whole numbers"):
        window_operations(network, good, {conv: good + 0.5}, n=1, n_windows=1)
    with pytest.raises(DataError, match="are negative"):
        window_operations(network, good - 1, {conv: good}, n=1, n_windows=1)
    with pytest.raises(DataError, match=r"last axes must be \(1, 2, 2\)"):
        window_operations(network, np.zeros((2, 1, 2)), {conv: good}, n=1, n_windows=1)
    with pytest.raises(DataError, match="n_windows = 0"):
        window_operations(network, good, {conv: good}, n=1, n_windows=0)
    with pytest.raises(DataError, match="at least one"):
        Operations(n=0)


def test_pools_and_flatten_take_no_products() -> None:
    layers = (
        LayerSpec(name="pool", op=SumPool(size=2), weight=None, neuron=None, in_shape=(1, 4, 4)),
        LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=(1, 2, 2)),
        LayerSpec(name="fc", op=Linear(features=2), weight=np.ones((2, 4), np.float32), neuron=IF, in_shape=(4,)),
    )
    edges = (Edge("input", "pool"), Edge("pool", "flat"), Edge("flat", "fc"))
    network = NetworkSpec(layers=layers, edges=edges, input_shape=(1, 4, 4))
    assert frame_operations(network).macs == {"fc": 8}
    assert window_operations(network, np.ones((1, 4, 4)), {}, n=1, n_windows=1).acs == {"fc": 32}
