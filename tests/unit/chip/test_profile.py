"""Profiles: the shipped numbers, and files a user gets wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.chip.profile import CATEGORIES, ChipProfile, Source, parse_profile, profile_names, read_profile
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
PRICED = """
name = "priced"
revision = "1"
cores = [{ kernel_words = 64, neuron_words = 32, bias_words = 0 }]
rest_power_uw = 5
[timing]
event_ns = 10
synop_ns = 2
hop_ns = 3
[energy]
synop_pj = [1.5, 4]
[references]
sheet = "Sheet, page 3"
paper = "Author 2024, Journal 1, 2"
[sources]
cores = "datasheet: sheet"
rest_power_uw = "paper: paper, sheet"
timing.event_ns = "assumed: sheet"
timing.synop_ns = "assumed"
"timing.hop_ns" = "measured"
energy.synop_pj = "assumed"
[notes]
timing.synop_ns = "as event_ns"
"""


@pytest.mark.parametrize("name", ["speck2e", "speck2f"])
def test_speck_by_its_table(name: str) -> None:
    chip = read_profile(name)
    assert [core.kernel_words // KI for core in chip.cores] == [16, 16, 16, 32, 32, 64, 64, 16, 16]
    assert [core.neuron_words // KI for core in chip.cores] == [64, 64, 64, 32, 32, 16, 16, 16, 16]
    assert sum(core.neuron_words for core in chip.cores) == 320 * KI
    assert {core.bias_words for core in chip.cores} == {1024}
    assert (chip.max_input_side, chip.max_output_side, chip.max_channels, chip.max_kernel) == (128, 64, 1024, 16)
    assert (chip.strides, chip.pools, chip.max_padding, chip.fan_out) == ((1, 2, 4, 8), (1, 2, 4), 7, 2)
    assert (chip.readout_classes, chip.readout_stride, chip.weight_bits, chip.state_bits) == (15, 4, 8, 16)
    assert (chip.event_latency_ns, chip.rest_power_uw, chip.active_power_uw) == (3360, 420, (3800, 9500))
    assert chip.neurons == ("if",)
    assert chip.bias_bits == 8


def test_speck2e_and_2f_differ_in_name_alone() -> None:
    one, other = (read_profile(name).model_dump(exclude={"name", "revision"}) for name in ("speck2e", "speck2f"))
    assert one == other
    assert (read_profile("speck2e").revision, read_profile("speck2f").revision) == ("2e", "2f")


def test_ideal_binds_nothing() -> None:
    chip = read_profile("ideal")
    limits = [name for name in ChipProfile.model_fields if name.startswith("max_")]
    assert chip.unlimited_cores
    assert len(limits) == 5
    absent = (*limits, "strides", "pools", "fan_out", "readout_classes", "timing", "energy", "rest_power_uw")
    assert all(getattr(chip, name) is None for name in absent)
    assert chip.neurons == ("if", "lif")


def test_a_user_s_file_is_read_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    assert read_profile(path) == read_profile(str(path)) == parse_profile(SMALL, where="text")
    assert read_profile(path).cores[0].neuron_words == 32


def test_sources_name_their_references_in_full() -> None:
    chip = parse_profile(PRICED, where="text")
    assert chip.source("rest_power_uw") == Source("paper", ("Author 2024, Journal 1, 2", "Sheet, page 3"))
    assert chip.source("rest_power_uw").text == "paper: Author 2024, Journal 1, 2; Sheet, page 3"
    assert chip.source("timing.event_ns").text == "assumed, after Sheet, page 3"
    assert chip.source("timing.synop_ns").text == "assumed: as event_ns"
    assert chip.source("timing.hop_ns").text == "measured"
    with pytest.raises(DataError, match=r"'priced' has no source for 'timing\.event'; did you mean 'timing\.event_ns'"):
        chip.source("timing.event")


def test_names_within_a_table_may_stand_with_or_without_quotes() -> None:
    quoted = PRICED.replace("\ntiming.event_ns", '\n"timing.event_ns"')
    assert quoted != PRICED
    assert parse_profile(quoted, where="text") == parse_profile(PRICED, where="text")


def test_what_is_stated_is_named_entry_by_entry() -> None:
    chip = parse_profile(PRICED, where="text")
    tables = {"timing.event_ns", "timing.synop_ns", "timing.hop_ns", "energy.synop_pj"}
    assert chip.stated == {"cores", "rest_power_uw", *tables}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("event_ns = 10", "evnt_ns = 10", r"unknown key 'timing\.evnt_ns', did you mean 'event_ns'"),
        ("event_ns = 10", "", r"key 'timing\.event_ns' is missing"),
        ("event_ns = 10", "event_ns = 0", r"timing\.event_ns = 0: .*greater than or equal to 1"),
        ("event_ns = 10", "event_ns = 1.5", r"timing\.event_ns = 1\.5"),
        ("hop_ns = 3", 'hop_ns = 3\noverflow = "wait"', r"timing\.overflow = 'wait'.*'stall' or 'drop'"),
        ("hop_ns = 3", 'hop_ns = 3\noverflow = "drop"', r"no source for timing\.overflow"),
        ("hop_ns = 3", "hop_ns = 3\nfifo_depth = 4", r"no source for timing\.fifo_depth"),
        ("[1.5, 4]", "[4, 1.5]", r"energy\.synop_pj = .*first must be the lowest"),
        ("[1.5, 4]", "[0, 4]", r"energy\.synop_pj\.0 = 0: .*greater than 0"),
        ("[1.5, 4]", "[1, inf]", r"energy\.synop_pj\.1 = inf: .*finite"),
        ("[1.5, 4]", "4", r"energy\.synop_pj = 4"),
        ("synop_pj = [", "synops_pj = [", r"unknown key 'energy\.synops_pj', did you mean 'synop_pj'"),
        ("paper: paper, sheet", "paper: papr", r"cites 'papr', not under \[references\]; did you mean"),
        ('"timing.hop_ns" = "measured"', "", r"no source for timing\.hop_ns"),
        ('"timing.hop_ns"', '"timing.hop"', r"sources\.timing\.hop names no field.*'timing\.hop_ns'"),
        ('"timing.hop_ns" =', "timing =", "is not TOML"),
        ('timing.synop_ns = "as event_ns"', 'timing = "x"', r"notes\.timing names no field"),
    ],
)
def test_wrong_tables_are_one_line_with_the_key(before: str, after: str, message: str) -> None:
    assert PRICED.count(before) == 1
    with pytest.raises(DataError, match=message) as caught:
        parse_profile(PRICED.replace(before, after), where="text")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("max_kernel = 3", "max_kernal = 3", "unknown key 'max_kernal', did you mean 'max_kernel'"),
        ("neuron_words = 32", "neurons = 32", r"unknown key 'cores\.0\.neurons', did you mean 'neuron_words'"),
        ("neuron_words = 32, ", "", r"key 'cores\.0\.neuron_words' is missing"),
        ("max_kernel = 3", 'max_kernel = "3"', "max_kernel = '3': Input should be a valid integer"),
        ("max_kernel = 3", "max_kernel = true", "max_kernel = True"),
        ("max_kernel = 3", "max_kernel = 0", "max_kernel = 0: .*greater than or equal to 1"),
        ('max_kernel = "measured"', 'max_kernel = "rumour"', r"sources\.max_kernel = 'rumour': Choices"),
        ('max_kernel = "measured"', 'max_kernel = "measurd"', r"did you mean 'measured'"),
        ('max_kernel = "measured"', 'max_kernel = "paper"', r"max_kernel = 'paper' cites nothing: write 'paper: key'"),
        ('max_kernel = "measured"', 'max_kernel = "datasheet:"', "cites nothing"),
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
    assert parse_profile(SMALL.replace("measured", "assumed"), where="text").digest == chip.digest
    assert parse_profile(SMALL.replace("max_kernel = 3", "max_kernel = 4"), where="text").digest != chip.digest
    assert len({read_profile(name).digest for name in profile_names()}) == len(profile_names())


def test_digest_does_not_follow_prices() -> None:
    chip = parse_profile(PRICED, where="text")
    for before, after in (("event_ns = 10", "event_ns = 11"), ("[1.5, 4]", "[2, 4]"), ("_uw = 5", "_uw = 6")):
        assert parse_profile(PRICED.replace(before, after), where="text").digest == chip.digest
    assert parse_profile(PRICED.replace("kernel_words = 64", "kernel_words = 65"), where="text").digest != chip.digest


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_may_cite(category: str) -> None:
    text = PRICED.replace('"timing.hop_ns" = "measured"', f'"timing.hop_ns" = "{category}: sheet"')
    assert parse_profile(text, where="text").source("timing.hop_ns") == Source(category, ("Sheet, page 3",))  # type: ignore[arg-type]
