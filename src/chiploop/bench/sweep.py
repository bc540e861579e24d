"""What several processes cost and bring: a cell of a sweep on Ray and in process, pools of one and two simulators."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chiploop.bench.benchmark import BENCHMARKS, OURS, Aim, BenchOptions, Outcome, Row, Tell, in_turn, rates
from chiploop.bench.recordings import open_recordings, some_events
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import Device
from chiploop.chip.open import open_named
from chiploop.chip.profile import read_profile
from chiploop.chip.program import Program
from chiploop.cluster.session import session
from chiploop.errors import ChiploopError
from chiploop.events.types import Events
from chiploop.quantize.apply import quantize
from chiploop.recipes.grid import Cell, Point
from chiploop.recipes.recipe import Recipe
from chiploop.recipes.sweep import Errand, sweep
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from chiploop.spec.notation import parse_notation

LAYERS = "8c3s2p1-16c3p1-P2-10"
RECORDINGS = 64
CELLS = 4
OVERHEAD_S = 0.5
"""What a cell may take more on Ray: of a cell of minutes, which the shortest useful one is, less than a hundredth."""

RECIPE = {
    "name": "bench-sweep",
    "threads": 1,
    "data": {"dataset": "shapes", "n": 60},
    "encode": {"n_windows": 4},
    "network": {"layers": "4c3p1-P2-3", "activity": 4.0},
    "chip": {"threads": 1},
    "learn": {"bptt": {"method": "bptt", "epochs": 1, "batch_size": 8}},
}


class Sweep:
    """Cells of a sweep one at a time on Ray and in process, and batches on pools of simulators with one thread each."""

    summary = "what a sweep's cell costs more on Ray, and what pools of devices bring"

    def run(self, options: BenchOptions, tell: Tell) -> Outcome:
        """Measure; Ray is started before, and its first process warm, as in all but the first cell of a sweep."""
        with session(cpus=options.threads):
            # Before the cells, which set this process up for training: it is then no fair place for a pool.
            tell("pools of one and two simulators")
            pools = _pool_rates(options)
            tell("cells of a sweep, on Ray and in process")
            cells = _cell_seconds(options.rounds)
        far, near = cells["ray"], cells["in process"]
        more = sorted((a - b) / CELLS for a, b in zip(far.values, near.values, strict=True))
        aim = Aim(
            what="overhead of a sweep's cell on Ray",
            unit="s",
            better="lower",
            wanted=OVERHEAD_S,
            value=more[len(more) // 2],
            low=more[0],
            high=more[-1],
            limit="one process is asked to run the cell and sends its record back; its folder is looked at twice",
        )
        notes = ("Ray's own start (seconds) and the first import of torch in each of its processes are left out.",)
        return Outcome(rows=(*cells.values(), *pools), aims=(aim,), notes=notes)


def _cell_seconds(rounds: int) -> dict[str, Row]:
    with tempfile.TemporaryDirectory(prefix="chiploop-bench-") as folder:
        numbers = iter(range(1_000_000))

        def cells() -> list[Cell]:
            recipe = Recipe.model_validate(RECIPE)
            out = Path(folder) / str(next(numbers))  # a fresh one: what was run is not run again
            return [Cell(point=Point(recipe=recipe, varied=(), folder=out), seed=seed) for seed in range(CELLS)]

        taken = in_turn(
            {
                "ray": lambda: _require_done(cells(), local=False),
                "in process": lambda: _require_done(cells(), local=True),
            },
            rounds,
        )
    what = f"{CELLS} cells of a sweep, one at a time"
    return {
        how: Row(what=what, who=OURS, unit="s", better="lower", values=tuple(seconds), setting={"cells": how})
        for how, seconds in taken.items()
    }


def _require_done(cells: Sequence[Cell], *, local: bool) -> None:
    for one in sweep(cells, Errand(), local=local, jobs=None if local else 1):
        if one.record is None:
            raise ChiploopError(f"benchmark 'sweep': {one.cell.title} failed: {one.error}")


def _pool_rates(options: BenchOptions) -> list[Row]:
    dataset, kind = open_recordings(options.root)
    network = parse_notation(LAYERS, dataset.shape, NeuronSpec(v_th=1.0, v_min=-1.0), stream(0, "weights"))
    program = compile_program(quantize(network), read_profile("speck2f"))
    batch = some_events(dataset, RECORDINGS)
    settings = {f"{where}:{n}xvirtual": (where, n) for where in ("pool", "ray") for n in (1, 2)}
    with _opened(["virtual", *settings], program) as devices:
        taken = in_turn({name: _run(device, batch) for name, device in devices.items()}, options.rounds)
    rows = []
    for name, seconds in taken.items():
        where, n = settings.get(name, ("alone", 1))
        rows.append(
            Row(
                what=f"batches of {len(batch)}: {kind}",
                who=OURS,
                unit="samples/s",
                better="higher",
                values=rates(len(batch), seconds),
                setting={"devices": n, "pool": where},
            )
        )
    return rows


def _run(device: Device, batch: Sequence[Events]) -> Callable[[], object]:
    return lambda: device.run_batch(batch)


@contextmanager
def _opened(names: Sequence[str], program: Program) -> Iterator[dict[str, Device]]:
    """Yield devices of one thread a member, with the program."""
    devices: dict[str, Device] = {}
    try:
        for name in names:
            members = 2 if ":2x" in name else 1
            devices[name] = open_named(name, threads=members)
            devices[name].load(program)
        yield devices
    finally:
        for device in devices.values():
            device.close()


BENCHMARKS.register("sweep")(Sweep())
