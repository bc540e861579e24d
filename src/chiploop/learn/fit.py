"""The one trainer: batches, optimiser, validation, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from chiploop.errors import TrainingError
from chiploop.learn.augment import Augment
from chiploop.learn.batch import Batch, Samples
from chiploop.learn.checkpoint import Checkpoint, Epoch, adam_moments, parse_checkpoint, read_content, restore_adam
from chiploop.learn.distributed import ALONE, Ranks, Stepper
from chiploop.learn.failure import DEVICE_FAILURES, FailureLog
from chiploop.learn.method import Method, StepResult
from chiploop.learn.prefetch import Prefetch
from chiploop.network.network import Network

Score = Callable[[Network], float]
"""Validation accuracy of a network where the method's accuracy counts; the best epoch's weights are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How long and how fast. The rate rises over `warmup` of the steps, then falls along a half cosine to `final_lr` of
    its peak. `clip`: largest norm of the gradient. `patience`: epochs without a better score before training stops
    early; `select`: keep the epoch with the best validation score, else the last one.
    """

    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    final_lr: float = 0.02
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    patience: int | None = None
    select: bool = True
    augment: Augment | None = None


class Progress(Protocol):
    """Told how training goes on."""

    def step(self, done: int, of: int, loss: float) -> None:
        """Called after each batch, with batches done and planned over all epochs."""

    def epoch(self, epoch: Epoch) -> None:
        """Called after each epoch."""


class Silent:
    """Progress that nobody watches."""

    def step(self, done: int, of: int, loss: float) -> None:
        """Say nothing."""

    def epoch(self, epoch: Epoch) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitResult:
    """The trained network carries the best epoch's weights; `history` has every epoch."""

    history: tuple[Epoch, ...]
    best_epoch: int

    @property
    def seconds(self) -> float:
        """Time spent in training steps."""
        return sum(epoch.seconds for epoch in self.history)

    @property
    def chip_share(self) -> float:
        """Share of the training steps' time spent in the loop's device."""
        return sum(epoch.chip_seconds for epoch in self.history) / max(self.seconds, 1e-9)

    @property
    def skipped(self) -> int:
        """Batches that were left out, since the device failed on them."""
        return sum(epoch.skipped for epoch in self.history)


def fit(
    method: Method,
    network: Network,
    train: Samples,
    options: FitOptions,
    *,
    seed: int,
    score: Score,
    identity: str = "",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    failures: FailureLog | None = None,
    ranks: Ranks = ALONE,
) -> FitResult:
    """Train in place; return the history, the network having the selected weights.

    After every epoch all of it is written to `checkpoint`; called again with the same arguments, training resumes there
    and ends in the same bits. Raises TrainingError when there is nothing to train on, and when the loss or the gradient
    is not a number; DeviceTimeoutError, DeviceLostError or ReadoutError when the device in the loop fails for good and
    `failures` says to stop then (the default), or that enough batches were skipped. The checkpoint of the epoch before
    stays.

    With `ranks`, all of them call this with the same arguments, but for their devices: each trains on its share of
    every batch, and weights and scores stay the same on all. Only the first reads and writes the checkpoint.
    """
    if not len(train):
        raise TrainingError("there is no training sample; give the training part a larger share, or more data")
    watcher: Progress = progress if progress is not None else Silent()
    log = failures if failures is not None else FailureLog()
    names = list(network.trained)
    optimizer = torch.optim.Adam(network.trained.values(), lr=options.lr, weight_decay=options.weight_decay)
    ranks.share_network(network)
    saved = _saved(checkpoint, identity, ranks)
    history: list[Epoch] = []
    best, best_epoch = _snapshot(network), -1
    if saved is not None:
        _restore(network, saved.weights)
        restore_adam(optimizer, names, saved.moments)
        history, best, best_epoch = list(saved.history), saved.best, saved.best_epoch
    for number in range(len(history), options.epochs):
        if options.patience is not None and history and number - 1 - _best_of(history) >= options.patience:
            break
        with log.epoch(number, n_batches=train.n_batches(options.batch_size)):
            done = _epoch(method, network, optimizer, train, options, seed, number, watcher, log, ranks)
            log.at(None)
            done_score = score(network)
            log.take_from(ranks)
        history.append(Epoch(epoch=number, score=done_score, **done))
        if not options.select or _best_of(history) == number:
            best, best_epoch = _snapshot(network), number
        watcher.epoch(history[-1])
        if checkpoint is not None and ranks.is_first:
            so_far = FitResult(history=tuple(history), best_epoch=best_epoch)
            _write(checkpoint, identity, network, optimizer, best, so_far)
    _restore(network, best)
    return FitResult(history=tuple(history), best_epoch=best_epoch)


