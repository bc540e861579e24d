"""Output channels spread for the readout's erratum: what they hold, what they do, and whether they fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from chiploop.chip.device import Monitor
from chiploop.chip.hardware.readout_spread import spread_readout
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.profile import read_profile
from chiploop.chip.program import DEAD, Program, Target
from chiploop.errors import DesignRuleError, DeviceError
from chiploop.events.types import SensorShape
from chiploop.rng import stream
from strategies_chip import chain_of, one_core, random_events, seeds

SPECK = read_profile("speck2f")


def classifier(rng: np.random.Generator, classes: int, channels: int = 3) -> Program:
    weight = rng.integers(-30, 90, (channels, 2, 2, classes)).astype(np.int8)
    bias = rng.integers(-5, 9, classes).astype(np.int16)
    core = one_core(weight, (channels, 2, 2), threshold=70, floor=-40, bias=bias)
    return Program(
        profile_hash="p",
        quant_hash="q",
        cores=(core,),
        input_shape=core.in_shape,
        inputs=(Target(0),),
        outputs=(0,),
        clock_us=100,
    )


def test_ten_classes_take_every_fourth_of_37_channels() -> None:
    program = classifier(stream(0, "spread"), 10)
    spread = spread_readout(program, SPECK)
    wide, core = spread.program.cores[0], program.cores[0]
    assert wide.neuron_shape == SensorShape(37, 1, 1)
    assert wide.bias is not None
    np.testing.assert_array_equal(wide.weight[..., [4 * c for c in range(10)]], core.weight)
    np.testing.assert_array_equal(wide.bias[::4], core.bias)
    between = [channel for channel in range(37) if channel % 4]
    assert not wide.weight[..., between].any()
    assert not wide.bias[between].any()
    assert [spread.class_of(channel) for channel in (-4, 0, 4, 5, 36, 40)] == [None, 0, 1, None, 9, None]


@settings(max_examples=30)
@given(seed=seeds)
def test_the_spread_program_says_the_same_in_other_channels(seed: int) -> None:
    rng = stream(seed, "spread")
    program = classifier(rng, int(rng.integers(1, 16)))
    spread = spread_readout(program, SPECK)
    events = random_events(rng, program.input_shape)
    monitor = Monitor(counts=("layer0",), potentials=("layer0",), spikes=("layer0",), window_edges_us=(0, 10**6))
    traces = []
    for one in (program, spread.program):
        with OracleDevice() as oracle:
            oracle.load(one)
            traces.append(oracle.run(dataclasses.replace(events, stop_us=max(events.stop_us, 300)), monitor=monitor))
    plain, wide = traces
    np.testing.assert_array_equal(spread.gather(wide.potentials["layer0"][0]), plain.potentials["layer0"][0])
    np.testing.assert_array_equal(wide.counts["layer0"][:, :: spread.stride], plain.counts["layer0"])
    assert wide.counts["layer0"].sum() == plain.counts["layer0"].sum()  # nothing spikes in between
    spikes = wide.spikes["layer0"]
    assert [spread.class_of(int(channel)) for channel in spikes.channel] == plain.spikes["layer0"].channel.tolist()


def test_neurons_in_between_are_dead_where_thresholds_are_their_own() -> None:
    core = one_core(np.ones((1, 1, 1, 2), np.int8), (1, 1, 1), thresholds=np.full((2, 1, 1), 3, np.int32))
    wide = spread_readout(chain_of(core), SPECK).program.cores[0]
    assert wide.thresholds is not None
    assert wide.thresholds.reshape(-1).tolist() == [3, DEAD, DEAD, DEAD, 3]


def test_a_layer_that_outgrows_its_core_is_placed_on_another() -> None:
    """The head takes 256 * 2^(2 + 4) = 16 Ki kernel words with 15 channels, 256 * 2^(2 + 6) = 64 Ki with 57."""
    hidden = one_core(np.ones((1, 1, 1, 256), np.int8), (1, 2, 2), core=3, layer="hidden", targets=(Target(0),))
    head = one_core(np.ones((256, 2, 2, 15), np.int8), (256, 2, 2), core=0, layer="head")
    moved = spread_readout(chain_of(hidden, head), SPECK).program
    assert moved.layer("head").neuron_shape.channels == 57
    assert moved.layer("head").core in (5, 6)  # the two with 64 Ki
    assert moved.layer("hidden").targets == (Target(moved.layer("head").core),)
    assert moved.inputs == (Target(moved.layer("hidden").core),)
    assert moved.outputs == (moved.layer("head").core,)


def test_a_layer_that_fits_stays_where_it_is() -> None:
    head = one_core(np.ones((2, 1, 1, 10), np.int8), (2, 1, 1), core=7, layer="head")
    assert spread_readout(chain_of(head), SPECK).program.outputs == (7,)


def test_what_cannot_be_spread() -> None:
    ones = np.ones((1, 1, 1, 16), np.int8)
    with pytest.raises(DeviceError, match="16 classes in 'layer0': the readout of speck2f has 15"):
        spread_readout(chain_of(one_core(ones, (1, 1, 1))), SPECK)
    first = one_core(ones[..., :2], (1, 1, 1), targets=(Target(1),))
    second = one_core(np.ones((2, 1, 1, 1), np.int8), (2, 1, 1), core=1, layer="layer1")
    both = chain_of(first, second)
    with pytest.raises(DeviceError, match="the readout hears one core"):
        spread_readout(dataclasses.replace(both, outputs=(0, 1)), SPECK)
    with pytest.raises(DeviceError, match="also sends to cores"):
        spread_readout(dataclasses.replace(both, outputs=(0,)), SPECK)
    deep = one_core(np.ones((512, 2, 2, 15), np.int8), (512, 2, 2), core=5)  # 512 * 2^(2 + 6) kernel words when spread
    with pytest.raises(DesignRuleError, match="'layer0'"):
        spread_readout(chain_of(deep), SPECK)
    with pytest.raises(DesignRuleError, match="1401 channels after spreading, at most 1024"):
        spread_readout(chain_of(one_core(ones[..., :15], (1, 1, 1))), SPECK, stride=100)
