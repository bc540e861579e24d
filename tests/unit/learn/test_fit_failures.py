"""Training on a device that fails: the same bits after retries, skipped batches counted, resumed where stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from chiploop.chip.device import Device
from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceLostError, DeviceTimeoutError, ReadoutError
from chiploop.learn.batch import Batch
from chiploop.learn.checkpoint import read_checkpoint
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.failure import FailureLog, FailurePolicy
from chiploop.learn.fit import FitOptions, FitResult, Score, fit
from chiploop.learn.method import METHODS, Method, MethodOptions, StepResult
from chiploop.learn.resilient import ResilientDevice
from chiploop.network.network import Network
from served import Fault, Script, remote, without
from strategies_network import require_same_tensors, shapes_samples, small_network, weights

OPTIONS = FitOptions(epochs=3, batch_size=3, lr=3e-3, select=False)
N_SAMPLES = 12  # four batches an epoch


def rising(network: Network) -> float:
    return float(network.weights["fc1"].detach().abs().sum())


def train(
    device: Device,
    log: FailureLog | None = None,
    *,
    name: str = "cil-bptt",
    path: Path | None = None,
    score: Score = rising,
    method: Method | None = None,
) -> tuple[Network, FitResult]:
    network = small_network(2)
    executor = DeviceExecutor(device=device, profile=read_profile("ideal"))
    method = method or METHODS.get(name)(MethodOptions(), executor)
    result = fit(
        method, network, shapes_samples(N_SAMPLES), OPTIONS, seed=7, score=score, checkpoint=path, failures=log
    )
    return network, result


def undisturbed(name: str = "cil-bptt") -> tuple[Network, FitResult]:
    with VirtualDevice(threads=1) as device:
        return train(device, name=name)


def behind(faults: Mapping[int, Fault], **policy: object) -> tuple[ResilientDevice, FailureLog]:
    log = FailureLog(FailurePolicy(**{"wait_s": 0.0, **policy}))  # type: ignore[arg-type]
    return ResilientDevice(Script(faults).open, log), log


def told(result: FitResult) -> list[dict[str, float]]:
    return [{k: v for k, v in dataclasses.asdict(e).items() if "seconds" not in k} for e in result.history]


@pytest.mark.parametrize("name", ["cil-bptt", "cil-ann"])
def test_retries_that_help_leave_no_trace_in_the_weights(name: str) -> None:
    faults: dict[int, Fault] = {
        0: DeviceTimeoutError("slow"),
        1: without("counts", "conv1"),
        5: DeviceLostError("unplugged"),
        9: ReadoutError("nothing came"),
        14: DeviceTimeoutError("slow again"),
    }
    whole, expected = undisturbed(name)
    device, log = behind(faults)
    with device:
        network, result = train(device, log, name=name)
    require_same_tensors(weights(network), weights(whole))
    assert told(result) == told(expected)
    assert [(e.epoch, e.step, e.done) for e in log.entries] == [
        (0, 0, "retried"), (0, 0, "retried"), (0, 3, "reopened"), (1, 2, "retried"), (2, 2, "retried"),
    ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LeavingOut:
    """A method that itself says of one of its steps that there is nothing to go down on."""

    inner: Method
    steps: list[int]
    out: int
    model: str = "windows"
    place: str = "chip"

    def begin_epoch(self, network: Network) -> None:
        self.inner.begin_epoch(network)

    def step(self, network: Network, batch: Batch) -> StepResult:
        self.steps.append(len(self.steps))
        result = self.inner.step(network, batch)
        return (
            dataclasses.replace(result, loss=result.loss * torch.nan, skipped=True)
            if self.steps[-1] == self.out
            else result
        )


def test_a_skipped_batch_moves_nothing_and_is_counted() -> None:
    """The seventh call is the second batch of the second epoch: two failures there are more than one retry."""
    device, log = behind({5: DeviceTimeoutError("slow"), 6: DeviceTimeoutError("slower")}, retries=1, then="skip")
    with device:
        network, result = train(device, log)
    assert [(e.epoch, e.step, e.message, e.done) for e in log.entries] == [
        (1, 1, "slow", "retried"), (1, 1, "slower", "skipped"),
    ]  # fmt: skip
    assert [epoch.skipped for epoch in result.history] == [0, 1, 0]
    assert result.skipped == 1

    with VirtualDevice(threads=1) as near:
        executor = DeviceExecutor(device=near, profile=read_profile("ideal"))
        method = LeavingOut(METHODS.get("cil-bptt")(MethodOptions(), executor), [], out=5)
        expected_network, expected = train(near, method=method)  # type: ignore[arg-type]
    require_same_tensors(weights(network), weights(expected_network))
    assert told(result) == told(expected)
    assert not torch.equal(weights(network)["fc1"], weights(undisturbed()[0])["fc1"])


def test_means_are_over_the_batches_that_were_trained_on() -> None:
    """At a vanishing rate every epoch's batches are judged by the same network, so the means can be told by hand."""
    device, log = behind({1: DeviceTimeoutError("slow")}, retries=0, then="skip")
    still = dataclasses.replace(OPTIONS, epochs=1, lr=1e-12)
    network, samples = small_network(2), shapes_samples(N_SAMPLES)
    with device:
        executor = DeviceExecutor(device=device, profile=read_profile("ideal"))
        method = METHODS.get("cil-bptt")(MethodOptions(), executor)
        (epoch,) = fit(method, network, samples, still, seed=7, score=rising, failures=log).history
        batches = list(samples.shuffled(3, seed=7, epoch=0, transform=None))
        kept = [method.step(small_network(2), batch) for batch in (batches[0], *batches[2:])]
    assert epoch.loss == pytest.approx(sum(float(result.loss.detach()) for result in kept) / 3, rel=1e-5)
    assert epoch.synops_per_sample == sum(result.synops for result in kept) / 9
    assert epoch.skipped == 1


