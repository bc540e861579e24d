"""Chip-in-loop proxy learning: the forward pass is observed on the chip, the gradient goes through the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chiploop.errors import TrainingError
from chiploop.learn.batch import Batch
from chiploop.learn.executor import DeviceExecutor, Executor, choose_grids
from chiploop.learn.method import METHODS, MethodOptions, StepResult
from chiploop.learn.objective import kept, objective
from chiploop.learn.plan import PLANS
from chiploop.network.network import Network
from chiploop.network.run import NOTHING, Awaited, Observations, Run, run_frame, run_windows

WHOLE = "all+v"
"""The plan that observes all there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CIL:
    """CIL-SPL, with the analogue model (Algorithm 1) or the spiking one over windows (eq. 3-10).

        model "frame":    y = inject(y_ann, y_chip),  L = CE(softmax(y / temperature), label)
        model "windows":  y[t] = inject(y[t], y_chip[t]),  V[t] = inject(V[t], V_chip[t]),  L = sum_t loss(y[t], label)

    The plan says which layers and whether potentials take part; the chip gets the quantised weights at every step
    (Phi). With `quantized`, the model computes with the same integers. With `forward` "chip" the spiking model computes
    nothing forward: y[t] and V[t] are the chip's, and so are the potentials at which its surrogates stand. Liu et al.
    2024, section 3.3.
    """

    options: MethodOptions
    executor: Executor
    model: Literal["frame", "windows"]
    place: Literal["software", "chip"] = "chip"

    def begin_epoch(self, network: Network) -> None:
        """Choose the integer grids of this epoch, for the device and, with `quantized`, for the model."""
        if isinstance(self.executor, DeviceExecutor):
            grids = self.executor.choose_grids(network)
        else:
            grids = choose_grids(network, self.options.scheme)
        network.grids = grids if self.options.quantized else {}

    def step(self, network: Network, batch: Batch) -> StepResult:
        """Return the loss of one batch, computed from what the chip did."""
        o = self.options
        plan = PLANS[o.plan]
        pending = self.executor.begin(network, batch, plan, clocked=self.model == "windows")
        free = self._run(network, batch, NOTHING) if o.joint else None  # while the chip runs
        run = self._run(network, batch, pending.observations)
        loss = objective(run, batch.labels, o)
        if free is not None:
            loss = loss + o.joint * objective(free, batch.labels, o)
        seen = pending.wait()
        return StepResult(
            loss=loss,
            outputs=run.totals.detach(),
            chip_seconds=seen.seconds,
            synops=seen.synops,
        )

    def _run(self, network: Network, batch: Batch, observed: Observations | Awaited) -> Run:
        edges_us, whole = batch.edges_us, self.options.whole_counts
        if self.model == "windows":
            forward = "model" if observed is NOTHING else self.options.forward
            return run_windows(
                network, batch.x, edges_us=edges_us, observed=observed, keep=kept(self.options), forward=forward
            )
        return run_frame(network, batch.x.sum(0), edges_us=edges_us, whole_counts=whole, observed=observed)


def _require(executor: Executor | None) -> Executor:
    if executor is None:
        raise TrainingError("chip-in-loop learning needs an executor: name a chip in the recipe")
    return executor


@METHODS.register("cil-ann")
def make_cil_ann(options: MethodOptions, executor: Executor | None) -> CIL:
    """Return CIL-SPL with ANN-to-SNN: observed on the chip, gradients through the analogue network."""
    if options.forward == "chip":
        raise TrainingError('forward = "chip" is for cil-bptt: the analogue model has no potentials to be given')
    return CIL(options=options, executor=_require(executor), model="frame")


@METHODS.register("cil-bptt")
def make_cil_bptt(options: MethodOptions, executor: Executor | None) -> CIL:
    """Return CIL-SPL with BPTT: observed on the chip, gradients through the spiking network over windows."""
    if options.forward == "chip" and options.plan != WHOLE:
        raise TrainingError(
            f'forward = "chip" needs plan = "{WHOLE}", not "{options.plan}": nothing else says what is there'
        )
    return CIL(options=options, executor=_require(executor), model="windows")
