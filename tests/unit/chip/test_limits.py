"""What a chip would compute otherwise than it was asked to is refused where it is stated."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.compile import with_weights
from chiploop.chip.device import DEVICES
from chiploop.chip.profile import parse_profile, read_profile
from chiploop.errors import DataError, DeviceError, QuantizeError
from chiploop.quantize import IntScheme, QuantSpec, dequantize, quantize
from chiploop.rng import stream
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation
from strategies_chip import chain_of, one_core, pulses

PROFILE = """
name = "mine"
revision = "1"
cores = [{{ kernel_words = 16384, neuron_words = 65536, bias_words = 64 }}]
{line}
[sources]
cores = "assumed"
{name} = "assumed"
"""


def network(notation: str, *, bias: float | None = None, clock_us: int | None = None, lif: bool = False) -> NetworkSpec:
    neuron = NeuronSpec(kind="lif", tau_us=5_000.0) if lif else NeuronSpec()
    return parse_notation(notation, (2, 8, 8), neuron, stream(0, notation), dt_us=1_000, bias=bias, clock_us=clock_us)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pools = [1, 3]", "3 is no power of two"),
        ("pools = []", "pools"),
        ("strides = []", "strides"),
        ("neurons = []", "neurons"),
        ("state_bits = 12", "state_bits"),
        ("state_bits = 64", "state_bits"),
        ("weight_bits = 9", "weight_bits"),
    ],
)
def test_a_profile_that_no_core_could_honour_is_refused(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_profile(PROFILE.format(line=line, name=line.split()[0]), where="mine")


def integers(notation: str, **options: object) -> QuantSpec:
    return quantize(network(notation, **options))  # type: ignore[arg-type]


def test_other_ways_between_the_same_layers_are_no_refill() -> None:
    chip = read_profile("speck2f")
    program = compile_program(integers("4c3p1-4c3p1-10"), chip)
    assert with_weights(program, integers("4c3p1-4c3p1-10")).digest == program.digest
    with pytest.raises(DeviceError, match="another way"):
        with_weights(program, integers("4c3p1-(4c3p1)-10"))
    leaky = compile_program(integers("4c3p1-10", bias=-0.1, clock_us=100), chip)
    with pytest.raises(DeviceError, match="another clock"):
        with_weights(leaky, integers("4c3p1-10", bias=-0.1, clock_us=200))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("lif", [False, True])
def test_quantising_again_changes_nothing_where_the_bias_decides_the_scale(seed: int, lif: bool) -> None:
    rng = stream(seed, "large biases")
    base = network("3c3p1-4", bias=-0.1, clock_us=100, lif=lif)
    layers = tuple(
        layer
        if layer.bias is None
        else dataclasses.replace(layer, bias=rng.uniform(-4, 4, layer.bias.shape).astype(np.float32))
        for layer in base.layers
    )
    once = quantize(dataclasses.replace(base, layers=layers))
    again = quantize(dequantize(once))
    for first, second in zip(once.layers, again.layers, strict=True):
        assert (first.scale, first.threshold, first.floor) == (second.scale, second.threshold, second.floor)
        np.testing.assert_array_equal(first.weight, second.weight)
        np.testing.assert_array_equal(first.bias, second.bias)
        assert first.bias is not None
        assert np.abs(first.bias).max() <= 127


def test_a_leak_without_end_is_no_leak() -> None:
    spec = parse_notation("4", (3,), NeuronSpec(kind="lif", tau_us=math.inf), stream(0, "endless"), dt_us=1_000)
    with pytest.raises(QuantizeError, match="use neuron kind 'if'"):
        quantize(spec, IntScheme())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reset": "Zero"}, "reset 'Zero' must be"),
        ({"spikes_per_update": "All"}, "spikes_per_update 'All'"),
        ({"threshold": 5.5}, "threshold 5.5 must be a whole number"),
        ({"pool": -1}, "pool -1 must be a whole number, at least 0"),
    ],
)
def test_a_core_takes_no_near_misses(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), **fields)


def test_addresses_have_sixteen_bits() -> None:
    one_core(np.ones((1 << 16, 1, 1, 1), np.int8), (1 << 16, 1, 1))
    with pytest.raises(DeviceError, match=r"in_shape .* must be in 1\.\.65536"):
        one_core(np.ones(((1 << 16) + 1, 1, 1, 1), np.int8), ((1 << 16) + 1, 1, 1))


@pytest.mark.parametrize("name", ["virtual", "oracle", "timed", "timed-oracle"])
def test_absolute_times_do_not_tick_for_days(name: str) -> None:
    core = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), bias=np.int16([1]))
    epoch_us = 1_700_000_000_000_000
    with DEVICES.get(name)() as device:
        device.load(chain_of(core, clock_us=1_000))
        with pytest.raises(DeviceError, match="1,700,000,000,001 edges of the slow clock"):
            device.run(pulses([epoch_us]))
        there = dataclasses.replace(pulses([epoch_us]), start_us=epoch_us - 1_000)
        assert device.run(there).counters["layer0"].clocked == 2  # at its start, and with the event
        if name.startswith("timed"):
            return  # these count in ns, and have bounds of their own
        device.load(chain_of(core, clock_us=1 << 61))
        with pytest.raises(DeviceError, match="edges of the slow clock"):
            device.run(pulses([(1 << 62) + 1]))
    with pytest.raises(DeviceError, match="clock_us"):
        chain_of(core, clock_us=1 << 62)


def test_edges_are_counted_as_they_tick() -> None:
    core = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), bias=np.int16([1]))
    for clock_us in (1, 3, 7):
        program = chain_of(core, clock_us=clock_us)
        for start in range(-9, 9):
            for stop in range(start, 12):
                ticks = [t for t in range(start, stop) if t % clock_us == 0]
                assert program.n_clock_edges(start, stop) == len(ticks)
