"""The trainer: resuming to the same bits, what it refuses, early stop, selection, the rate's schedule."""

from __future__ import annotations

import dataclasses
import math
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from chiploop.errors import DataError, TrainingError
from chiploop.learn.augment import Augment
from chiploop.learn.batch import Batch, Samples
from chiploop.learn.checkpoint import Epoch, read_checkpoint
from chiploop.learn.executor import ModelExecutor
from chiploop.learn.fit import FitOptions, FitResult, Score, Silent, fit, schedule
from chiploop.learn.method import METHODS, Method, MethodOptions, StepResult
from chiploop.network.network import Network
from strategies_network import require_same_tensors, shapes_samples, small_network, weights

OPTIONS = FitOptions(
    epochs=3, batch_size=4, lr=3e-3, weight_decay=1e-3, augment=Augment(shift_px=1.0, drop=0.2, rotate_deg=5.0)
)
N_SAMPLES = 12


class Interrupting(Silent):
    """Stops training at a batch, as a user does with control-C."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, done: int, of: int, loss: float) -> None:
        if done == self.at:
            raise KeyboardInterrupt


def rising(network: Network) -> float:
    """A score that depends on the weights alone."""
    return float(network.weights["fc1"].detach().abs().sum())


def train(
    path: Path | None = None,
    *,
    method: Method | None = None,
    network: Network | None = None,
    progress: Silent | None = None,
    options: FitOptions = OPTIONS,
    identity: str = "this one",
    score: Score = rising,
    samples: Samples | None = None,
) -> tuple[Network, FitResult]:
    network = network or small_network(2)
    method = method or METHODS.get("bptt")(MethodOptions(), None)
    result = fit(
        method,
        network,
        shapes_samples(N_SAMPLES) if samples is None else samples,
        options,
        seed=7,
        score=score,
        identity=identity,
        checkpoint=path,
        progress=progress,
    )
    return network, result


def told(history: tuple[Epoch, ...]) -> list[dict[str, float]]:
    """A history without its wall-clock times."""
    return [{k: v for k, v in dataclasses.asdict(e).items() if "seconds" not in k} for e in history]


@pytest.mark.parametrize("at", [1, 4, 6, 9])  # the first batch, the second epoch's first and last, the last of all
@pytest.mark.parametrize("name", ["bptt", "ann", "cil-bptt"])
def test_training_resumed_ends_in_the_same_bits(tmp_path: Path, name: str, at: int) -> None:
    def method() -> Method:
        return METHODS.get(name)(MethodOptions(quantized=name == "ann"), ModelExecutor())

    whole, expected = train(method=method())
    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(path, method=method(), progress=Interrupting(at))
    saved = read_checkpoint(path, "this one")
    assert (0 if saved is None else len(saved.history)) == (at - 1) // 3  # whole epochs of 3 batches
    resumed, result = train(path, method=method())
    require_same_tensors(weights(resumed), weights(whole))
    assert told(result.history) == told(expected.history)
    assert result.best_epoch == expected.best_epoch


def test_a_finished_training_is_taken_up_without_a_step(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    whole, expected = train(path)
    again, result = train(path, progress=Interrupting(1))
    require_same_tensors(weights(again), weights(whole))
    assert result.history == expected.history


def test_the_seed_decides_and_nothing_else(tmp_path: Path) -> None:
    one, _ = train()
    torch.manual_seed(123)
    other, _ = train(tmp_path / "run.safetensors")
    require_same_tensors(weights(one), weights(other))
    network = small_network(2)
    method = METHODS.get("bptt")(MethodOptions(), None)
    fit(method, network, shapes_samples(N_SAMPLES), OPTIONS, seed=8, score=rising)
    assert not torch.equal(weights(network)["fc1"], weights(one)["fc1"])


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(path)
    with pytest.raises(TrainingError, match=r"run\.safetensors belongs to another training.*delete it"):
        train(path, identity="another")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(path, options=dataclasses.replace(OPTIONS, epochs=1))
    content = path.read_bytes()
    for size in (0, 7, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"run\.safetensors is damaged.*delete it"):
            train(path)
    for place in (200, len(content) // 2, len(content) - 3):  # in the header, and in the weights
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises((DataError, TrainingError), match=r"run\.safetensors (is damaged|belongs to another)"):
            train(path)


@dataclasses.dataclass(frozen=True)
class Breaking:
    """BPTT whose loss is no number from some step on."""

    inner: Method
    loss: torch.Tensor | None
    counter: list[int]
    at: int
    model: str = "windows"
    place: str = "software"

    def begin_epoch(self, network: Network) -> None:
        self.inner.begin_epoch(network)

    def step(self, network: Network, batch: Batch) -> StepResult:
        self.counter.append(1)
        result = self.inner.step(network, batch)
        if len(self.counter) != self.at:
            return result
        if self.loss is not None:
            return dataclasses.replace(result, loss=result.loss * self.loss)
        root = torch.sqrt(0.0 * (network.weights["fc1"] ** 2).sum())  # 0, with a slope of infinity times 0
        return dataclasses.replace(result, loss=result.loss + root)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_epoch(tmp_path: Path, value: float) -> None:
    path = tmp_path / "run.safetensors"
    broken = Breaking(METHODS.get("bptt")(MethodOptions(), None), torch.tensor(value), [], at=5)
    with pytest.raises(TrainingError, match=r"epoch 1, batch 1: the loss is (nan|inf); lower lr \(now 0\.003\)"):
        train(path, method=broken)  # type: ignore[arg-type]
    saved = read_checkpoint(path, "this one")
    assert saved is not None
    assert len(saved.history) == 1


def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path: Path) -> None:
    network = small_network(2)
    broken = Breaking(METHODS.get("bptt")(MethodOptions(), None), None, [], at=3)
    with pytest.raises(TrainingError, match="epoch 0, batch 2: the gradient's norm is nan"):
        train(tmp_path / "run.safetensors", method=broken, network=network)  # type: ignore[arg-type]
    assert all(bool(torch.isfinite(weight).all()) for weight in weights(network).values())


def scores(values: list[float]) -> tuple[Score, list[dict[str, torch.Tensor]]]:
    """A score that takes these values in turn, and the weights it was asked about."""
    asked: list[dict[str, torch.Tensor]] = []

    def score(network: Network) -> float:
        asked.append(weights(network))
        return values[len(asked) - 1]

    return score, asked


@pytest.mark.parametrize(
    ("values", "select", "best"),
    [([0.2, 0.9, 0.5], True, 1), ([0.9, 0.9, 0.1], True, 1), ([0.2, 0.9, 0.5], False, 2), ([0.1, 0.2, 0.3], True, 2)],
)
def test_the_best_epoch_on_validation_is_kept_the_later_of_equals(values: list[float], select: bool, best: int) -> None:
    score, asked = scores(values)
    network, result = train(score=score, options=dataclasses.replace(OPTIONS, select=select))
    assert result.best_epoch == best
    assert [epoch.score for epoch in result.history] == values
    require_same_tensors(weights(network), asked[best])


@pytest.mark.parametrize("select", [True, False])
@pytest.mark.parametrize(
    ("values", "patience", "epochs"),
    [([0.5, 0.4, 0.4, 0.9], 2, 3), ([0.5, 0.4, 0.6, 0.1, 0.1], 2, 5), ([0.5, 0.5, 0.5, 0.5], 1, 4), ([0.5, 0.4], 1, 2)],
)
def test_training_stops_early(values: list[float], patience: int, epochs: int, select: bool, tmp_path: Path) -> None:
    score, _ = scores([*values, 0.0, 0.0])
    options = dataclasses.replace(OPTIONS, epochs=len(values), patience=patience, select=select)
    _, result = train(tmp_path / "run.safetensors", score=score, options=options)
    assert len(result.history) == epochs
    _, again = train(tmp_path / "run.safetensors", score=score, options=options)
    assert again.history == result.history


def test_nothing_to_train_on_is_said_so() -> None:
    empty = Samples.of(shapes_samples(3).dataset, shapes_samples(3).indices[:0], 4)
    with pytest.raises(TrainingError, match="no training sample"):
        train(samples=empty)


def test_zero_epochs_leave_the_network_alone() -> None:
    network, result = train(options=dataclasses.replace(OPTIONS, epochs=0))
    require_same_tensors(weights(network), weights(small_network(2)))
    assert result.history == ()


def test_the_rate_rises_and_falls_between_its_ends() -> None:
    rates = [schedule(k / 100, 0.2, 0.1) for k in range(101)]
    assert rates[20] == 1.0 == max(rates)
    assert rates[10] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.1)
    assert all(a < b for a, b in pairwise(rates[:21]))
    assert all(a > b for a, b in pairwise(rates[20:]))
    assert [schedule(k / 4, 0.0, 1.0) for k in range(5)] == [1.0] * 5


def test_history_counts_what_was_right() -> None:
    """Training accuracy is that of the outputs that the loss saw; an unmoved network makes it that of the network."""
    options = dataclasses.replace(OPTIONS, epochs=1, lr=1e-12, augment=None)
    _, result = train(options=options)
    samples = shapes_samples(N_SAMPLES)
    batch = samples.batch(range(N_SAMPLES))
    outputs = METHODS.get("bptt")(MethodOptions(), None).step(small_network(2), batch).outputs
    top = outputs.topk(2, dim=1)
    right = (top.indices[:, 0] == batch.labels) & (top.values[:, 0] > top.values[:, 1])
    assert result.history[0].train_accuracy == pytest.approx(float(right.float().mean()))


def test_batches_made_ahead_train_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead, _ = train()
    monkeypatch.setattr("chiploop.learn.fit.Prefetch", iter)
    plain, _ = train()
    require_same_tensors(weights(ahead), weights(plain))


def test_training_that_fails_leaves_no_thread() -> None:
    class Failing(Exception):
        pass

    class Fails:
        def begin_epoch(self, network: Network) -> None:
            pass

        def step(self, network: Network, batch: object) -> StepResult:
            raise Failing

    with pytest.raises(Failing):
        train(method=Fails())  # type: ignore[arg-type]
    assert [thread.name for thread in threading.enumerate() if thread.name == "chiploop-prefetch"] == []
