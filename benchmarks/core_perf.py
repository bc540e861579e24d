"""Speed of the compiled core in synaptic updates a second, on real events, with the oracle beside it.

    python benchmarks/core_perf.py [--program FILE] [--recordings N] [--repeats N]

Reads N-MNIST recordings under $CHIPLOOP_DATA, or simulates some where there are none. Without a saved program it makes
one of the reference shape with random weights, and thresholds balanced so that each layer sends on about as many events
as it hears: the load of a trained network, where layers neither fall silent nor explode. All timings of a row come from
one process, in turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chiploop import tree
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.program import STATE_MAX, STATE_MIN, CoreConfig, Program, Target
from chiploop.chip.virtual import VirtualDevice
from chiploop.datasets.locate import resolve_root
from chiploop.datasets.mnist5k import open_mnist5k
from chiploop.events.codecs.nmnist import read_nmnist
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream

GOAL_GIGASYNOPS = 2.5
"""Where the core should get: billions of synaptic updates in a second of one processor."""

LAYERS = ((16, 3, 1, 1), (16, 3, 1, 1), (32, 3, 1, 1), (32, 3, 1, 1), (64, 3, 1, 0), (10, 2, 0, 0))
"""Features, kernel, padding, pool shift of 2x34x34-16c3p1-P2-16c3p1-P2-32c3p1-P2-32c3p1-P2-64c3p1-10."""


def balanced_program(recordings: Sequence[Events], rng: np.random.Generator, *, floor: int = STATE_MIN) -> Program:
    """Return the reference network with random weights, each layer sending about as many events as it hears."""
    shape, cores = recordings[0].shape, []
    for number, (features, kernel, padding, pool) in enumerate(LAYERS):
        weight = np.clip(rng.normal(6, 40, (shape.channels, kernel, kernel, features)), -127, 127).astype(np.int8)
        height, width = (n + 2 * padding - kernel + 1 for n in shape[1:])
        core = CoreConfig(
            core=number,
            layer=f"layer{number + 1}",
            weight=weight,
            threshold=1,
            floor=floor,
            reset="subtract",
            spikes_per_update="one",
            stride=1,
            padding=padding,
            pool=pool,
            in_shape=shape,
            neuron_shape=SensorShape(features, height, width),
            targets=(),
        )
        cores.append(_balanced(cores, core, recordings))
        shape = core.out_shape
    return _chain(cores)


def _balanced(before: list[CoreConfig], core: CoreConfig, recordings: Sequence[Events]) -> CoreConfig:
    heard = sum(_sent(before, recordings)) if before else sum(len(events) for events in recordings)
    low, high = 1, STATE_MAX
    while low < high:
        middle = (low + high) // 2
        candidate = dataclasses.replace(core, threshold=middle)
        if sum(_sent([*before, candidate], recordings)) > heard:
            low = middle + 1
        else:
            high = middle
    return dataclasses.replace(core, threshold=low)


def _sent(cores: list[CoreConfig], recordings: Sequence[Events]) -> list[int]:
    device = VirtualDevice(threads=1)
    device.load(_chain(cores))
    sent = []
    for events in recordings:
        device.reset()
        sent.append(len(device.run(events).outputs[cores[-1].layer]))
    return sent


def _chain(cores: Sequence[CoreConfig]) -> Program:
    last = cores[-1].core
    wired = (
        dataclasses.replace(c, targets=() if c.core == last else (Target(n.core),))
        for c, n in zip(cores, [*cores[1:], cores[-1]], strict=True)
    )
    return Program(
        profile_hash="",
        quant_hash="",
        cores=tuple(wired),
        input_shape=cores[0].in_shape,
        inputs=(Target(cores[0].core),),
        outputs=(last,),
    )


class Taken(NamedTuple):
    """Seconds of one repeat, on the wall and of processor time, which a busy machine does not bend."""

    wall: float
    processor: float


def _seconds(work: Callable[[], object], repeats: int) -> list[Taken]:
    taken = []
    for _ in range(repeats):
        start = Taken(time.perf_counter(), time.process_time())
        work()
        taken.append(Taken(time.perf_counter() - start.wall, time.process_time() - start.processor))
    return taken


def _row(name: str, synops: int, taken: list[Taken]) -> None:
    wall = [synops / seconds.wall / 1e9 for seconds in taken]
    own = sorted(synops / seconds.processor / 1e9 for seconds in taken)
    from_goal = 10 * np.log10(statistics.median(own) / GOAL_GIGASYNOPS)
    print(
        f"{name:22} {statistics.median(wall):11.4f} {statistics.median(own):15.4f} "
        f"({own[0]:.4f}..{own[-1]:.4f}) {from_goal:+9.1f}"
    )


def _compare_devices(program: Program, recordings: Sequence[Events], repeats: int) -> None:
    print("\nG synops/s                 by the wall  a processor (worst..best)  dB from goal")
    for threads in sorted({1, 2, os.cpu_count() or 1}):
        for isa in ("auto", "portable"):
            device = VirtualDevice(threads=threads, isa=isa)
            device.load(program)
            synops = device.run_batch(recordings).total("synops")
            _row(f"{isa}, {threads} threads", synops, _seconds(lambda d=device: d.run_batch(recordings), repeats))
    oracle = OracleDevice()
    oracle.load(program)
    few = _head(recordings[0], 200)
    counters = oracle.run(few).counters.values()
    _row("oracle, 200 events", sum(c.synops for c in counters), _seconds(lambda: oracle.run(few), 1))


def _head(events: Events, n: int) -> Events:
    columns = (column[:n] for column in (events.t_us, events.channel, events.y, events.x))
    return Events.from_columns(*columns, events.shape)


def _phases(program: Program, recordings: Sequence[Events], repeats: int) -> None:
    """Print what each layer costs, alone, on the events that the layers before it send."""
    device = VirtualDevice(threads=1)
    loading = statistics.median(t.processor for t in _seconds(lambda: device.load(program), repeats))
    print(f"\nload {loading * 1e6:.0f} us")
    print("layer        events/sample  synops/event  spikes/event   ns/event   G synops/s")
    heard = list(recordings)
    for core in program.cores:
        device.load(_chain([core]))
        counters = device.run_batch(heard).counters[core.layer].sum(axis=0)
        taken = min(t.processor for t in _seconds(lambda batch=heard: device.run_batch(batch), repeats))  # type: ignore[misc]
        events, synops, spikes = (max(int(n), 1) for n in counters[:3])
        print(
            f"{core.layer:12} {events / len(heard):13.0f} {synops / events:13.1f} {spikes / events:13.2f} "
            f"{taken / events * 1e9:10.1f} {synops / taken / 1e9:12.2f}"
        )
        heard = [_sent_by(device, core.layer, events) for events in heard]


def _sent_by(device: VirtualDevice, layer: str, events: Events) -> Events:
    device.reset()
    return device.run(events).outputs[layer]


def open_recordings(n: int) -> list[Events]:
    """Return real recordings spread over the data set, or simulated ones where there are none, and say which."""
    files = sorted((resolve_root() / "N-MNIST" / "Train").glob("*/*.bin"))
    if files:
        recordings = [read_nmnist(path) for path in files[:: max(1, len(files) // n)]]
    else:
        digits = open_mnist5k(split="test", cache=False)
        recordings = [digits.sample(i).events for i in range(n)]
    events = statistics.fmean(len(events) for events in recordings)
    print(f"{len(recordings)} {'N-MNIST' if files else 'simulated'} recordings, {events:.0f} events each")
    return recordings


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--program", type=Path, help="a saved Program; otherwise a balanced random one")
    parser.add_argument("--recordings", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--floor", type=int, default=STATE_MIN, help="lower bound of the random network's states")
    given = parser.parse_args()
    recordings = open_recordings(given.recordings)
    if given.program is None:
        program = balanced_program(
            recordings[:: max(1, len(recordings) // 8)], stream(0, "core_perf"), floor=given.floor
        )
    else:
        program = tree.read(given.program, Program)
    print("thresholds", [core.threshold for core in program.cores], "floors", [core.floor for core in program.cores])
    _compare_devices(program, recordings, given.repeats)
    _phases(program, recordings, given.repeats)


if __name__ == "__main__":
    main()