def _epoch(
    method: Method,
    network: Network,
    optimizer: torch.optim.Adam,
    train: Samples,
    options: FitOptions,
    seed: int,
    number: int,
    watcher: Progress,
    log: FailureLog,
    ranks: Ranks,
) -> dict[str, Any]:
    """Train one epoch; return what its record says, but for the score."""
    begin = time.perf_counter()
    n_batches = train.n_batches(options.batch_size)
    planned = n_batches * options.epochs
    stepper = ranks.wrap(Stepper(method, network))
    method.begin_epoch(network)
    loss_sum, right, chip_seconds, synops, seen, skipped = 0.0, 0.0, 0.0, 0.0, 0, 0
    batches = train.shuffled(options.batch_size, seed=seed, epoch=number, transform=options.augment, share=ranks.share)
    for i, batch in enumerate(Prefetch(batches)):
        step, n = number * n_batches + i, min(options.batch_size, len(train) - i * options.batch_size)
        for group in optimizer.param_groups:
            group["lr"] = options.lr * schedule(step / planned, options.warmup, options.final_lr)
        optimizer.zero_grad(set_to_none=True)
        log.at(i)
        result, (loss, *counts) = _step(stepper, batch, n, log, ranks)
        if result.skipped:
            skipped += 1
            continue
        if not math.isfinite(loss):
            raise TrainingError(f"epoch {number}, batch {i}: the loss is {loss}; lower lr (now {options.lr:g}) or clip")
        ranks.backward(result.loss, n)
        norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), options.clip))
        if not math.isfinite(norm):
            raise TrainingError(f"epoch {number}, batch {i}: the gradient's norm is {norm}; lower lr ({options.lr:g})")
        optimizer.step()
        loss_sum, seen = loss_sum + loss * n, seen + n
        right, synops, chip_seconds = (a + b for a, b in zip((right, synops, chip_seconds), counts, strict=True))
        watcher.step(step + 1, planned, loss)
    return {
        "loss": loss_sum / seen,
        "train_accuracy": right / seen,
        "seconds": time.perf_counter() - begin,
        "chip_seconds": chip_seconds,
        "synops_per_sample": synops / seen,
        "skipped": skipped,
    }


def _step(
    stepper: torch.nn.Module, batch: Batch, n: int, log: FailureLog, ranks: Ranks
) -> tuple[StepResult, list[float]]:
    """Return what a batch of n gives, or that it is left out, since the device failed on it.

    The numbers are of the whole batch, over all ranks: mean loss, samples that are right, synops, a chip's seconds.
    """
    weight, count = ranks.weights(n)

    def numbers(own: StepResult) -> tuple[float, ...]:
        right = count_right(own.outputs, batch.labels)
        loss = float(own.loss.detach())
        return loss * weight, right * count, own.synops * count, own.chip_seconds / ranks.size

    try:
        return ranks.agree(lambda: stepper(batch), numbers)
    except DEVICE_FAILURES as error:
        if not log.skips(error):
            raise
        return StepResult(loss=torch.zeros(()), outputs=torch.zeros(0, 0), skipped=True), [0.0] * 4


def _write(
    path: Path,
    identity: str,
    network: Network,
    optimizer: torch.optim.Adam,
    best: dict[str, Tensor],
    so_far: FitResult,
) -> None:
    """Write all that training needs to go on."""
    now = Checkpoint(
        identity=identity,
        weights=_snapshot(network),
        best=best,
        moments=adam_moments(optimizer, list(network.trained)),
        history=so_far.history,
        best_epoch=so_far.best_epoch,
    )
    now.write(path)


def _saved(path: Path | None, identity: str, ranks: Ranks) -> Checkpoint | None:
    """Return the checkpoint that the first rank finds; all go on from there."""
    if path is None:
        return None
    content, named = ranks.from_first(lambda: (read_content(path), identity))
    return None if content is None else parse_checkpoint(content, named, path)


def schedule(done: float, warmup: float, final: float) -> float:
    """Return the factor on the rate after a share `done` of all steps.

    >>> [round(schedule(x, 0.1, 0.0), 3) for x in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if done < warmup:
        return done / warmup
    along = (done - warmup) / (1.0 - warmup)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * along))


def count_right(outputs: Tensor, labels: Tensor) -> int:
    """Return how many rows of outputs [B, classes] have their largest value at the label alone: a tie is wrong.

    >>> count_right(torch.tensor([[0.0, 2.0], [1.0, 1.0]]), torch.tensor([1, 0]))
    1
    """
    alone = (outputs == outputs.amax(1, keepdim=True)).sum(1) == 1
    return int(((outputs.argmax(1) == labels) & alone).sum())


def _best_of(history: list[Epoch]) -> int:
    """Return the number of the epoch with the best score, the latest of equals."""
    return max(range(len(history)), key=lambda i: (history[i].score, i))


def _snapshot(network: Network) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.trained.items()}


def _restore(network: Network, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in network.trained.items():
            parameter.copy_(weights[name])
