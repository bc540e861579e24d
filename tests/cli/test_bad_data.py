"""Recordings that are not what they should be: one line that says which file, which byte, what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chiploop.recipes.recipe import read_recipe
from chiploop.recipes.run import run_recipe
from command_line import Command

RECORDING = Path("N-MNIST/Train/3/00014.bin")
QUICK = ("--set", "learn.bptt=none", "--set", "learn.cil-bptt=none", "--set", "learn.cnn.epochs=1", "--quiet")


def event(x: int, y: int, t: int, polarity: int = 1) -> bytes:
    """The five bytes of one event."""
    return bytes([x, y, polarity << 7 | t >> 16, t >> 8 & 0xFF, t & 0xFF])


OVERFLOW = event(0, 240, 0)
BROKEN = {
    "truncated": (event(1, 2, 3) * 4 + b"\x01\x02", r"is truncated at byte 20: 22 bytes are no multiple of 5"),
    "empty file": (b"", r"is empty \(byte 0\)"),
    "unsorted": (event(1, 2, 500) + event(1, 2, 400), r"time goes back from 500 to 400 us at byte 7"),
    "x outside": (event(1, 2, 3) + event(34, 2, 4), r"x = 34 at byte 5 lies outside the sensor \(0\.\.33\)"),
    "y outside": (event(1, 2, 3) + event(3, 200, 4), r"y = 200 at byte 6 lies outside the sensor \(0\.\.33\)"),
    "noise": (bytes(range(7, 107)), r"at byte \d+"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_recording_is_named_with_the_byte(chiploop: Command, recipe: Path, bars: Path, what: str) -> None:
    content, message = BROKEN[what]
    (bars / RECORDING).write_bytes(content)
    ran = chiploop("run", recipe, "--data", bars, "--out", "out", *QUICK)
    assert ran.code == 2
    assert str(bars / RECORDING) in ran.error
    assert re.search(message, ran.error)
    assert ran.out == ""
    assert not Path("out").exists()  # found before training, and nothing left behind


def test_an_error_is_an_object_too(chiploop: Command, recipe: Path, bars: Path) -> None:
    (bars / RECORDING).write_bytes(b"")
    ran = chiploop("run", recipe, "--data", bars, *QUICK, "--json")
    assert ran.code == 2
    assert ran.json == {"error": ran.error}


def test_a_recording_without_events_is_legal_and_answered_by_silence(
    chiploop: Command, recipe: Path, bars: Path
) -> None:
    for path in (bars / "N-MNIST").glob("Train/*/*.bin"):
        path.write_bytes(OVERFLOW)  # a time marker and no event
    spec = Path("still.safetensors")
    _write_network(spec)
    measured = chiploop("measure", spec, "--data", bars, "--split", "train", "--json", "--quiet")
    assert measured.code == 0
    found = {metric["name"]: metric["value"] for metric in measured.json["metrics"] if "layer" not in metric}
    assert (found["accuracy"], found["n_silent"], found["n_ties"]) == (0.0, 40.0, 0.0)
    assert found["synops_per_sample"] == 0.0


@pytest.mark.usefixtures("chiploop")
def test_one_silent_recording_among_others_trains(recipe: Path, bars: Path) -> None:
    (bars / RECORDING).write_bytes(OVERFLOW)
    changes = ["learn.bptt=none", "learn.cil-bptt=none", "learn.cnn.epochs=1"]
    (record,) = run_recipe(read_recipe(str(recipe), changes), root=bars, out=Path("out"))
    assert {metric.n for metric in record.metrics if metric.name == "accuracy"} == {12}


def test_missing_data_says_what_to_put_where(chiploop: Command, recipe: Path) -> None:
    ran = chiploop("run", recipe, "--data", "nowhere")
    assert ran.code == 2
    assert "no recording nowhere/N-MNIST/Train/<digit>/<nnnnn>.bin" in ran.error
    assert "unpack Train.zip into nowhere/N-MNIST" in ran.error
    assert "CHIPLOOP_DATA" in ran.error
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_are_no_recordings(chiploop: Command, recipe: Path, name: str) -> None:
    _write_idx(name)
    ran = chiploop("run", recipe, "--set", f"data.dataset={name}", "--data", "images")
    assert ran.code == 2
    assert f"data set {name!r} holds images, not recordings" in ran.error


def test_more_shares_than_there_are_recordings(chiploop: Command, recipe: Path, bars: Path) -> None:
    ran = chiploop("run", recipe, "--data", bars, "--set", "data.n=2", "--set", "data.validation=0.0")
    assert ran.code == 2
    assert "the validation part is empty; raise its share" in ran.error


def test_shares_beyond_the_whole(chiploop: Command, recipe: Path, bars: Path) -> None:
    ran = chiploop("run", recipe, "--data", bars, "--set", "data.test=0.9", "--set", "data.validation=0.9")
    assert ran.code == 2
    assert "data.validation and data.test take 1.8 of the recordings; leave some to train on" in ran.error


def _write_idx(name: str) -> None:
    folder = Path("images") / {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[name]
    folder.mkdir(parents=True)
    one = (1).to_bytes(4, "big")
    side = (28).to_bytes(4, "big")
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + one + side + side + bytes(28 * 28))
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + one + b"\x07")


def _write_network(path: Path) -> None:
    from chiploop.rng import stream
    from chiploop.spec.graph import NeuronSpec
    from chiploop.spec.io import write_network
    from chiploop.spec.notation import parse_notation

    write_network(path, parse_notation("4c5s4-10", (2, 34, 34), NeuronSpec(), stream(0, "weights"), dt_us=32_000))