def test_too_many_skipped_batches_stop_training() -> None:
    faults: dict[int, Fault] = {5: DeviceTimeoutError("once"), 7: DeviceTimeoutError("twice")}
    device, log = behind(faults, retries=0, then="skip", max_skipped=0.25)
    with device, pytest.raises(DeviceTimeoutError, match=r"^epoch 1, batch 3: twice; training stops here"):
        train(device, log)
    assert [entry.done for entry in log.entries] == ["skipped", "stopped"]


@pytest.mark.parametrize("at", [2, 4, 6, 11])  # in the first epoch; the second's first and third; the last of all
def test_a_training_that_stopped_goes_on_to_the_same_bits(tmp_path: Path, at: int) -> None:
    path = tmp_path / "run.safetensors"
    whole, expected = undisturbed()
    faults: dict[int, Fault] = {at + n: DeviceLostError(f"gone {n}") for n in range(2)}
    device, log = behind(faults, retries=1)
    with device, pytest.raises(DeviceLostError, match=rf"^epoch {at // 4}, batch {at % 4}: gone 1; .* goes on from"):
        train(device, log, path=path)
    assert [entry.done for entry in log.entries] == ["reopened", "stopped"]
    saved = read_checkpoint(path, "")
    assert (0 if saved is None else len(saved.history)) == at // 4
    with VirtualDevice(threads=1) as mended:
        network, result = train(mended, path=path)
    require_same_tensors(weights(network), weights(whole))
    assert told(result) == told(expected)


def test_skipped_batches_are_remembered_by_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    faults: dict[int, Fault] = {1: DeviceTimeoutError("slow"), 6: DeviceLostError("unplugged")}
    device, log = behind(faults, retries=0, then="skip", max_skipped=0.25, reopen=False)
    # The third batch of the second epoch is skipped; at the fourth the device is still gone, and one is the most.
    with device, pytest.raises(DeviceLostError, match="epoch 1, batch 3: it is still gone"):
        train(device, log, path=path)
    with VirtualDevice(threads=1) as mended:
        _, result = train(mended, path=path)
    assert [epoch.skipped for epoch in result.history] == [1, 0, 0]


def test_a_failure_in_validation_stops_training_even_where_batches_are_skipped() -> None:
    def failing(network: Network) -> float:
        raise ReadoutError("nothing came")

    log = FailureLog(FailurePolicy(then="skip"))
    with VirtualDevice(threads=1) as device, pytest.raises(ReadoutError, match=r"^epoch 0, validation: nothing came"):
        train(device, log, score=failing)


def test_training_on_a_remote_device_gives_the_same_bits() -> None:
    whole, expected = undisturbed()
    with remote() as device:
        network, result = train(device)
    require_same_tensors(weights(network), weights(whole))
    assert told(result) == told(expected)
