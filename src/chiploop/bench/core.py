"""The compiled core: synops a second by instruction set, threads, network and batch, with a bare scatter beside it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from chiploop.bench.benchmark import BENCHMARKS, OURS, Aim, BenchOptions, Outcome, Row, Tell, in_turn, rates
from chiploop.bench.recordings import open_recordings, some_events
from chiploop.bench.trained import reference_program, trained_program
from chiploop.chip.bare import BareScatter, core_alone
from chiploop.chip.compiled import import_core
from chiploop.chip.device import Monitor
from chiploop.chip.program import Program
from chiploop.chip.virtual import VirtualDevice
from chiploop.events.types import Events

N_RECORDINGS, N_WINDOWS = 50, 10
BATCHES = (1, 4, 16, 64, 256)
SIZES = {
    0.5: "8c3p1-P2-8c3p1-P2-16c3p1-P2-16c3p1-P2-32c3p1-10",
    2.0: "32c3p1-P2-32c3p1-P2-64c3p1-P2-64c3p1-P2-128c3p1-10",
}
"""The reference network's features, halved and doubled."""

WANTED_SYNOPS, WANTED_SCALING, WANTED_LATENCY_S = 2.5e9, 1.9, 2e-3

Work = dict[str, Callable[[], object]]


def counted_windows(program: Program, recordings: Sequence[Events]) -> Monitor:
    """Return what training in the loop asks for: counts of every layer in each of ten windows."""
    stop = max(events.stop_us for events in recordings)
    edges = tuple(int(edge) for edge in np.linspace(0, stop, N_WINDOWS + 1))
    return Monitor(counts=tuple(core.layer for core in program.cores), window_edges_us=edges)


def opened(program: Program, *, isa: str, threads: int) -> VirtualDevice:
    """Return a device with the program loaded."""
    device = VirtualDevice(threads=threads, isa=isa)
    device.load(program)
    return device


def heard_by_core(program: Program, recordings: Sequence[Events]) -> list[list[Events]]:
    """Return the streams that each core of a chain hears."""
    heard = [list(recordings)]
    for core in program.cores[:-1]:
        device = opened(core_alone(core), isa="auto", threads=1)
        sent = []
        for events in heard[-1]:
            device.reset()
            sent.append(device.run(events).outputs[core.layer])
        heard.append(sent)
    return heard


def thread_counts(most: int) -> list[int]:
    """Return 1, 2 and the most, as far as there are processors."""
    here = os.cpu_count() or 1
    return sorted({1, min(2, here), min(max(most, 1), here), here})


class CoreBenchmark:
    """Measures the virtual device on the trained reference network and real recordings."""

    summary = "the compiled core: synops a second by instruction set, threads, network and batch, and its roofline"

    def run(self, options: BenchOptions, tell: Tell) -> Outcome:
        """Measure; every device of a table is run once a round, in turn."""
        dataset, kind = open_recordings(options.root)
        recordings = some_events(dataset, N_RECORDINGS)
        program, source = reference_program(options.root, tell)
        tell("instruction sets, threads and the bare scatter")
        rows = [*_by_isa_and_threads(program, recordings, options), *_latency(program, recordings, options)]
        tell("batches and sizes of network")
        rows += _by_batch(program, recordings, options)
        rows += _by_size(program, recordings, options, tell)
        notes = (
            f"{len(recordings)} {kind}, {statistics.fmean(len(events) for events in recordings):.0f} events each",
            f"program: {source}",
            f"synops with the counts of every layer recorded in {N_WINDOWS} windows",
            "bare scatter: the same weights added to the same states, on one thread; no floor, threshold or spike",
        )
        return Outcome(rows=tuple(rows), aims=_aims(rows), notes=notes)


def _row(what: str, unit: str, values: Sequence[float], *, lower: bool = False, **setting: int | float | str) -> Row:
    better = "lower" if lower else "higher"
    return Row(what=what, who=OURS, unit=unit, better=better, values=tuple(values), setting=setting)  # type: ignore[arg-type]


def _by_isa_and_threads(program: Program, recordings: list[Events], options: BenchOptions) -> list[Row]:
    monitor = counted_windows(program, recordings)
    isas: list[str] = import_core().available_isas()
    work: Work = {}
    settings: dict[str, tuple[str, int]] = {}
    heard = heard_by_core(program, recordings)
    synops = events = 0
    for isa in isas:
        bare = BareScatter(program, heard, isa=isa)
        work[f"bare {isa}"], settings[f"bare {isa}"] = bare.run, (isa, 0)
        for threads in thread_counts(options.threads):
            device = opened(program, isa=isa, threads=threads)
            trace = device.run_batch(recordings, monitor=monitor)
            synops, events = int(trace.total("synops")), int(trace.total("events_in"))
            name = f"{isa} {threads}"
            work[name], settings[name] = _batch(device, recordings, monitor), (isa, threads)
    rows = []
    for name, seconds in in_turn(work, options.rounds).items():
        isa, threads = settings[name]
        if threads == 0:
            rows.append(_row("bare scatter", "synops/s", rates(synops, seconds), isa=isa, threads=1))
            continue
        rows.append(_row("speed", "synops/s", rates(synops, seconds), isa=isa, threads=threads))
        if isa == isas[0]:
            rows.append(_row("events heard", "events/s", rates(events, seconds), isa=isa, threads=threads))
    return rows


