"""What takes part in the training benchmark: a framework that runs one network on one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from chiploop.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work, the same for all.

    `convolutions` [F, C, 3, 3] (padding 1, no bias) are each followed by a neuron layer, all but the last of them by a
    sum over 2 x 2; then comes `linear` [classes, n] and a last neuron layer. Neurons integrate and fire at 1, once a
    step at most, and start again from 0 after it. x: [T, B, C, H, W] counts of events.
    """

    convolutions: tuple[Tensor, ...]
    linear: Tensor
    x: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One framework's network: `counts` gives output spikes [B, classes] over all steps, ready to be differentiated."""

    counts: Callable[[Tensor], Tensor]
    parameters: Sequence[nn.Parameter]


Build = Callable[[Work], Contender]
CONTENDERS: Registry[Build] = Registry("contender", "chiploop.bench.peers")


def conv(weight: Tensor) -> nn.Conv2d:
    """Return a convolution of the work as a module of its own."""
    module = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=1, bias=False)
    module.weight.data.copy_(weight)
    return module


def linear(weight: Tensor) -> nn.Linear:
    """Return the linear layer of the work as a module of its own."""
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    module.weight.data.copy_(weight)
    return module


def pool() -> nn.AvgPool2d:
    """Return the sum over 2 x 2."""
    return nn.AvgPool2d(2, divisor_override=1)
