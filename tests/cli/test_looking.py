"""The commands that look at things: ls, show, map, measure, report, doctor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import COUNTER_NAMES
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.profile import read_profile
from chiploop.datasets.nmnist import open_nmnist
from chiploop.measure.record import read_record
from chiploop.quantize.apply import quantize
from chiploop.recipes.recipe import Recipe, read_recipe
from chiploop.spec.io import read_network
from command_line import SOURCES, Command


def test_ls_lists_every_kind_with_a_line_each(chiploop: Command) -> None:
    every = chiploop("ls", "--json").json
    assert {"recipes", "methods", "datasets", "neurons", "chips", "devices", "rules"} <= set(every)
    for kind, entries in every.items():
        assert entries, kind
        assert all(line.strip() for line in entries.values()), kind
        assert chiploop("ls", kind, "--json").json == {kind: entries}
    text = chiploop("ls").out
    assert all(name in text for entries in every.values() for name in entries)
    assert max(map(len, text.splitlines())) <= 100  # the terminal's width


def test_ls_of_something_unknown(chiploop: Command) -> None:
    assert "nothing to list under 'recipe': did you mean 'recipes'?" in chiploop("ls", "recipe").error


def test_show_spells_out_a_recipe_that_reads_back(chiploop: Command, recipe: Path) -> None:
    shown = chiploop("show", recipe, "--set", "learn.bptt.epochs=7")
    Path("again.toml").write_text(shown.out)
    again = read_recipe("again.toml")
    assert again == read_recipe(str(recipe), ["learn.bptt.epochs=7"])
    assert shown.out.startswith(f"# tiny, hash {again.hash}\n")
    assert "temperature = 4.0\n" in shown.out  # a default


def test_show_json_holds_the_resolved_recipe(chiploop: Command, recipe: Path) -> None:
    shown = chiploop("show", recipe, "--json").json
    assert Recipe.model_validate(shown["recipe"]) == read_recipe(str(recipe))


def test_show_counts_what_a_network_holds(chiploop: Command, done: Path) -> None:
    path = done / "seed-0" / "bptt.network.safetensors"
    shown = chiploop("show", path, "--json").json
    conv, _, fc = shown["layers"]
    assert (conv["weight_shape"], conv["weights"]) == ([4, 2, 5, 5], 200)
    assert (fc["weight_shape"], fc["weights"]) == ([10, 256], 2_560)  # 4 channels of 8 x 8
    assert shown["weights"] == 2_760
    # Kernel: 2 channels * 2^(ceil log2 25 + ceil log2 4); neurons: 4 * 2^(3 + 3).
    assert (conv["kernel_words"], conv["neuron_words"]) == (2 << (5 + 2), 4 << (3 + 3))
    assert shown["dt_us"] == 320_000 // 4
    assert shown["digest"] == read_network(path).digest
    text = chiploop("show", path).out
    assert "2,760 weights" in text
    assert "200 4x2x5x5" in text


def test_show_knows_programs_checkpoints_and_records(chiploop: Command, done: Path) -> None:
    folder = done / "seed-0"
    program = chiploop("show", folder / "bptt.program.safetensors", "--json").json
    assert [core["layer"] for core in program["cores"]] == ["conv1", "fc1"]
    assert program["cores"][0]["targets"] == [{"core": program["cores"][1]["core"], "pool": 0, "shift": 0}]
    checkpoint = chiploop("show", folder / "bptt.checkpoint.safetensors", "--json").json
    assert [epoch["epoch"] for epoch in checkpoint["history"]] == [0, 1]
    record = chiploop("show", folder / "record.json", "--json").json
    assert record["id"] == read_record(folder / "record.json").id
    for name in ("bptt.program.safetensors", "bptt.checkpoint.safetensors", "record.json"):
        assert len(chiploop("show", folder / name).out.splitlines()) > 3


def test_map_places_each_layer_and_says_what_is_used(chiploop: Command, done: Path) -> None:
    placed = chiploop("map", done / "seed-0" / "bptt.network.safetensors", "--json")
    assert placed.code == 0
    assert placed.json["fits"]
    conv, fc = placed.json["layers"]
    assert (conv["core"], conv["kernel_words"], conv["kernel_limit"]) == (0, 256, 16 * 1024)
    # fc1 hears 4 x 8 x 8: 4 * 2^(6 + 4) kernel words.
    assert (fc["core"], fc["kernel_words"], fc["neuron_words"]) == (1, 4096, 10)
    text = chiploop("map", done / "seed-0" / "bptt.network.safetensors").out
    assert "fits speck2f" in text
    assert "25%" in text


def test_map_exits_with_1_and_names_the_cures(chiploop: Command) -> None:
    arguments = ("map", "nmnist-table1", "--input", "2x34x34", "--set", "network.layers=16c3p1-P3-10")
    answer = chiploop(*arguments, "--json")
    assert answer.code == 1
    rules = {violation["rule"]: violation for violation in answer.json["violations"]}
    assert rules["pool"]["layer"] == "conv1"
    assert rules["pool"]["cure"]
    text = chiploop(*arguments)
    assert (text.code, text.err) == (1, "")
    assert "does not fit speck2f" in text.out
    assert chiploop(*arguments, "--chip", "speck").code == 2


def test_map_of_a_recipe_without_its_data_asks_for_the_input(chiploop: Command) -> None:
    assert "give --input CxHxW, such as 2x34x34" in chiploop("map", "nmnist-table1").error
    assert "--input '34x34': write channels x height x width" in chiploop("map", "demo", "--input", "34x34").error


def test_measure_counts_what_the_oracle_counts(chiploop: Command, done: Path, bars: Path) -> None:
    path = done / "seed-0" / "bptt.network.safetensors"
    common = ("measure", path, "--data", bars, "--split", "train", "--n", 10, "--json", "--quiet")
    found = {device: chiploop(*common, "--device", device) for device in ("virtual", "oracle")}
    values = {device: {m["name"]: m["value"] for m in ran.json["metrics"]} for device, ran in found.items()}
    assert values["virtual"] == values["oracle"]
    assert found["virtual"].json["n"] == 10

    # By hand: the whole data set on the oracle, and means over what its counters say.
    data = open_nmnist(bars)
    everything = chiploop("measure", path, "--data", bars, "--split", "train", "--json", "--quiet").json
    with OracleDevice() as device:
        device.load(compile_program(quantize(read_network(path)), read_profile("speck2f")))
        trace = device.run_batch([data.sample(i).events for i in range(len(data))])
    synops = sum(table[:, COUNTER_NAMES.index("synops")].sum() for table in trace.counters.values())
    measured = next(m for m in everything["metrics"] if m["name"] == "synops_per_sample" and "layer" not in m)
    assert measured["value"] == pytest.approx(synops / len(data))


@pytest.mark.parametrize("device", ["software", "int-sync", "accelerator"])
def test_measure_runs_everywhere(chiploop: Command, done: Path, bars: Path, device: str) -> None:
    path = done / "seed-0" / "cnn.network.safetensors"
    ran = chiploop("measure", path, "--data", bars, "--split", "train", "--device", device, "--quiet")
    assert ran.code == 0
    assert f"cnn on {device}, 40 recordings of nmnist" in ran.out
    assert "% Wilson" in ran.out


def test_measure_refuses_recordings_of_another_size(chiploop: Command, done: Path) -> None:
    ran = chiploop("measure", done / "seed-0" / "cnn.network.safetensors", "--dataset", "shapes")
    assert ran.code == 2
    assert "the network hears 2x34x34, the recordings of 'shapes' are 2x8x8" in ran.error


def test_measure_names_missing_data_and_sizes(chiploop: Command, done: Path, bars: Path) -> None:
    path = done / "seed-0" / "cnn.network.safetensors"
    assert "unpack Test.zip" in chiploop("measure", path, "--data", bars).error
    many = chiploop("measure", path, "--data", bars, "--split", "train", "--n", 41)
    assert "--n 41: 'nmnist' has 40 recordings in split 'train'" in many.error
    assert "has no split 'tets'" in chiploop("measure", path, "--data", bars, "--split", "tets").error


def test_report_needs_records_only(chiploop: Command, done: Path) -> None:
    ran = chiploop("report", done, "--out", "elsewhere", "--json")
    assert ran.json == {"records": 1, "html": "elsewhere/report.html", "markdown": "elsewhere/report.md"}
    assert Path("elsewhere/report.html").read_text() == (done / "report.html").read_text()


def test_report_of_nothing(chiploop: Command, done: Path) -> None:
    Path("empty").mkdir()
    assert "no record.json below empty" in chiploop("report", "empty").error
    assert "gone is not a folder" in chiploop("report", "gone").error
    (done / "seed-0" / "record.json").write_text("{")
    assert "record.json is damaged" in chiploop("report", done).error


def test_doctor_finds_data_and_tests_the_core(chiploop: Command, bars: Path) -> None:
    ran = chiploop("doctor", "--data", bars, "--json")
    assert ran.code == 0
    found = ran.json
    assert found["self_test"]["passed"]
    assert found["core"]["isa"] in ("avx512", "avx2", "neon", "portable")
    sets = found["data"]["sets"]
    assert sets["nmnist"]["samples"] == {"train": 40}
    assert not sets["mnist"]["found"]
    assert "train-images-idx3-ubyte" in sets["mnist"]["message"]
    text = chiploop("doctor", "--data", bars).out
    assert "40 train" in text
    assert "all that is needed works" in text


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m chiploop ls rules | head -n 1"
    ran = subprocess.run(
        ["bash", "-c", line], env={"PYTHONPATH": str(SOURCES), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert ran.stdout.startswith("bias_bits ")
    assert ran.stderr == ""


def test_an_ascii_terminal_gets_look_alikes(done: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "chiploop", "show", str(done / "seed-0" / "record.json")],
        env={"PYTHONPATH": str(SOURCES), "PATH": "", "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True,
    )  # fmt: skip
    row = next(line for line in ran.stdout.decode("ascii").splitlines() if line.startswith("bptt "))
    assert " - " in row  # no accelerator for a spiking network
    assert b"?" not in ran.stdout
