"""A step of training through time: ours beside the peers', on the same network, batch, steps and recordings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chiploop.bench.benchmark import BENCHMARKS, OURS, Aim, BenchOptions, Outcome, Row, Tell, in_turn
from chiploop.bench.memory import peak_bytes
from chiploop.bench.profile import seconds_by_part
from chiploop.errors import ChiploopError

if TYPE_CHECKING:
    from torch import Tensor

    from chiploop.bench.peers.contender import Work
    from chiploop.network.network import Network

BATCH, STEPS = 32, 20
CHANNELS = (16, 32, 32, 64, 64)
CLASSES = 10
ACTIVITY = 1.0
"""Spikes of a neuron over a recording, in the mean of each layer: the load of the trained network of Table 1."""
HALVINGS = 12

TIME, MEMORY = "a training step", "peak memory of a training step"
PART = "part of a training step"
FASTER, SMALLER = 2.0, 0.5
"""Aims: times as fast as the fastest peer, share of its memory."""
BATCHES, LENGTHS = (8, 16, 32, 64), (5, 10, 20, 40)
"""What a step is measured over, besides."""


def make_work(root: Path | None, *, batch: int = BATCH, steps: int = STEPS, activity: float = ACTIVITY) -> Work:
    """Return the work: recordings on a clock, and weights with which the layers fire as often as trained ones."""
    import torch

    from chiploop.bench.peers.contender import Work
    from chiploop.bench.recordings import open_recordings
    from chiploop.learn.balance import balance_thresholds
    from chiploop.learn.batch import Samples
    from chiploop.network.network import Network
    from chiploop.rng import stream
    from chiploop.spec.graph import NeuronSpec
    from chiploop.spec.notation import parse_notation

    dataset, _ = open_recordings(root)
    samples = Samples.of(dataset, np.linspace(0, len(dataset) - 1, batch).astype(int), steps)
    data = samples.batch(range(batch))
    text = "-P2-".join(f"{channels}c3p1" for channels in CHANNELS) + f"-{CLASSES}"
    neuron = NeuronSpec(reset="zero", spikes_per_step="one")
    network = Network(parse_notation(text, tuple(dataset.shape), neuron, stream(0, "weights"), dt_us=1))
    with torch.no_grad():
        balance_thresholds(network, data.x.sum(0), target=1.0)
        _balance_spikes(network, data.x[:, :BATCH], activity)
    *convolutions, linear = (weight.detach().clone() for weight in network.weights.values())
    return Work(
        convolutions=tuple(convolutions), linear=linear.reshape(CLASSES, -1), x=data.x.contiguous(), labels=data.labels
    )


def _balance_spikes(network: Network, x: Tensor, activity: float) -> None:
    """Scale each layer's weights in place until its neurons fire `activity` times over the steps, in the mean."""
    from chiploop.network.run import run_windows

    for layer in network.spec.spiking:
        weight, low, high = network.weights[layer.name], 2.0**-6, 2.0**6
        start = weight.clone()
        for _ in range(HALVINGS):
            middle = (low * high) ** 0.5
            weight.copy_(start * middle)
            count = float(run_windows(network, x, keep="counts").counts[layer.name].sum(0).mean())
            low, high = (low, middle) if count > activity else (middle, high)


def stepper(name: str, work: Work) -> Callable[[], object]:
    """Return a contender's whole step: forward, loss, backward, update (by a rate of zero: the work stays the same)."""
    import torch
    import torch.nn.functional as F

    from chiploop.bench.peers.contender import CONTENDERS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peers say while they are imported
        contender = CONTENDERS.get(name)(work)
    optimizer = torch.optim.Adam(contender.parameters, lr=0.0)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(contender.counts(work.x), work.labels)
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def prepare_step(name: str, root: str | None, threads: int, batch: int, steps: int) -> Callable[[], object]:
    """Return a contender's step in a fresh process, for measuring its memory."""
    import torch

    torch.set_num_threads(threads)
    return stepper(name, make_work(None if root is None else Path(root), batch=batch, steps=steps))


def installed(asked: Sequence[str] | None) -> list[str]:
    """Return the contenders that take part: ours, and those peers that are asked for and installed."""
    from chiploop.bench.peers.contender import CONTENDERS

    for name in asked or ():
        CONTENDERS.get(name)  # or it says which there are
    found = []
    for name in CONTENDERS.names():
        if name != OURS:
            if asked is not None and name not in asked:
                continue
            try:
                version(name)
            except PackageNotFoundError:
                if asked is not None:
                    raise ChiploopError(f"{name!r} is asked for but not installed: run make peers") from None
                continue
        found.append(name)
    return found


