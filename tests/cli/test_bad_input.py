"""What a user mistypes or damages: exit code 2 and one line that names it, the bound and the nearest valid thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from chiploop.cli.app import app
from command_line import Command

MISTAKES = {
    "network.surogate=x": "unknown key 'network.surogate': did you mean 'surrogate'?",
    "learn.bptt.epoch=3": "unknown key 'learn.bptt.epoch': did you mean 'epochs'?",
    "dta.n=3": "unknown key 'dta': did you mean 'data'?",
    "data.tested_on.dataste=nmnist": "unknown key 'data.tested_on.dataste': did you mean 'dataset'?",
    "learn.cnn.augment.shift=2": "unknown key 'learn.cnn.augment.shift': did you mean 'shift_px'?",
    "learn.btt.epochs=3": "'learn.btt.method' is missing; if 'btt' is not meant to be a new row: did you mean 'bptt'?",
    "data.dataset=nmnits": "data.dataset = 'nmnits': did you mean 'nmnist'?",
    "learn.bptt.method=bppt": "learn.bptt.method = 'bppt': did you mean 'bptt'?",
    "chip.profile=speck2": "chip.profile = 'speck2': did you mean 'speck2f'?",
    "chip.device=virtaul": "chip.device = 'virtaul': did you mean 'virtual'?",
    "network.surrogate=exponental": "network.surrogate = 'exponental': did you mean 'exponential'?",
    "learn.bptt.epochs=-1": "learn.bptt.epochs: input should be greater than or equal to 0 (it is -1)",
    "learn.bptt.epochs=2.5": "learn.bptt.epochs: input should be a valid integer",
    "learn.bptt.lr=fast": "learn.bptt.lr: input should be a valid number",
    "learn.bptt.lr=nan": "learn.bptt.lr: input should be a finite number",
    "learn.bptt.lr=inf": "learn.bptt.lr: input should be a finite number",
    "learn.bptt.plan=everything": "learn.bptt.plan: input should be 'output', 'output+v', 'all' or 'all+v'",
    "quantize.bits=9": "quantize.bits: input should be less than or equal to 8 (it is 9)",
    "data.test=1.5": "data.test: input should be less than or equal to 1 (it is 1.5)",
    "learn.cil-bptt.warm_start=btt": "learn.cil-bptt.warm_start is 'btt': neither an earlier row (cnn, bptt) nor a",
    "learn.cil-bptt.warm_start=x.safetensors": "learn.cil-bptt.warm_start = 'x.safetensors': there is no such file",
    "learn.bptt.data=pretrain": "learn.bptt.data is 'pretrain', but data.pretrain is not given",
    "learn=none": "key 'learn' is missing",
    "nonsense": "--set 'nonsense': write key=value",
    "=3": "--set '=3': write key=value",
    "name.x=3": "--set 'name.x=3': 'name' is a value, not a table",
    "network.layers=16c3-x": "network '16c3-x': cannot read 'x'",
    "network.layers=4c5s4-5": "network.layers = '4c5s4-5' gives 5 outputs, but 'nmnist' has 10 classes: end it in -10",
    "network.layers=10": "network.layers: input should be a valid string",
}


@pytest.mark.parametrize("change", MISTAKES)
def test_a_mistaken_change_is_explained(chiploop: Command, recipe: Path, bars: Path, change: str) -> None:
    ran = chiploop("run", recipe, "--set", change, "--data", bars)
    assert ran.code == 2
    assert MISTAKES[change] in ran.error
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["run", "show", "map"])
def test_an_unknown_recipe_is_met_with_the_nearest(chiploop: Command, command: str) -> None:
    ran = chiploop(command, "dmeo")
    assert ran.code == 2
    assert "no recipe 'dmeo': did you mean 'demo'?" in ran.error


def test_a_recipe_that_is_no_toml(chiploop: Command) -> None:
    Path("mine.toml").write_text("name = \n")
    assert "recipe mine.toml is not valid TOML" in chiploop("show", "mine.toml").error
    assert "cannot read recipe gone.toml: No such file" in chiploop("show", "gone.toml").error


def test_a_network_that_breaks_a_chip_limit_is_refused_before_training(
    chiploop: Command, recipe: Path, bars: Path
) -> None:
    wide = ("--set", "network.layers=64c3-64c3-10")
    ran = chiploop("run", recipe, *wide, "--data", bars, "--out", "out", "--quiet")
    assert ran.code == 2
    assert "the network breaks 3 design rule(s) of chip 'speck2f': " in ran.error
    # fc1 hears 64 channels of 30 x 30: 64 * 2^(10 + 4) kernel words, since an address takes whole bits.
    assert "[kernel_memory] layer 'fc1': 1048576, allowed: 65536 (983040 too many)" in ran.error
    assert "[kernel_size] layer 'fc1': 30, allowed: 16 (14 too many)" in ran.error
    # conv2 takes 64 * 2^(4 + 6) kernel words, which only the cores with 16,384 neuron words hold.
    assert "[core_memory] layer 'conv2': 65536 kernel words with 65536 neuron words" in ran.error
    assert not Path("out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("command", ["show", "map", "measure"])
def test_weights_that_are_no_numbers_are_refused(chiploop: Command, done: Path, command: str, value: float) -> None:
    path = done / "seed-0" / "bptt.network.safetensors"
    _poison(path, value)
    ran = chiploop(command, path)
    assert ran.code == 2
    assert str(path) in ran.error
    assert f"weight[0, 0, 0, 0] is {value}" in ran.error


def test_a_damaged_network_file(chiploop: Command, done: Path) -> None:
    path = done / "seed-0" / "bptt.network.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert "is damaged" in chiploop("map", path).error
    assert "cannot read gone.safetensors: No such file or directory" in chiploop("map", "gone.safetensors").error
    Path("other.safetensors").write_bytes(save({"a": np.zeros(3, np.float32)}))
    assert "other.safetensors is not a chiploop file" in chiploop("show", "other.safetensors").error


def test_a_program_is_no_network(chiploop: Command, done: Path) -> None:
    ran = chiploop("map", done / "seed-0" / "bptt.program.safetensors")
    assert ran.code == 2
    assert "holds a 'Program'" in ran.error


def test_an_out_that_cannot_be_written(chiploop: Command, recipe: Path, bars: Path) -> None:
    Path("file").write_text("in the way")
    ran = chiploop("run", recipe, "--data", bars, "--out", "file/out")
    assert ran.code == 2
    assert "cannot write file/out/recipe.toml" in ran.error


@pytest.mark.parametrize("command", [command.name for command in app.registered_commands])
def test_an_unknown_option_is_one_line(chiploop: Command, command: str) -> None:
    ran = chiploop(command, "--sede", "3")
    assert ran.code == 2
    assert f"(see: chiploop {command} --help)" in ran.error
    assert chiploop(command, "--sede", "--json").json["error"].startswith("No such option: --sede")


def test_an_unknown_command_is_met_with_the_nearest(chiploop: Command) -> None:
    assert "Did you mean 'run'?" in chiploop("rnu").error


def test_no_command_is_help(chiploop: Command) -> None:
    ran = chiploop()
    assert ran.code == 2
    assert "chiploop run demo" in ran.out + ran.err
    assert "error" not in ran.err


def _poison(path: Path, value: float) -> None:
    """Put a value into a network's first weight and make the digest right, so that only the weight is wrong."""
    from chiploop.digest import digest

    content = path.read_bytes()
    arrays = {name: array.copy() for name, array in load(content).items()}
    size = int.from_bytes(content[:8], "little")
    described = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["chiploop"])
    described.pop("digest")
    first = next(name for name in sorted(arrays) if name.endswith("weight"))
    arrays[first].flat[0] = value
    header = json.dumps({**described, "digest": digest([described, arrays])}, sort_keys=True)
    path.write_bytes(save(arrays, metadata={"chiploop": header}))
