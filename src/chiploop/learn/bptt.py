"""Backpropagation through time on the synchronous spiking network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chiploop.learn.batch import Batch
from chiploop.learn.executor import Executor, choose_grids
from chiploop.learn.method import METHODS, MethodOptions, StepResult
from chiploop.learn.objective import kept, objective
from chiploop.network.network import Network
from chiploop.network.run import run_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class BPTT:
    """Backpropagation through time with surrogate gradients (Neftci et al. 2019; Liu et al. 2024, eq. 3-4, 10)."""

    options: MethodOptions
    model: Literal["frame", "windows"] = "windows"
    place: Literal["software", "chip"] = "software"

    def begin_epoch(self, network: Network) -> None:
        """Choose the grids anew, where there are any."""
        network.grids = choose_grids(network, self.options.scheme) if self.options.quantized else {}

    def step(self, network: Network, batch: Batch) -> StepResult:
        """Return the loss of one batch."""
        run = run_windows(network, batch.x, edges_us=batch.edges_us, keep=kept(self.options))
        return StepResult(loss=objective(run, batch.labels, self.options), outputs=run.totals.detach())


@METHODS.register("bptt")
def make_bptt(options: MethodOptions, executor: Executor | None) -> BPTT:
    """Return the spiking network over windows, by surrogate gradients, no chip in the loop; it needs no executor."""
    del executor
    return BPTT(options=options)
