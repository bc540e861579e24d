"""What a training step goes down on: the loss of a run's outputs, and penalties on how it came about."""

from __future__ import annotations

from torch import Tensor

from chiploop.learn.loss import LOSSES
from chiploop.learn.method import MethodOptions
from chiploop.learn.penalty import activity_penalty
from chiploop.network.run import Keep, Run


def objective(run: Run, labels: Tensor, options: MethodOptions) -> Tensor:
    """Return the loss of a run, in its counts as they stand (observed ones where injected).

    L = loss(outputs, labels) + activity sum_hidden max(0, mean count / max_rate - 1)^2
    """
    loss = LOSSES.get(options.loss)(run.outputs, labels, options.temperature)
    if options.activity:
        hidden = {name: options.max_rate for name in run.counts if name != run.output}
        loss = loss + options.activity * activity_penalty(run.counts, hidden, batch_mean=options.batch_mean)
    return loss


def kept(options: MethodOptions) -> Keep:
    """Return what a run must keep for its objective: hidden counts only where a penalty looks at them."""
    return "counts" if options.activity else "output"