@dataclass(frozen=True)
class Training:
    """The benchmark."""

    summary: str = "a step of training through time, in time and memory, beside other frameworks"

    def run(self, options: BenchOptions, tell: Tell) -> Outcome:
        """Measure every contender in turn, then our own step over batches and lengths."""
        import torch

        from chiploop.learn.allocator import keep_freed_memory

        torch.set_num_threads(options.threads)
        keep_freed_memory()  # as our recipes do; everybody profits
        names = installed(options.who)
        tell("recordings, and weights that fire as trained ones do")
        work = make_work(options.root, batch=BATCH, steps=STEPS)
        _require_same_answers(names, work)
        tell(f"a step of {', '.join(names)}, in turn")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seconds = in_turn({name: stepper(name, work) for name in names}, options.rounds)
        setting = {"T": STEPS, "batch": BATCH}
        times = {
            name: Row(what=TIME, who=name, unit="s", better="lower", values=tuple(taken), setting=setting)
            for name, taken in seconds.items()
        }
        memory = {}
        for name in names:
            tell(f"peak memory of {name}")
            memory[name] = _memory_row(name, options, BATCH, STEPS)
        tell("where the time of our step goes")
        rows = [*times.values(), *memory.values(), *_parts(work, options.rounds), *_scaling(options, tell)]
        return Outcome(rows=tuple(rows), aims=_aims(times, memory))


def _require_same_answers(names: Sequence[str], work: Work) -> None:
    """Raise unless every contender gives the same output spikes: they are to do the same work."""
    import torch

    from chiploop.bench.peers.contender import CONTENDERS

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = {name: CONTENDERS.get(name)(work).counts(work.x) for name in names}
    for name, found in counts.items():
        differ = int((found != counts[OURS]).sum())
        if differ:
            raise ChiploopError(f"{name} gives other output counts than {OURS} in {differ} of {found.numel()}")


def _memory_row(name: str, options: BenchOptions, batch: int, steps: int) -> Row:
    root = None if options.root is None else str(options.root)
    arguments = {"name": name, "root": root, "threads": options.threads, "batch": batch, "steps": steps}
    values = tuple(float(peak_bytes(__name__, "prepare_step", arguments)) for _ in range(3))
    setting = {"T": steps, "batch": batch}
    return Row(what=MEMORY, who=name, unit="bytes", better="lower", values=values, setting=setting)


def _parts(work: Work, rounds: int) -> list[Row]:
    taken = seconds_by_part(stepper(OURS, work), rounds)
    return [
        Row(what=PART, who=OURS, unit="s", better="lower", values=tuple(seconds), setting={"part": part})
        for part, seconds in taken.items()
    ]


def _scaling(options: BenchOptions, tell: Tell) -> list[Row]:
    rows = []
    for batch, steps in [*((n, STEPS) for n in BATCHES if n != BATCH), *((BATCH, t) for t in LENGTHS if t != STEPS)]:
        tell(f"our step at a batch of {batch}, {steps} steps")
        work = make_work(options.root, batch=batch, steps=steps)
        taken = in_turn({OURS: stepper(OURS, work)}, max(3, options.rounds // 2))[OURS]
        setting = {"T": steps, "batch": batch}
        rows.append(Row(what=TIME, who=OURS, unit="s", better="lower", values=tuple(taken), setting=setting))
    return rows


def _aims(times: dict[str, Row], memory: dict[str, Row]) -> tuple[Aim, ...]:
    peers = [name for name in times if name != OURS]
    if not peers:
        return ()
    fastest = min(peers, key=lambda name: times[name].median)
    median, low, high = times[fastest].ratio_to(times[OURS])
    share = memory[OURS].ratio_to(memory[fastest])
    return (
        Aim(
            what=f"a training step, times as fast as the fastest peer ({fastest})",
            unit="x",
            better="higher",
            wanted=FASTER,
            value=median,
            low=low,
            high=high,
            limit="the dense convolutions, in torch's own kernels, then memory bandwidth in the scans",
        ),
        Aim(
            what=f"peak memory of a training step, share of {fastest}'s",
            unit="x",
            better="lower",
            wanted=SMALLER,
            value=share[0],
            low=share[1],
            high=share[2],
            limit="one potential a neuron and step in float32, and the inputs of the convolutions",
        ),
    )


BENCHMARKS.register("training")(Training())
