"""How much of a chip-in-loop training step is spent in the loop, and what the loop adds to a plain step.

One batch, the demo's network, and three kinds of step in turn, round after round in one process (times of different
processes do not compare): plain BPTT, CIL with the analogue model, CIL with BPTT. The loop's share is the time inside
`DeviceExecutor.observe` (quantise, load, run, bring back) over the time of the whole step, with its gradient and its
update. Prints medians with the smallest and the largest round; `--json` prints one object instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from chiploop import tree
from chiploop.chip.profile import read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.datasets.base import DATASETS, Dataset
from chiploop.learn.batch import Batch, Samples
from chiploop.learn.determinism import pin
from chiploop.learn.executor import DeviceExecutor
from chiploop.learn.method import METHODS, Method, MethodOptions
from chiploop.measure.record import read_host, read_versions
from chiploop.network.network import Network
from chiploop.recipes.prepare import Parts
from chiploop.recipes.recipe import Recipe, read_recipe
from chiploop.recipes.train import initial_network, scheme_of
from chiploop.spec.graph import NetworkSpec

PLANS = {"bptt": "all+v", "cil-ann": "all", "cil-bptt": "all+v"}
"""Methods in the order of a round, with the injection plan of the shipped recipes."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A quantity over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return median, smallest and largest."""
        return cls(median=statistics.median(values), low=min(values), high=max(values))


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method's step: times in milliseconds, and the work of the chip a sample."""

    method: str
    step_ms: Spread
    loop_ms: Spread
    loop_share: Spread
    synops_per_sample: float


@dataclass(kw_only=True)
class Subject:
    """A method with a network of its own, so that the methods do not train each other's weights."""

    name: str
    method: Method
    network: Network
    optimizer: torch.optim.Adam

    def step(self, batch: Batch) -> tuple[float, float, int]:
        """Do one training step; return its seconds, the loop's seconds, the synops."""
        begin = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        result = self.method.step(self.network, batch)
        torch.autograd.backward(result.loss)
        self.optimizer.step()
        return time.perf_counter() - begin, result.chip_seconds, result.synops


def subjects(recipe: Recipe, samples: Samples, device: VirtualDevice, start: Path | None) -> list[Subject]:
    """Return one subject for each method, all starting from the same weights."""
    parts = Parts(train=samples, validation=samples, test=samples, pretrain=None)
    found = []
    for name, plan in PLANS.items():
        network = initial_network(recipe, parts, seed=recipe.seed)
        if start is not None:
            network.load_weights(tree.read(start, NetworkSpec))
        executor = DeviceExecutor(device=device, profile=read_profile(recipe.chip.profile), scheme=scheme_of(recipe))
        method = METHODS.get(name)(MethodOptions(plan=plan, scheme=scheme_of(recipe)), executor)
        method.begin_epoch(network)
        # A rate of zero leaves the weights, and with them the work of the chip, the same in every round.
        optimizer = torch.optim.Adam(network.parameters(), lr=0.0)
        found.append(Subject(name=name, method=method, network=network, optimizer=optimizer))
    return found


def measure(found: list[Subject], batch: Batch, rounds: int) -> list[Result]:
    """Time every subject once a round, after one round that does not count."""
    times: dict[str, list[tuple[float, float, int]]] = {subject.name: [] for subject in found}
    for number in range(rounds + 1):
        for subject in found:
            timed = subject.step(batch)
            if number:
                times[subject.name].append(timed)
    return [_result(name, rows, len(batch.events)) for name, rows in times.items()]


def _result(name: str, rows: list[tuple[float, float, int]], batch_size: int) -> Result:
    return Result(
        method=name,
        step_ms=Spread.of([1e3 * step for step, _, _ in rows]),
        loop_ms=Spread.of([1e3 * loop for _, loop, _ in rows]),
        loop_share=Spread.of([loop / step for step, loop, _ in rows]),
        synops_per_sample=rows[-1][2] / batch_size,
    )


def open_samples(name: str, batch_size: int, n_windows: int) -> Samples:
    """Return the first recordings of a data set; simulated ones are made now, without a cache on the disk."""
    options = {"cache": False} if name in ("mnist5k", "nmnist_sim") else {}
    dataset = DATASETS.get(name)(None, **options)
    assert isinstance(dataset, Dataset)
    return Samples.of(dataset, np.arange(batch_size), n_windows)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist5k", help="mnist5k (simulated, the default) or nmnist (recordings)")
    parser.add_argument("--network", type=Path, help="a trained <row>.network.safetensors of the demo's shape")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch and of the device alike")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    pin(given.threads)
    recipe = read_recipe("demo")
    samples = open_samples(given.dataset, given.batch_size, recipe.encode.n_windows)
    batch = samples.batch(range(len(samples)))
    with VirtualDevice(threads=given.threads) as device:
        results = measure(subjects(recipe, samples, device, given.network), batch, given.rounds)
    events = statistics.fmean(len(stream) for stream in batch.events)
    if given.json:
        setting = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
        host, versions = read_host().model_dump(), read_versions()
        plain = {"setting": setting, "events_per_sample": events, "host": host, "versions": versions}
        print(json.dumps({**plain, "results": [asdict(result) for result in results]}, indent=2))
        return
    print(
        f"one training step: {len(samples)} recordings of {given.dataset}, {events:.0f} events each, "
        f"{recipe.network.layers}, {given.threads} thread(s), {given.rounds} rounds"
    )
    titles = ("step (ms)", "in the loop (ms)", "share of the step")
    print(f"{'method':<10} " + " ".join(f"{title:>22}" for title in titles) + f" {'synops a sample':>16}")
    for r in results:
        shown = [_spread(r.step_ms, ".0f"), _spread(r.loop_ms, ".0f"), _spread(r.loop_share, ".0%")]
        print(f"{r.method:<10} " + " ".join(f"{text:>22}" for text in shown) + f" {r.synops_per_sample:>16,.0f}")


def _spread(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.low:{form}}-{spread.high:{form}})"


if __name__ == "__main__":
    main()
