"""A sweep as it goes: a line a cell, and below them a bar with rate and time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from chiploop.cli.console import one_line
from chiploop.cli.progress import BAR_WIDTH, MINUTE, clock

if TYPE_CHECKING:
    from chiploop.recipes.sweep import Finished


class SweepView:
    """Told of every cell that ends; where stderr is no terminal, its lines say how far the sweep is."""

    def __init__(self, cells: int, *, quiet: bool = False) -> None:
        self._total, self._done, self._run = cells, 0, 0
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("cells"),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_interactive,
        )
        self._task = self._bars.add_task("cells", total=cells, detail=f"0 of {cells}")
        self._begin = time.perf_counter()

    def __enter__(self) -> SweepView:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, soft_wrap=True)

    def finished(self, one: Finished) -> None:
        """Print what became of a cell, and move the bar."""
        self._done += 1
        self._run += one.fresh
        self._bars.update(self._task, completed=self._done, detail=self.progress)
        tail = "" if self._console.is_interactive else f"  [dim]({escape(self.progress)})[/]"
        self.line(f"{_outcome(one)}{tail}")

    @property
    def progress(self) -> str:
        """How many cells are done, at which rate, and how long the others will take at that."""
        parts = [f"{self._done} of {self._total}"]
        if self._run:  # what was recorded before took no time, and says nothing about the rest
            rate = self._run / max(time.perf_counter() - self._begin, 1e-9)
            parts += [f"{rate * MINUTE:.3g}/min", f"{clock((self._total - self._done) / rate)} left"]
        return " · ".join(parts)


def _outcome(one: Finished) -> str:
    title = escape(one.cell.title)
    if one.record is None:
        return f"[red]✗[/] {title}  {escape(one_line(one.error))}"
    chip: dict[str | None, float] = {}
    for metric in one.record.metrics:
        if (metric.name, metric.where, metric.layer) == ("accuracy", "chip", None):
            chip.setdefault(metric.method, metric.value)
    shown = "  ".join(f"{escape(str(method))} [bold]{value:.1%}[/]" for method, value in chip.items())
    return f"[green]✓[/] {title}  {shown}  [dim]{clock(one.seconds) if one.fresh else 'recorded before'}[/]"
