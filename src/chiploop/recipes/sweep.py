"""A sweep carried out: cells in this process one after the other, or on Ray, as many at once as there is room for."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chiploop.cluster.session import largest_node, session
from chiploop.datasets.locate import DATA_VARIABLE
from chiploop.errors import ChiploopError, ClusterError
from chiploop.measure.record import RunRecord, write_record
from chiploop.recipes.folder import claim_folder, leave_folder
from chiploop.recipes.grid import Cell, find_record

if TYPE_CHECKING:
    from chiploop.recipes.run import Watcher

RETRIES = 3
"""How often a cell whose process was killed is taken up again; its checkpoints stay."""
STOP_S = 10.0
"""How long cells may take to end after an interruption, before their processes are ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of a cell: a record, or why there is none. `seconds` of the run itself; `fresh`: it was run now."""

    cell: Cell
    record: RunRecord | None = None
    error: str = ""
    seconds: float = 0.0
    fresh: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What every cell of a sweep is carried out with: the root of the data, and the command that asked for it."""

    root: Path | None = None
    command: str = ""


def sweep(
    cells: Sequence[Cell],
    errand: Errand,
    *,
    local: bool = False,
    jobs: int | None = None,
    address: str | None = None,
    watcher: Watcher | None = None,
) -> Generator[Finished, None, None]:
    """Carry out every cell that has no record yet, and yield what became of each as it ends, those with one first.

    Close the generator to stop early: what runs is told to end, and goes on from its checkpoints another time.

    `local`: one after the other in this process (a `watcher` is told what they are at). Else on Ray: on the cluster at
    `address`, or on this machine; a cell takes as many processors as its recipe has threads, at most `jobs` run at
    once, and one whose process dies is taken up again from its checkpoints. Both ways give the same bits.

    A cell that fails stops no other. Raises RecipeError when a folder holds another recipe's runs, DataError for a
    damaged record, both before anything is run, and ClusterError when Ray cannot be reached.
    """
    records = [(cell, find_record(cell)) for cell in cells]
    roots = {cell.point.folder.parent for cell in cells}
    made = {root for root in roots if not root.exists()}
    claimed = {cell.point.folder for cell in cells if claim_folder(cell.point.folder, cell.point.recipe)}
    yield from (Finished(cell=cell, record=record, fresh=False) for cell, record in records if record is not None)
    todo = [cell for cell, record in records if record is None]
    try:
        if local:
            yield from (run_cell(cell, errand, watcher=watcher) for cell in todo)
        elif todo:
            with session(address) as ray:
                yield from _on_ray(ray, todo, errand, jobs)
    finally:
        for folder in sorted(claimed):
            leave_folder(folder)  # which does nothing where there is more than the claim
        for root in made:
            if root.is_dir() and not any(root.iterdir()):
                root.rmdir()


def run_cell(cell: Cell, errand: Errand, *, watcher: Watcher | None = None) -> Finished:
    """Run one cell here, or find that it was run; what goes wrong is told, not raised."""
    begin = time.perf_counter()
    try:
        from chiploop.recipes.run import run_recipe  # imports torch

        record = find_record(cell)  # a process that was killed may have come as far as that
        if record is None:
            (record,) = run_recipe(
                cell.recipe, root=errand.root, out=cell.point.folder, command=errand.command, watcher=watcher
            )
    except (ChiploopError, OSError, MemoryError) as error:
        return Finished(cell=cell, error=str(error) or type(error).__name__, seconds=time.perf_counter() - begin)
    except Exception as error:
        message = f"{type(error).__name__}: {error} (a fault of chiploop, please report it)"
        return Finished(cell=cell, error=message, seconds=time.perf_counter() - begin)
    return Finished(cell=cell, record=record, seconds=time.perf_counter() - begin)


def _on_ray(ray: ModuleType, cells: Sequence[Cell], errand: Errand, jobs: int | None) -> Iterator[Finished]:
    most = largest_node(ray)
    task: Any = ray.remote(max_retries=RETRIES)(_run_far)
    root, here = errand.root or os.environ.get(DATA_VARIABLE), Path.cwd()
    far = Errand(root=here / Path(root).expanduser() if root else None, command=errand.command)
    waiting, running = deque(cells), dict[Any, Cell]()
    try:
        while waiting or running:
            while waiting and (jobs is None or len(running) < jobs):
                cell = waiting.popleft()
                # More processors than any machine has would be waited for without end; threads may share them.
                asked = task.options(name="cell", num_cpus=min(cell.recipe.threads, most))
                running[asked.remote(_absolute(cell, here), far, str(here))] = cell
            ready, _ = ray.wait(list(running))
            for reference in ready:
                yield _fetched(ray, reference, running.pop(reference))
    finally:
        for reference in running:  # some only after an interruption
            ray.cancel(reference)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=STOP_S)


def _absolute(cell: Cell, here: Path) -> Cell:
    return replace(cell, point=replace(cell.point, folder=here / cell.point.folder))


def _run_far(cell: Cell, errand: Errand, folder: str) -> tuple[str, str, float]:
    """What a worker process does: run the cell in the sweep's folder, and send its record as text."""
    if Path(folder).is_dir():  # on a machine that shares it; names of files in recipes may be relative to it
        os.chdir(folder)
    done = run_cell(cell, errand)
    return "" if done.record is None else done.record.to_json(), done.error, done.seconds


def _fetched(ray: ModuleType, reference: Any, cell: Cell) -> Finished:
    try:
        text, error, seconds = ray.get(reference)
    except ray.exceptions.WorkerCrashedError:
        message = f"its process was killed {1 + RETRIES} times (is there enough memory?); finished epochs are kept"
        return Finished(cell=cell, error=message)
    except ray.exceptions.RayError as failure:
        cause = getattr(failure, "cause", None) or failure
        return Finished(cell=cell, error=f"{type(cause).__name__}: {cause}")
    if error:
        return Finished(cell=cell, error=error, seconds=seconds)
    record = RunRecord.model_validate(json.loads(text))
    if find_record(cell) is None:  # it was run on a machine that shares no folder with this one
        write_record(cell.folder, record)
    return Finished(cell=cell, record=record, seconds=seconds)


def require_room(*, local: bool, jobs: int | None, address: str | None, ray: bool) -> bool:
    """Return whether cells run in this process; raise ClusterError for wishes that contradict each other.

    Without Ray (`ray`: whether it is installed) they do, unless several at once or a cluster were asked for.
    """
    if local and (address or (jobs or 1) > 1):
        raise ClusterError("--local runs one cell after the other in this process: leave out --jobs and --address")
    if not ray and not local and (address or (jobs or 1) > 1):
        raise ClusterError("several cells at once need Ray: pip install 'chiploop[cluster]', or give --local")
    return local or not ray
