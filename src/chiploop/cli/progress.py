"""A run as it goes: live bars on a terminal, plain lines in a log file, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

if TYPE_CHECKING:
    from chiploop.learn.checkpoint import Epoch
    from chiploop.measure.metric import Metric

BAR_WIDTH = 12
MINUTE, HOUR = 60, 3600


class View:
    """A watcher of `run_recipe` that shows bars while stderr is a terminal, else a line an epoch."""

    def __init__(self, *, quiet: bool = False, names: Iterable[str] = (), seeds: int = 1) -> None:
        self._quiet, self._seeds = quiet, seeds
        self._name_width = max((len(name) for name in names), default=0) + 2
        self._console = Console(stderr=True, highlight=False, quiet=quiet)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_interactive,
        )
        self._task: TaskID | None = None
        self._training: Training | None = None
        self._seed = ""
        self._deployed = 0.0

    def __enter__(self) -> View:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._say_trained()
        self._bars.stop()

    def line(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, soft_wrap=True)

    def stage(self, title: str) -> None:
        """Show that something without a measure goes on."""
        self._bar(title, total=None)
        self._log(f"{title} ...")

    def training(self, title: str, epochs: int) -> Training:
        """Return the progress of a row's training."""
        self._say_trained()
        self._training = Training(self, title, epochs)
        self._bar(title, total=None)
        return self._training

    def samples(self, title: str, total: int) -> None:
        """Show how many of the samples have been run."""
        self._deployed = time.perf_counter()
        self._bar(title, total=total)
        self._log(f"{title}: {total} samples ...")

    def done(self, n: int) -> None:
        """Count samples."""
        if self._task is None:
            return
        self._bars.advance(self._task, n)
        task = self._bars.tasks[0]
        rate = task.completed / max(time.perf_counter() - self._deployed, 1e-9)
        left = (task.total or 0) - task.completed
        detail = f"{task.completed:,.0f} of {task.total:,.0f} samples · {rate:,.0f}/s · {clock(left / rate)} left"
        self._bars.update(self._task, detail=detail)

    def row(self, name: str, metrics: Sequence[Metric]) -> None:
        """Print a row's accuracies, and what its training came to."""
        cells = [f"{m.where} [bold]{m.value:.1%}[/]" for m in metrics if m.name == "accuracy"]
        self._tick(name, "  ".join(cells))
        self._training = None

    def advance(self, completed: int, total: int, detail: str) -> None:
        """Move the bar of the training that goes on."""
        if self._task is not None:
            self._bars.update(self._task, completed=completed, total=total, detail=detail)

    def log(self, text: str) -> None:
        """Print a line where there are no bars."""
        self._log(text)

    def _log(self, text: str) -> None:
        if not self._console.is_interactive and not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def _bar(self, title: str, *, total: int | None) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        if self._seeds == 1:
            title = title.partition(": ")[2] or title  # "seed 0: bptt" says no more than "bptt" then
        self._task = self._bars.add_task(escape(title), total=total, detail="")

    def _say_trained(self) -> None:
        """Say what a training came to whose row is not reported."""
        if self._training is not None:
            self._tick(self._training.name, f"[dim]{self._training.summary}[/]")
            self._training = None

    def _tick(self, name: str, text: str) -> None:
        self.line(f"[green]✓[/] {escape(name):<{self._name_width}}{text}")


class Training:
    """The progress of one row: the bar's right side, and one line in the end."""

    def __init__(self, view: View, title: str, epochs: int) -> None:
        self._view, self._title, self._epochs = view, title, epochs
        self._begin = time.perf_counter()
        self._first: int | None = None  # steps that a checkpoint had done
        self._last: Epoch | None = None
        self._best, self._left = 0.0, 0.0

    @property
    def name(self) -> str:
        """The row's name."""
        return self._title.rpartition(": ")[2]

    @property
    def summary(self) -> str:
        """What training came to, in a few words."""
        if self._last is None:
            return "nothing to train" if not self._epochs else "trained before"
        took = clock(time.perf_counter() - self._begin)
        return f"{self._last.epoch + 1} epochs, best validation {self._best:.1%}, {took}"

    def step(self, done: int, of: int, loss: float) -> None:
        """Show a batch."""
        if self._first is None:
            self._first, self._begin = done - 1, time.perf_counter()
        seconds, steps = time.perf_counter() - self._begin, done - self._first - 1
        number = min(done * self._epochs // of + 1, self._epochs) if done < of else self._epochs
        parts = [f"epoch {number}/{self._epochs}", f"loss {loss:.3g}"]
        if self._last is not None:
            parts.append(f"valid {self._last.score:.1%}")
        if steps:
            rate = steps / max(seconds, 1e-9)
            parts += [f"{rate:.1f}/s", f"{clock((of - done) / rate)} left"]
            self._left = (of - done) / rate
        self._view.advance(done, of, " · ".join(parts))

    def epoch(self, epoch: Epoch) -> None:
        """Show an epoch."""
        self._last, self._best = epoch, max(self._best, epoch.score)
        self._view.log(
            f"{self._title}: epoch {epoch.epoch + 1}/{self._epochs}, loss {epoch.loss:.4g}, training "
            f"{epoch.train_accuracy:.1%}, validation {epoch.score:.1%}, {epoch.seconds:.1f} s, {clock(self._left)} left"
        )


def clock(seconds: float) -> str:
    """Return a time as people read it.

    >>> clock(75), clock(3700)
    ('1:15', '1:01:40')
    """
    whole = round(seconds)
    hours, minutes, rest = whole // HOUR, whole % HOUR // MINUTE, whole % MINUTE
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
