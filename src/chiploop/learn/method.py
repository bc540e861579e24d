"""What every learning method does, and the options they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from chiploop.learn.batch import Batch
from chiploop.learn.executor import Executor
from chiploop.learn.penalty import BatchMean, own_mean
from chiploop.network.network import Network
from chiploop.quantize.scheme import IntScheme
from chiploop.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions:
    """Options that methods take their share of.

    `quantized`: weights on the integer grid in the forward pass too. `plan`: what the loop injects. `loss`,
    `temperature` (in spikes). `joint`: weight of the model's own loss beside the observed one, for those who need the
    network in software as well. `forward`: who runs forward, the model, whose values the observed ones replace, or
    the chip alone. `activity`: weight of the penalty on layers that fire more than `max_rate` spikes per neuron and
    sample, counted over the whole batch by `batch_mean`.
    """

    quantized: bool = False
    whole_counts: bool = False
    plan: str = "all+v"
    forward: Literal["model", "chip"] = "model"
    loss: str = "total"
    temperature: float = 4.0
    joint: float = 0.0
    activity: float = 0.0
    max_rate: float = 5.0
    scheme: IntScheme = IntScheme()
    batch_mean: BatchMean = own_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One training step: the loss to go down on, the outputs it was computed from, and what the loop cost.

    `outputs` [B, classes]: counts as the loss saw them. `skipped`: the device failed on this batch, so that there is
    nothing to go down on, and loss and outputs mean nothing.
    """

    loss: Tensor
    outputs: Tensor
    chip_seconds: float = 0.0
    synops: int = 0
    skipped: bool = False


class Method(Protocol):
    """A way to train: a differentiable model, and perhaps an executor and a plan.

    `model`: "frame" (analogue, whole sample) or "windows" (spiking, on a clock). `place`: where its accuracy counts,
    and so where the validation that selects the epoch is done.
    """

    @property
    def model(self) -> Literal["frame", "windows"]:
        """Which model the gradient goes through."""

    @property
    def place(self) -> Literal["software", "chip"]:
        """Where validation is done."""

    def begin_epoch(self, network: Network) -> None:
        """Prepare what stays fixed for an epoch, such as integer grids."""

    def step(self, network: Network, batch: Batch) -> StepResult:
        """Return the loss of one batch; no state stays between batches."""


METHODS: Registry[Callable[[MethodOptions, Executor | None], Method]] = Registry("method", "chiploop.learn")
"""Factories of methods; those with a chip in the loop require the executor."""
