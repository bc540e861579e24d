"""`chiploop pack`: a data set in one file that is mapped into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiploop.cli.console import print_json
from chiploop.cli.options import DataOption, JsonOption, QuietOption
from chiploop.errors import DataError

if TYPE_CHECKING:
    from chiploop.datasets.base import Dataset
    from chiploop.datasets.pack import Progress

DEFAULT_SPLIT = "train"
EXAMPLES = (
    "Examples:\n\n  chiploop pack nmnist --out packed/nmnist-train.packed\n\n"
    "  chiploop pack nmnist --split test --out packed/nmnist-test.packed\n\n"
    "  chiploop pack nmnist_sim --n 60000 --out packed/sim.packed --json\n\n"
    "To train from such a file, or from a folder of them: chiploop run RECIPE --set data.dataset=packed --data FILE"
)


def command(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A data set of recordings (chiploop ls datasets).")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write, such as digits.packed.")],
    split: Annotated[str, typer.Option("--split", help="Which part of the data set.")] = DEFAULT_SPLIT,
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="How many recordings. Default: the data set's own.")
    ] = None,
    data: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Pack a data set's recordings into one file, from which training reads at the speed of memory."""
    from chiploop.datasets.pack import pack_dataset

    dataset = _open(name, split, n, data)
    with _bar(len(dataset), quiet=quiet) as progress:
        written = pack_dataset(dataset, out, source=name, split=split, progress=progress)
    size = out.stat().st_size
    if as_json:
        print_json(
            {
                "file": str(out),
                "dataset": name,
                "split": split,
                "recordings": len(dataset),
                "bytes": size,
                "written": written,
            }
        )
        return
    what = "wrote" if written else "already there:"
    print(f"{what} {out}: {len(dataset):,} recordings of {name}, {size / 1e6:,.1f} MB")


def _open(name: str, split: str, n: int | None, data: Path | None) -> Dataset:
    from chiploop.datasets.base import DATASETS, Dataset

    options: dict[str, Any] = {} if n is None else {"n": n}
    try:
        dataset = DATASETS.get(name)(data, split=split, **options)
    except TypeError as error:
        raise DataError(f"data set {name!r} cannot be asked for {n} recordings ({error}); leave --n out") from error
    if not isinstance(dataset, Dataset):
        raise DataError(f"data set {name!r} holds images, not recordings; only recordings can be packed")
    return dataset


@contextmanager
def _bar(total: int, *, quiet: bool) -> Iterator[Progress]:
    """Show how many recordings are done, on stderr while that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("packing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=quiet or not console.is_interactive) as bars:
        task = bars.add_task("", total=total)
        yield lambda done: bars.update(task, completed=done)
