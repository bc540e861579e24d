"""The analogue network in units of counts, trained on whole samples: the CNN rows of the paper's Table 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chiploop.learn.batch import Batch
from chiploop.learn.executor import Executor, choose_grids
from chiploop.learn.method import METHODS, MethodOptions, StepResult
from chiploop.learn.objective import objective
from chiploop.network.network import Network
from chiploop.network.run import run_frame


@dataclass(frozen=True, slots=True, kw_only=True)
class ANN:
    """ReLU network on the sample's event counts, to be converted afterwards (Liu et al. 2024, section 4.1).

        a_l = max(0, W_l a_(l-1)) / v_th,   L = CE(a_L / temperature, label)

    With `quantized`, weights are rounded to the chip's grid in the forward pass (quantisation-aware training).
    """

    options: MethodOptions
    model: Literal["frame", "windows"] = "frame"
    place: Literal["software", "chip"] = "software"

    def begin_epoch(self, network: Network) -> None:
        """Choose the grids anew, where there are any."""
        network.grids = choose_grids(network, self.options.scheme) if self.options.quantized else {}

    def step(self, network: Network, batch: Batch) -> StepResult:
        """Return the loss of one batch."""
        o = self.options
        run = run_frame(network, batch.x.sum(0), edges_us=batch.edges_us, whole_counts=o.whole_counts)
        return StepResult(loss=objective(run, batch.labels, o), outputs=run.totals.detach())


@METHODS.register("ann")
def make_ann(options: MethodOptions, executor: Executor | None) -> ANN:
    """Return the analogue network on whole samples, to be converted: the CNN rows; it needs no executor."""
    del executor
    return ANN(options=options)
