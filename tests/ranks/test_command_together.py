"""`torchrun ... -m chiploop run`: one record, the same bits though a rank was killed, errors said once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop import tree
from chiploop.chip.remote.server import DeviceServer
from chiploop.chip.virtual import VirtualDevice
from chiploop.learn.checkpoint import parse_checkpoint, read_content
from chiploop.measure.record import read_records
from chiploop.recipes.recipe import read_recipe
from chiploop.spec.graph import NetworkSpec
from command_line import Outcome
from served import TOKEN
from together import finish_together, kill_once_there, run_together, start_together

EPOCHS = 15
"""Enough of them to kill a rank after the first."""

UNREPORTED = ("--set", "learn.cil.report=false")
"""Nothing is deployed, and no figure is drawn: training is the same."""

RECIPE = f"""
name = "shapes"
threads = 1

[data]
dataset = "shapes"
n = 90

[encode]
n_windows = 4

[network]
layers = "4c3p1-P2-3"
activity = 4.0

[chip]
threads = 1

[augment]
shift_px = 1.0

[learn.start]
method = "ann"
epochs = 1
batch_size = 10
report = false

[learn.norm]
method = "convert"
warm_start = "start"
report = false

[learn.cil]
method = "cil-bptt"
warm_start = "norm"
epochs = {EPOCHS}
batch_size = 10
"""


def recipe_in(folder: Path) -> Path:
    path = folder / "shapes.toml"
    path.write_text(RECIPE)
    return path


def require_same_networks(one: Path, other: Path) -> None:
    for row in ("start", "norm", "cil"):
        name = f"seed-0/{row}.network.safetensors"
        assert (one / name).read_bytes() == (other / name).read_bytes(), row


def require_one_record(out: Path, processes: int) -> None:
    (record,) = read_records(out)
    stages = [(stage.name, stage.method, stage.processes) for stage in record.stages]
    assert stages[:3] == [("train", "start", processes), ("train", "norm", 1), ("train", "cil", processes)]
    assert stages[3:] in ([], [("deploy", "cil", 1)])


def checkpointed(out: Path) -> tuple[str, int]:
    """Return the identity in the last row's checkpoint, and the epochs it has."""
    path = out / "seed-0" / "cil.checkpoint.safetensors"
    content = read_content(path)
    assert content is not None
    size = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["chiploop"])
    return header["identity"], len(parse_checkpoint(content, header["identity"], path).history)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The recipe carried out by two ranks that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = ("-m", "chiploop", "run", recipe_in(folder), "--out", folder / "out", "--json")
    return folder / "out", run_together(2, *arguments, folder=folder)


def test_one_rank_writes_and_speaks(whole: tuple[Path, Outcome]) -> None:
    out, outcome = whole
    assert outcome.code == 0, outcome.err
    assert outcome.json["seeds"] == [0]  # stdout is one object
    require_one_record(out, processes=2)
    lines = [line for line in outcome.err.splitlines() if f"cil: epoch {EPOCHS}/{EPOCHS}" in line]
    assert len(lines) == 1
    assert not list(out.rglob("*.failures.json"))


def test_a_killed_rank_ends_the_run_and_the_same_command_goes_on(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("-m", "chiploop", "run", recipe_in(tmp_path), "--out", out, *UNREPORTED)
    running = start_together(2, *arguments, folder=tmp_path)
    kill_once_there(running, out / "seed-0" / "cil.checkpoint.safetensors", rank=1)
    outcome = finish_together(running)
    assert outcome.code != 0
    assert "SIGKILL" in outcome.err
    identity, n_epochs = checkpointed(out)
    assert 1 <= n_epochs < EPOCHS
    assert not list(out.rglob("record*.json"))
    again = run_together(2, *arguments, folder=tmp_path)
    assert again.code == 0, again.err
    assert checkpointed(out) == (identity, EPOCHS)
    require_same_networks(out, whole[0])
    require_one_record(out, processes=2)


def test_torchrun_starts_a_run_again_by_itself(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("-m", "chiploop", "run", recipe_in(tmp_path), "--out", out, *UNREPORTED)
    running = start_together(2, *arguments, folder=tmp_path, restarts=1)
    kill_once_there(running, out / "seed-0" / "cil.checkpoint.safetensors", rank=0)
    outcome = finish_together(running)
    assert outcome.code == 0, outcome.err
    require_same_networks(out, whole[0])
    require_one_record(out, processes=2)


def test_each_rank_has_its_own_device_elsewhere(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    out, path = tmp_path / "out", recipe_in(tmp_path)
    served = [DeviceServer(lambda: VirtualDevice(threads=1), token=TOKEN) for _ in range(2)]
    with served[0], served[1]:
        device = f"chip.device={json.dumps([f'remote:{server.address}' for server in served])}"
        arguments = ("-m", "chiploop", "run", path, "--out", out, "--set", device, *UNREPORTED)
        outcome = run_together(2, *arguments, folder=tmp_path, CHIPLOOP_REMOTE_TOKEN=TOKEN)
    assert outcome.code == 0, outcome.err
    require_same_networks(out, whole[0])


def test_what_all_ranks_find_wrong_is_said_once(tmp_path: Path) -> None:
    arguments = ("-m", "chiploop", "run", recipe_in(tmp_path), "--out", tmp_path / "out")
    outcome = run_together(2, *arguments, "--set", "chip.device=remote:lab:1", "--json", folder=tmp_path)
    assert outcome.code != 0
    assert outcome.json["error"].startswith("chip.device names 1 device(s), but 2 processes train")
    assert outcome.err.count("error: chip.device names") == 1
    assert not (tmp_path / "out").exists()


def test_the_number_of_processes_is_no_part_of_the_experiment(whole: tuple[Path, Outcome], tmp_path: Path) -> None:
    path = str(recipe_in(tmp_path))
    lists = ([f"remote:lab:{port}" for port in range(n)] for n in (2, 3))
    two, three = (read_recipe(path, [f"chip.device={json.dumps(names)}"]) for names in lists)
    assert two.hash == three.hash != read_recipe(path).hash
    out, _ = whole
    spec = tree.read(out / "seed-0" / "cil.network.safetensors", NetworkSpec)
    (out / "seed-0" / "record.json").rename(tmp_path / "record.json")
    from chiploop.recipes.run import run_recipe  # one process takes the checkpoints of two up

    run_recipe(read_recipe(path), root=None, out=out)
    assert tree.read(out / "seed-0" / "cil.network.safetensors", NetworkSpec) == spec
    require_one_record(out, processes=1)
