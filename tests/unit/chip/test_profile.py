"""Profiles: the shipped numbers, and files a user gets wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.chip.profile import ChipProfile, parse_profile, profile_names, read_profile
from chiploop.errors import DataError

KI = 1024
SMALL = """
name = "small"
revision = "1"
cores = [{ kernel_words = 64, neuron_words = 32, bias_words = 0 }]
max_kernel = 3
[sources]
cores = "assumed"
max_kernel = "measured"
"""


def test_speck2f_by_its_table() -> None:
    chip = read_profile("speck2f")
    assert [core.kernel_words // KI for core in chip.cores] == [16, 16, 16, 32, 32, 64, 64, 16, 16]
    assert [core.neuron_words // KI for core in chip.cores] == [64, 64, 64, 32, 32, 16, 16, 16, 16]
    assert sum(core.neuron_words for core in chip.cores) == 320 * KI
    assert {core.bias_words for core in chip.cores} == {1024}
    assert (chip.max_input_side, chip.max_output_side, chip.max_channels, chip.max_kernel) == (128, 64, 1024, 16)
    assert (chip.strides, chip.pools, chip.max_padding, chip.fan_out) == ((1, 2, 4, 8), (1, 2, 4), 7, 2)
    assert (chip.readout_classes, chip.readout_stride, chip.weight_bits, chip.state_bits) == (15, 4, 8, 16)
    assert (chip.event_latency_ns, chip.rest_power_uw, chip.active_power_uw) == (3360, 420, (3800, 9500))
    assert chip.neurons == ("if",)


def test_ideal_binds_nothing() -> None:
    chip = read_profile("ideal")
    limits = [name for name in ChipProfile.model_fields if name.startswith("max_")]
    assert chip.unlimited_cores
    assert len(limits) == 5
    assert all(getattr(chip, name) is None for name in (*limits, "strides", "pools", "fan_out", "readout_classes"))


def test_a_user_s_file_is_read_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    assert read_profile(path) == read_profile(str(path)) == parse_profile(SMALL, where="text")
    assert read_profile(path).cores[0].neuron_words == 32


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("max_kernel = 3", "max_kernal = 3", "unknown key 'max_kernal', did you mean 'max_kernel'"),
        ("neuron_words = 32", "neurons = 32", r"unknown key 'cores\.0\.neurons', did you mean 'neuron_words'"),
        ("neuron_words = 32, ", "", r"key 'cores\.0\.neuron_words' is missing"),
        ("max_kernel = 3", 'max_kernel = "3"', "max_kernel = '3': Input should be a valid integer"),
        ("max_kernel = 3", "max_kernel = true", "max_kernel = True"),
        ("max_kernel = 3", "max_kernel = 0", "max_kernel = 0: .*greater than or equal to 1"),
        ('max_kernel = "measured"', 'max_kernel = "rumour"', r"sources\.max_kernel = 'rumour'"),
        ('max_kernel = "measured"', "", "no source for max_kernel"),
        ('max_kernel = "measured"', 'max_kernels = "measured"', r"sources\.max_kernels names no field.*'max_kernel'"),
        ('revision = "1"', "", "key 'revision' is missing"),
        ('revision = "1"', 'revision = "1"\nunlimited_cores = true', "either `cores` or `unlimited_cores = true`"),
        ("max_kernel = 3", "max_kernel = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_one_line_with_the_file_and_the_key(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert SMALL.count(before) == 1
    path = tmp_path / "mine.toml"
    path.write_text(SMALL.replace(before, after))
    with pytest.raises(DataError, match=message) as caught:
        read_profile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no chip profile 'spec2f': did you mean 'speck2f'"):
        read_profile("spec2f")
    with pytest.raises(DataError, match=r"cannot read chip profile .*none\.toml"):
        read_profile(tmp_path / "none.toml")


def test_digest_follows_the_limits_and_not_their_sources() -> None:
    chip = parse_profile(SMALL, where="text")
    assert parse_profile(SMALL.replace("measured", "paper"), where="text").digest == chip.digest
    assert parse_profile(SMALL.replace("max_kernel = 3", "max_kernel = 4"), where="text").digest != chip.digest
    assert len({read_profile(name).digest for name in profile_names()}) == len(profile_names())
