"""What each process does in the tests of training together: `rank_worker.py CASES FOLDER`, under torchrun."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import ChiploopError, DeviceTimeoutError
from chiploop.learn.augment import Augment
from chiploop.learn.batch import Batch
from chiploop.learn.determinism import pin
from chiploop.learn.distributed import ALONE, Ranks, join
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.failure import FailureLog, FailurePolicy
from chiploop.learn.fit import FitOptions, fit
from chiploop.learn.method import METHODS, MethodOptions, StepResult
from chiploop.learn.resilient import ResilientDevice
from chiploop.network.network import Network
from chiploop.quantize.scheme import IntScheme
from served import Script
from strategies_network import shapes_samples, small_network, weights


@dataclass(frozen=True)
class Linear:
    """A method whose gradients are whole numbers over the number of samples: no sum of them is ever rounded."""

    model: str = "windows"
    place: str = "software"

    def begin_epoch(self, network: Network) -> None:
        """Prepare nothing."""

    def step(self, network: Network, batch: Batch) -> StepResult:
        """Return the mean over samples of (their number of events times the sum of all weights)."""
        n_events = batch.x.sum((0, 2, 3, 4))
        total: Tensor = torch.stack([weight.sum() for weight in network.weights.values()]).sum()
        return StepResult(loss=(n_events * total).mean(), outputs=torch.zeros(len(n_events), 3))


def train(case: dict[str, Any], ranks: Ranks = ALONE) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train as a case says; return the weights and what is told of it.

    Keys: method; n, batch, epochs; augment; options (of the method); failing (the rank and the calls of its device that
    run out of time), and the policy for that.
    """
    pin(1)
    network = small_network(2)
    failing = case.get("failing", {}).get(str(ranks.rank), [])
    script = Script({call: DeviceTimeoutError(f"call {call} was slow") for call in failing})
    log = FailureLog(FailurePolicy(wait_s=0.0, **case.get("policy", {})))
    with ResilientDevice(script.open if failing else lambda: VirtualDevice(threads=1), log) as device:
        executor = DeviceExecutor(device=device, profile=read_profile("ideal"), scheme=IntScheme())
        options = replace(MethodOptions(**case.get("options", {})), batch_mean=ranks.batch_mean)
        method: Any = Linear() if case["method"] == "linear" else METHODS.get(case["method"])(options, executor)
        augment = Augment(shift_px=1.0, drop=0.2, rotate_deg=5.0) if case.get("augment") else None
        told: dict[str, Any] = {}
        try:
            result = fit(
                method,
                network,
                shapes_samples(case["n"]),
                FitOptions(epochs=case.get("epochs", 1), batch_size=case["batch"], lr=3e-3, augment=augment),
                seed=7,
                score=lambda trained: float(trained.weights["fc1"].detach().abs().sum()),
                failures=log,
                ranks=ranks,
            )
            history = [(e.loss, e.train_accuracy, e.synops_per_sample, e.skipped) for e in result.history]
            told = {"history": history, "best": result.best_epoch}
        except ChiploopError as error:
            told = {"error": [type(error).__name__, str(error)]}
    return weights(network), {**told, "failures": [[f.step, f.done, f.message] for f in log.entries]}


def main(cases: Path, folder: Path) -> None:
    """Train every case, and write what came of it on every rank."""
    with join() as ranks:
        for number, case in enumerate(json.loads(cases.read_text())):
            tensors, told = train(case, ranks)
            save_file(tensors, folder / f"{number}-{ranks.rank}.safetensors")
            (folder / f"{number}-{ranks.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