def _batch(device: VirtualDevice, recordings: list[Events], monitor: Monitor) -> Callable[[], object]:
    return lambda: device.run_batch(recordings, monitor=monitor)


def _latency(program: Program, recordings: list[Events], options: BenchOptions) -> list[Row]:
    """One recording at a time from reset state, as a board is used: median and 99th percentile of each round."""
    device = opened(program, isa="auto", threads=1)
    middle, late = [], []
    for number in range(options.rounds + 1):
        seconds = []
        for events in recordings:
            begin = time.perf_counter()
            device.reset()
            device.run(events)
            seconds.append(time.perf_counter() - begin)
        if number > 0:  # the first round warms up
            middle.append(float(np.percentile(seconds, 50)))
            late.append(float(np.percentile(seconds, 99)))
    return [
        _row("latency, median", "s", middle, lower=True, threads=1),
        _row("latency, 99th percentile", "s", late, lower=True, threads=1),
    ]


def _by_batch(program: Program, recordings: list[Events], options: BenchOptions) -> list[Row]:
    work: Work = {}
    synops = {}
    for size in BATCHES:
        batch = [recordings[i % len(recordings)] for i in range(size)]
        device, monitor = opened(program, isa="auto", threads=options.threads), counted_windows(program, batch)
        synops[str(size)] = int(device.run_batch(batch, monitor=monitor).total("synops"))
        work[str(size)] = _batch(device, batch, monitor)
    taken = in_turn(work, options.rounds)
    return [
        _row("speed by batch", "synops/s", rates(synops[size], seconds), batch=int(size), threads=options.threads)
        for size, seconds in taken.items()
    ]


def _by_size(program: Program, recordings: list[Events], options: BenchOptions, tell: Tell) -> list[Row]:
    programs = {1.0: program}
    for size, layers in SIZES.items():
        tell(f"training a network of {size:g} times the features, one epoch")
        programs[size] = trained_program(options.root, n=200, epochs=1, layers=layers)
    work: Work = {}
    synops = {}
    for size, sized in sorted(programs.items()):
        device, monitor = opened(sized, isa="auto", threads=1), counted_windows(sized, recordings)
        synops[str(size)] = int(device.run_batch(recordings, monitor=monitor).total("synops"))
        work[str(size)] = _batch(device, recordings, monitor)
    return [
        _row("speed by network", "synops/s", rates(synops[size], seconds), features=float(size), threads=1)
        for size, seconds in in_turn(work, options.rounds).items()
    ]


def _aims(rows: Sequence[Row]) -> tuple[Aim, ...]:
    best = import_core().available_isas()[0]

    def found(what: str, threads: int) -> Row | None:
        matches = [row for row in rows if row.what == what and row.setting.get("threads") == threads]
        return next((row for row in matches if row.setting.get("isa", best) == best), None)

    one, bare, late = found("speed", 1), found("bare scatter", 1), found("latency, 99th percentile", 1)
    assert one is not None
    assert bare is not None
    assert late is not None
    ratio, low, high = one.ratio_to(bare)
    roof = (
        f"a bare scatter of the same rows makes {bare.median / 1e9:.1f}e9 synops/s; the core reaches {ratio:.0%} of it "
        f"({low:.0%}..{high:.0%}); the rest is finding who fires, writing spikes, and counts that go to new memory"
    )
    aims = [_aim("synops/s on one core, counts recorded", one, WANTED_SYNOPS, roof)]
    if (two := found("speed", 2)) is not None:
        scaling = two.ratio_to(one)
        limit = "recordings are independent; two processors share memory for the counts and the last-level cache"
        value, low, high = scaling
        aims.append(
            Aim(what="speed on two cores over one", unit="x", better="higher", wanted=WANTED_SCALING,
                value=value, low=low, high=high, limit=limit)
        )  # fmt: skip
    limit = f"events are served in order on one core; {roof}"
    aims.append(_aim("99th percentile of one recording's run", late, WANTED_LATENCY_S, limit))
    return tuple(aims)


def _aim(what: str, row: Row, wanted: float, limit: str) -> Aim:
    return Aim(
        what=what,
        unit=row.unit,
        better=row.better,
        wanted=wanted,
        value=row.median,
        low=min(row.values),
        high=max(row.values),
        limit=limit,
    )


BENCHMARKS.register("core")(CoreBenchmark())
