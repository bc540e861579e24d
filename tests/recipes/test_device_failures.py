"""A recipe whose device fails, or is elsewhere: what lands in the record, what goes on, and the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chiploop.chip.remote.server import DeviceServer
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceLostError, DeviceTimeoutError, RecipeError
from chiploop.measure.record import RunRecord
from chiploop.recipes import train
from chiploop.recipes.recipe import Recipe, read_recipe
from chiploop.recipes.run import run_recipe
from chiploop.recipes.toml import to_toml
from chiploop.recipes.train import open_device
from served import TOKEN, Script

ROWS = {
    "bptt": {"method": "bptt", "epochs": 1, "batch_size": 8},
    "cil": {"method": "cil-bptt", "epochs": 2, "batch_size": 8, "warm_start": "bptt"},
}


def recipe(device: str = "virtual", **failures: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "shapes",
            "threads": 1,
            "data": {"dataset": "shapes", "n": 60},
            "encode": {"n_windows": 4},
            "network": {"layers": "4c3p1-P2-3", "activity": 4.0},
            "chip": {"device": device, "threads": 1, "failures": {"wait_s": 0.0, **failures}},
            "learn": ROWS,
        }
    )


def scripted(monkeypatch: pytest.MonkeyPatch, script: Script) -> None:
    monkeypatch.setattr(train, "device_opener", lambda name, **options: script.open)


def counted(record: RunRecord) -> dict[str, float]:
    names = ("device_failures", "batches_skipped")
    return {f"{m.method} {m.name}": m.value for m in record.metrics if m.name in names}


def network(folder: Path) -> bytes:
    return (folder / "seed-0" / "cil.network.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe carried out without a failure."""
    out = tmp_path_factory.mktemp("whole")
    (record,) = run_recipe(recipe(), root=None, out=out)
    assert counted(record) == {"cil device_failures": 0, "cil batches_skipped": 0}
    assert not list(out.rglob("*.failures.json"))
    return out


def test_failures_that_passed_are_counted_and_change_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Calls 0 and 1 deploy the first row, 2 and 3 draw its figures; 4 on train the second one: six batches and a
    # validation an epoch, and one call more for the failure; 19 and 20 deploy it.
    faults = {0: DeviceTimeoutError("slow"), 6: DeviceLostError("unplugged"), 19: DeviceTimeoutError("slow")}
    scripted(monkeypatch, Script(faults))
    (record,) = run_recipe(recipe(), root=None, out=tmp_path)
    assert network(tmp_path) == network(whole)
    assert counted(record) == {"bptt device_failures": 1, "cil device_failures": 2, "cil batches_skipped": 0}
    noted = json.loads((tmp_path / "seed-0" / "cil.failures.json").read_text())["failures"]
    assert [(entry["epoch"], entry["step"], entry["done"]) for entry in noted] == [(0, 2, "reopened")]


def test_skipped_batches_land_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, Script({5: DeviceTimeoutError("slow"), 6: DeviceTimeoutError("slow")}))
    (record,) = run_recipe(recipe(then="skip", retries=1), root=None, out=tmp_path)
    assert counted(record) == {"cil device_failures": 2, "cil batches_skipped": 1}
    (metric,) = (m for m in record.metrics if m.name == "batches_skipped")
    assert (metric.how, metric.unit, metric.seed) == ("counted", "batches", 0)


def test_a_run_that_stopped_goes_on_and_keeps_its_failures(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, Script({12: DeviceLostError("gone"), 13: DeviceLostError("gone for good")}))
    with pytest.raises(DeviceLostError, match=r"epoch 1, batch 2: gone for good; training stops here"):
        run_recipe(recipe(retries=1), root=None, out=tmp_path)
    assert (tmp_path / "seed-0" / "cil.checkpoint.safetensors").is_file()
    assert not (tmp_path / "seed-0" / "cil.network.safetensors").exists()
    scripted(monkeypatch, Script())
    (record,) = run_recipe(recipe(retries=5), root=None, out=tmp_path)  # the policy is no part of what is trained
    assert network(tmp_path) == network(whole)
    assert counted(record) == {"cil device_failures": 2, "cil batches_skipped": 0}


def test_a_remote_device_gives_the_same_networks(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPLOOP_REMOTE_TOKEN", TOKEN)
    with DeviceServer(lambda: VirtualDevice(threads=1), token=TOKEN) as server:
        (record,) = run_recipe(recipe(f"remote:{server.address}"), root=None, out=tmp_path)
    assert network(tmp_path) == network(whole)
    assert counted(record) == {"cil device_failures": 0, "cil batches_skipped": 0}


@pytest.mark.parametrize("device", ["pool:2xvirtual", "ray:2xvirtual"])
@pytest.mark.usefixtures("ray")
def test_a_pool_in_the_loop_gives_the_same_networks(whole: Path, tmp_path: Path, device: str) -> None:
    (record,) = run_recipe(recipe(device), root=None, out=tmp_path)
    assert network(tmp_path) == network(whole)
    assert counted(record) == {"cil device_failures": 0, "cil batches_skipped": 0}


def test_only_devices_that_show_what_happens_inside_can_be_in_the_loop() -> None:
    with pytest.raises(RecipeError, match=r"chip.device = 'accelerator' cannot be in the loop"):
        open_device(recipe("accelerator").chip)
    with pytest.raises(RecipeError, match=r"chip.device = 'pool:virtual,accelerator' cannot be in the loop"):
        open_device(recipe("pool:virtual,accelerator").chip)
    with pytest.raises(RecipeError, match=r"chip.device = 'ray:2xvirtaul': no device 'virtaul': did you mean"):
        open_device(recipe("ray:2xvirtaul").chip)


def test_what_is_done_about_failures_is_no_part_of_the_experiment(tmp_path: Path) -> None:
    patient = recipe(retries=9, timeout_s=5.0)
    assert patient.hash == recipe().hash
    path = tmp_path / "again.toml"
    path.write_text(to_toml(patient))
    assert read_recipe(str(path)) == patient
    with pytest.raises(RecipeError, match=r"unknown key 'chip.failures.retry': did you mean 'retries'\?"):
        read_recipe("demo", ["chip.failures.retry=3"])
    with pytest.raises(RecipeError, match=r"chip.failures.then: input should be 'stop' or 'skip'"):
        read_recipe("demo", ["chip.failures.then=sotp"])
