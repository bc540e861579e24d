"""The vendor's configuration: a small program by hand, the way back, and what a board cannot do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from chiploop.chip.dvs import DvsLayer, NoiseFilter
from chiploop.chip.hardware.board_limits import check_board
from chiploop.chip.hardware.readout_spread import spread_readout
from chiploop.chip.hardware.speck_config import speck_config, write_speck_config
from chiploop.chip.hardware.speck_import import program_from_config, read_speck_config
from chiploop.chip.profile import read_profile
from chiploop.chip.program import Program, Target
from chiploop.chip.readout import Readout
from chiploop.errors import DataError, DeviceError
from chiploop.events.types import SensorShape
from chiploop.rng import stream
from strategies_board import biased_program, board_program, branched_program
from strategies_chip import chain_of, one_core, seeds

SPECK = read_profile("speck2f")


def small() -> Program:
    """Two cores: a kernel of 2 with every weight different, pooled by 2 and 2 again on the way to ten classes."""
    weight = np.arange(1, 1 + 2 * 2 * 2 * 3).reshape(2, 2, 2, 3).astype(np.int8)  # [C, ky, kx, F]
    way = Target(7, pool=1, shift=1)
    first = one_core(weight, (2, 8, 12), core=3, padding=1, stride=2, pool=1, threshold=90, floor=-7, targets=(way,))
    head = one_core(np.ones((4, 1, 1, 1), np.int8), (4, 1, 1), core=7, layer="head", reset="zero")
    return Program(
        profile_hash="p",
        quant_hash="q",
        cores=(first, head),
        input_shape=SensorShape(2, 8, 12),
        inputs=(Target(3),),
        outputs=(7,),
    )


def test_a_core_by_hand() -> None:
    config = speck_config(small(), SPECK)["configuration"]
    core = config["cnn_layers"][3]
    assert core["dimensions"] == {
        "input_shape": {"feature_count": 2, "size": {"x": 12, "y": 8}},
        "output_shape": {"feature_count": 3, "size": {"x": 7, "y": 5}},
        "kernel_size": 2,
        "stride": {"x": 2, "y": 2},
        "padding": {"x": 1, "y": 1},
    }
    # weights[f][c][x][y]: the weight of feature 2, channel 1 at ky = 0, kx = 1 is 1 + 1 * 12 + 0 * 6 + 1 * 3 + 2.
    assert core["weights"][2][1][1][0] == 18
    assert core["weights"][0][0] == [[1, 7], [4, 10]]  # [x][y]
    assert (core["threshold_high"], core["threshold_low"], core["return_to_zero"]) == (90, -7, False)
    assert (core["biases"], core["leak_enable"], core["leak_internal_slow_clk_enable"]) == ([0, 0, 0], False, False)
    assert np.shape(core["neurons_initial_value"]) == (3, 7, 5)  # [f][x][y]
    assert core["destinations"] == [
        {"enable": True, "layer": 7, "pooling": 4, "feature_shift": 1},
        {"enable": False, "layer": 0, "pooling": 1, "feature_shift": 0},
    ]
    assert config["cnn_layers"][7]["return_to_zero"] is True
    assert [bool(layer) for layer in config["cnn_layers"]] == [i in (3, 7) for i in range(9)]


def test_the_sensor_is_shut_off_unless_the_program_has_a_sensor_layer() -> None:
    assert speck_config(small(), SPECK)["configuration"]["dvs_layer"]["pass_sensor_events"] is False
    layer = DvsLayer(
        in_shape=SensorShape(2, 40, 50), pool=1, cut=(2, 5, 9, 16), mirror_y=True, hot_pixels=((3, 4), (1, 2))
    )
    config = speck_config(dataclasses.replace(small(), dvs=layer, input_shape=layer.in_shape), SPECK)
    assert config["kill_pixels"] == [{"x": 2, "y": 1}, {"x": 4, "y": 3}]
    assert config["configuration"]["dvs_layer"] == {
        "pass_sensor_events": True,
        "monitor_enable": False,
        "on_channel": True,
        "off_channel": True,
        "merge": False,
        "pooling": {"x": 2, "y": 2},
        "origin": {"x": 5, "y": 2},
        "cut": {"x": 16, "y": 9},
        "mirror": {"x": False, "y": True},
        "mirror_diagonal": False,
        "destinations": [{"enable": True, "layer": 3}, {"enable": False, "layer": 0}],
    }


def test_only_named_layers_are_monitored() -> None:
    layers = speck_config(small(), SPECK, monitor=["head"])["configuration"]["cnn_layers"]
    assert (layers[3]["monitor_enable"], layers[7]["monitor_enable"]) == (False, True)
    with pytest.raises(DeviceError, match=r"'haed'.*did you mean 'head'"):
        speck_config(small(), SPECK, monitor=["haed"])


@pytest.mark.parametrize(("average", "disabled", "long"), [(1, True, False), (16, False, False), (32, False, True)])
def test_the_readout_layer(average: int, disabled: bool, long: bool) -> None:
    readout = Readout(tick_us=5_000, average=average, threshold=2.0)  # type: ignore[arg-type]
    config = speck_config(small(), SPECK, readout=readout)
    made = config["configuration"]["readout"]
    assert (made["low_pass_filter_disable"], made["low_pass_filter32_not16"]) == (disabled, long)
    assert (made["enable"], made["threshold"], made["readout_configuration_sel"]) == (True, 2, 3)
    assert config["slow_clock_hz"] == 200
    head = config["configuration"]["cnn_layers"][7]
    assert head["destinations"][0] == {"enable": True, "layer": 12, "pooling": 1, "feature_shift": 0}
    assert program_from_config(config) == small()  # the readout is no core


@settings(max_examples=60)
@given(seed=seeds)
def test_the_way_there_and_back_gives_the_same_program(seed: int) -> None:
    for make in (board_program, biased_program, branched_program):
        program = make(stream(seed, "config"))
        through_json = json.loads(json.dumps(speck_config(program, SPECK)))
        assert program_from_config(through_json) == program


@pytest.mark.parametrize("cut", [None, (0, 1, 3, 5)])
def test_a_sensor_layer_comes_back(cut: tuple[int, int, int, int] | None) -> None:
    layer = DvsLayer(
        in_shape=SensorShape(2, 16, 24),
        pool=1,
        cut=cut,
        mirror_x=True,
        mirror_diagonal=True,
        merge=True,
        hot_pixels=((0, 0),),
    )
    core = one_core(np.ones((1, 1, 1, 1), np.int8), tuple(layer.out_shape))
    program = dataclasses.replace(chain_of(core), input_shape=layer.in_shape, dvs=layer)
    assert program_from_config(speck_config(program, SPECK)) == program


def core_with(**changes: Any) -> Program:
    shape, kernel = changes.pop("shape", (1, 4, 4)), changes.pop("kernel", (1, 1))
    features = changes.pop("features", 1)
    return chain_of(one_core(np.ones((shape[0], *kernel, features), np.int8), shape, **changes))


def with_sensor(**changes: Any) -> Program:
    layer = DvsLayer(**{"in_shape": SensorShape(2, 4, 4), **changes})
    core = one_core(np.ones((layer.out_shape.channels, 1, 1, 1), np.int8), tuple(layer.out_shape))
    return dataclasses.replace(chain_of(core), input_shape=layer.in_shape, dvs=layer)


def many_targets() -> Program:
    sender = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), targets=(Target(1), Target(2), Target(3)))
    others = [one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), core=n, layer=f"l{n}") for n in (1, 2, 3)]
    return dataclasses.replace(chain_of(sender, *others), outputs=(1, 2, 3))


def two_targets() -> Program:
    sender = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), targets=(Target(1), Target(2)))
    others = [one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), core=n, layer=f"l{n}") for n in (1, 2)]
    return dataclasses.replace(chain_of(sender, *others), outputs=(1, 2))


def pooled_twice(pool: int) -> Program:
    sender = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 8, 8), pool=1, targets=(Target(1, pool=pool - 1),))
    hearer = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 8 >> pool, 8 >> pool), core=1, layer="l1")
    return chain_of(sender, hearer)


def clocked(period_us: int) -> Program:
    core = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), bias=np.ones(1, np.int16))
    given = {name: getattr(chain_of(dataclasses.replace(core, bias=None)), name) for name in ("inputs", "outputs")}
    return Program(
        profile_hash="", quant_hash="", cores=(core,), input_shape=core.in_shape, clock_us=period_us, **given
    )


REFUSED = {
    "tau": (core_with(tau_us=1e4), "leaky neurons"),
    "thresholds": (core_with(thresholds=np.full((1, 4, 4), 5, np.int32)), "one threshold serves a core"),
    "state_bits": (core_with(state_bits=32), "states of 32 bits"),
    "all": (core_with(spikes_per_update="all"), "spikes_per_update = 'one'"),
    "floor": (core_with(floor=0), "floor of -1"),
    "square": (core_with(kernel=(1, 2)), "kernel 1x2 is not square"),
    "kernel": (core_with(kernel=(17, 17), shape=(1, 17, 17)), "kernel 17, at most 16"),
    "stride": (core_with(stride=3), "stride 3"),
    "padding": (core_with(padding=8, stride=8), "padding 8, at most 7"),
    "side": (core_with(shape=(1, 129, 4), stride=4), "input map's side 129, at most 128"),
    "out": (core_with(shape=(1, 65, 4)), "neuron map's side 65, at most 64"),
    "channels": (core_with(shape=(1, 1, 1), features=1025), "channels out 1025, at most 1024"),
    "kernel words": (core_with(shape=(129, 8, 8), kernel=(8, 8), features=2), "needs 16512 kernel words, has 16384"),
    "neuron words": (core_with(shape=(1, 64, 64), features=17), "needs 69632 neuron words, has 65536"),
    "core": (core_with(core=9), "the board has cores 0..8"),
    "targets": (many_targets(), "sends to 3 cores, at most 2"),
    "pool": (pooled_twice(3), "pools by 8 on its way"),
    "clock": (clocked(30), "whole hertz"),
    "fast clock": (clocked(50), "at most 10000"),
    "noise": (with_sensor(noise=NoiseFilter(window_us=5)), "noise filter counts slow-clock edges"),
    "polarities": (with_sensor(in_shape=SensorShape(1, 4, 4)), "2 polarities"),
    "sensor side": (with_sensor(in_shape=SensorShape(2, 130, 4), cut=(0, 0, 3, 3)), "128x128 pixels"),
    "sensor pool": (with_sensor(in_shape=SensorShape(2, 8, 8), pool=3), "pooled by one of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_board_cannot_do_is_refused_and_nothing_else_found(name: str) -> None:
    program, sentence = REFUSED[name]
    with pytest.raises(DeviceError, match="cannot run this program: ") as refused:
        speck_config(program, SPECK)
    assert sentence in str(refused.value)
    assert len(list(check_board(program, SPECK))) == 1


def test_every_reason_is_given_at_once() -> None:
    program = core_with(floor=0, stride=3, spikes_per_update="all")
    with pytest.raises(DeviceError) as refused:
        speck_config(program, SPECK)
    assert all(word in str(refused.value) for word in ("floor", "stride", "spikes_per_update"))
    assert str(refused.value).count("core 0 ('layer0')") == 3


def test_just_within_every_limit() -> None:
    wide = core_with(shape=(1, 128, 128), kernel=(16, 16), stride=2, padding=7, floor=-1, pool=2)
    assert list(check_board(wide, SPECK)) == []
    assert list(check_board(clocked(100), SPECK)) == []
    assert list(check_board(pooled_twice(2), SPECK)) == []
    assert list(check_board(with_sensor(in_shape=SensorShape(2, 128, 128), pool=2), SPECK)) == []


def test_a_chip_without_limits_is_no_board() -> None:
    with pytest.raises(DeviceError, match="'ideal' has no limits"):
        speck_config(core_with(), read_profile("ideal"))


@pytest.mark.parametrize(
    ("readout", "program", "sentence"),
    [
        (Readout(tick_us=1_000, average=1, threshold=1.5), core_with(shape=(1, 1, 1)), "whole spikes a tick"),
        (Readout(tick_us=1_000, average=1, threshold=1.0), core_with(), "the output map is 4x4"),
        (Readout(tick_us=700, average=1, threshold=1.0), core_with(shape=(1, 1, 1)), "whole hertz"),
        (Readout(tick_us=1_000, average=1, threshold=1.0), clocked(2_000), "share one slow clock"),
    ],
)
def test_readouts_a_board_cannot_do(readout: Readout, program: Program, sentence: str) -> None:
    with pytest.raises(DeviceError) as refused:
        speck_config(program, SPECK, readout=readout)
    assert sentence in str(refused.value)


def test_the_readout_takes_one_of_two_ways_out() -> None:
    """Two cores and the readout are one destination too many; without the readout the program passes."""
    forked = dataclasses.replace(two_targets(), outputs=(0,))
    assert list(check_board(forked, SPECK)) == []
    readout = Readout(tick_us=1_000, average=1, threshold=1.0)
    with pytest.raises(DeviceError, match="sends to 2 cores and the readout, at most 2 in all"):
        speck_config(forked, SPECK, readout=readout)


def test_a_file_is_the_same_bytes_and_comes_back(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        write_speck_config(tmp_path / name, small(), SPECK)
    text = (tmp_path / "one.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "two.json").read_text(encoding="utf-8")
    config = read_speck_config(tmp_path / "one.json")
    assert program_from_config(config) == small()
    assert (config["schema"], config["version"]) == ("chiploop.speck-config", 1)
    assert config["units"]["clock_us"] == "us"


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    for content, said in (("{", "is not JSON"), ("[1]", "holds list"), ('{"schema": "x", "version": 1}', "'x', 1")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=said):
            read_speck_config(path)
    with pytest.raises(DataError, match="cannot read"):
        read_speck_config(tmp_path / "absent.json")


def test_configurations_that_describe_no_program() -> None:
    def damaged(damage: str) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(json.dumps(speck_config(small(), SPECK)))
        core = config["configuration"]["cnn_layers"][3]
        if damage == "weight":
            core["weights"][0][0][0][0] = 128
        elif damage == "stride":
            core["dimensions"]["stride"]["x"] = 1
        elif damage == "missing":
            del core["threshold_high"]
        else:
            core["dimensions"]["output_shape"]["size"]["x"] = 9
        return config

    for damage, said in (("weight", "-128..127"), ("stride", "x and y differ"), ("missing", "threshold_high")):
        with pytest.raises(DataError, match=said):
            program_from_config(damaged(damage))
    with pytest.raises(DataError, match="neuron map"):
        program_from_config(damaged("map"))


def test_a_spread_readout_is_exported_with_its_channels_apart() -> None:
    head = one_core(np.array([[[[1, 2, 3]]]], np.int8), (1, 1, 1))
    readout = Readout(tick_us=1_000, average=1, threshold=1.0)
    core = speck_config(spread_readout(chain_of(head), SPECK).program, SPECK, readout=readout)
    weights = [plane[0][0][0] for plane in core["configuration"]["cnn_layers"][0]["weights"]]
    assert weights == [1, 0, 0, 0, 2, 0, 0, 0, 3]
