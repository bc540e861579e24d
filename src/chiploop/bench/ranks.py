"""Training in one process and in two, at the same batch on the same cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiploop.bench.benchmark import BENCHMARKS, OURS, BenchOptions, Outcome, Row, Tell, rates
from chiploop.errors import ChiploopError

if TYPE_CHECKING:
    from chiploop.learn.batch import Samples
    from chiploop.learn.distributed import Ranks
    from chiploop.network.network import Network

RANKS = (1, 2)
METHODS = ("bptt", "cil-bptt")
RECIPE = "nmnist-table1"
N_SAMPLES, BATCH = 128, 32
"""Samples of an epoch, which is one round, and of a batch over all ranks."""

PER_START = 3
"""Rounds before the other number of processes has its turn, so that a busy moment hits both."""

N_SUMS = 50
"""Sums over ranks that are timed together: one alone is too short."""


class RanksBenchmark:
    """Samples a second by the number of processes, and what adding up the gradients takes."""

    summary = "training in one process and in two, at the same batch on the same cores"

    def run(self, options: BenchOptions, tell: Tell) -> Outcome:
        """Measure both numbers of processes in turn; each has the threads divided by their number."""
        taken: dict[tuple[str, int], list[float]] = {}
        notes: list[str] = []
        left = options.rounds
        while left > 0:
            rounds, left = min(PER_START, left), left - PER_START
            for n in RANKS:
                tell(f"{n} process{'es' if n > 1 else ''}, {rounds} rounds")
                told = _start(n, options, rounds)
                for what, seconds in told["seconds"].items():
                    taken.setdefault((what, n), []).extend(seconds)
                notes = told["notes"]
        rows = [_row(what, n, seconds) for (what, n), seconds in taken.items()]
        return Outcome(rows=tuple(rows), notes=tuple(notes))


BENCHMARKS.register("ranks")(RanksBenchmark())


def _row(what: str, n: int, seconds: Sequence[float]) -> Row:
    setting: dict[str, int | float | str] = {"ranks": n}
    if what not in METHODS:
        return Row(what=what, who=OURS, unit="s", better="lower", values=tuple(seconds), setting=setting)
    values, setting = rates(N_SAMPLES, seconds), {**setting, "batch": BATCH}
    return Row(what=f"training, {what}", who=OURS, unit="samples/s", better="higher", values=values, setting=setting)


def _start(n: int, options: BenchOptions, rounds: int) -> dict[str, Any]:
    """Train in n processes; return what the first of them measured."""
    asked = {"threads": options.threads, "rounds": rounds, "root": str(options.root) if options.root else None}
    launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(n), "-m") if n > 1 else ()
    command = [sys.executable, "-m", *launch, "chiploop.bench.ranks", json.dumps(asked)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, options.threads // n))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ChiploopError(f"benchmark 'ranks' failed in {n} processes: {last}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


@contextmanager
def _joined() -> Iterator[Ranks]:
    from chiploop.learn.distributed import ALONE, join

    if "RANK" not in os.environ:
        yield ALONE
        return
    with join() as ranks:
        yield ranks


def _measure(ranks: Ranks, threads: int, rounds: int, root: str | None) -> dict[str, Any]:
    """Train in this process, as one of `ranks`; return seconds of each round by what was measured."""
    import numpy as np

    from chiploop.bench.recordings import open_recordings
    from chiploop.learn.allocator import keep_freed_memory
    from chiploop.learn.batch import Samples
    from chiploop.learn.determinism import pin
    from chiploop.recipes.recipe import read_recipe

    pin(ranks.threads(threads))
    keep_freed_memory()
    dataset, kind = open_recordings(None if root is None else Path(root))
    spread = np.linspace(0, len(dataset) - 1, N_SAMPLES).astype(np.int64)
    samples = Samples.of(dataset, spread, read_recipe(RECIPE).encode.n_windows)
    seconds = {name: _seconds_of_epochs(name, samples, rounds, threads, ranks) for name in METHODS}
    weights = list(_network(samples).parameters())
    n_weights = sum(parameter.numel() for parameter in weights)
    if ranks.size > 1:
        gradients = weights[0].new_zeros(n_weights)
        seconds["sum of all gradients over ranks"] = [_seconds_of_sum(ranks, gradients) for _ in range(rounds)]
    note = (
        f"{kind}; the network of {RECIPE}, {n_weights:,} weights; {N_SAMPLES} samples a round, in batches of {BATCH} "
        f"over all processes; {threads} threads divided by the number of processes; all processes on this machine"
    )
    return {"seconds": seconds, "notes": [note]}


def _network(samples: Samples) -> Network:
    from chiploop.learn.balance import balance_thresholds
    from chiploop.network.network import Network
    from chiploop.recipes.recipe import read_recipe
    from chiploop.rng import stream
    from chiploop.spec.graph import NeuronSpec
    from chiploop.spec.notation import parse_notation

    recipe = read_recipe(RECIPE)
    dt_us = int(samples.edges_us[1] - samples.edges_us[0])
    shape = tuple(samples.dataset.shape)
    network = Network(parse_notation(recipe.network.layers, shape, NeuronSpec(), stream(0, "weights"), dt_us=dt_us))
    batch = samples.batch(range(BATCH))
    balance_thresholds(network, batch.x.sum(0), target=recipe.network.activity, edges_us=batch.edges_us)
    return network


def _seconds_of_epochs(name: str, samples: Samples, rounds: int, threads: int, ranks: Ranks) -> list[float]:
    from chiploop.chip.profile import read_profile
    from chiploop.chip.virtual import VirtualDevice
    from chiploop.learn.executor import DeviceExecutor
    from chiploop.learn.fit import FitOptions, fit
    from chiploop.learn.method import METHODS as REGISTERED
    from chiploop.learn.method import MethodOptions
    from chiploop.recipes.recipe import read_recipe

    options = FitOptions(epochs=1 + rounds, batch_size=BATCH, select=False)
    with VirtualDevice(threads=ranks.threads(threads)) as device:
        executor = DeviceExecutor(device=device, profile=read_profile(read_recipe(RECIPE).chip.profile))
        method = REGISTERED.get(name)(MethodOptions(), executor)
        result = fit(method, _network(samples), samples, options, seed=0, score=lambda _: 0.0, ranks=ranks)
    return [epoch.seconds for epoch in result.history[1:]]  # the first one warms up


def _seconds_of_sum(ranks: Ranks, gradients: Any) -> float:
    ranks.wait()
    begin = time.perf_counter()
    for _ in range(N_SUMS):
        ranks.add_up(gradients)
    return (time.perf_counter() - begin) / N_SUMS


def main(asked: str) -> None:
    """Take part in one measurement; the first process prints what it gave, as one line of JSON."""
    with _joined() as ranks:
        told = _measure(ranks, **json.loads(asked))
    if ranks.is_first:
        print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
