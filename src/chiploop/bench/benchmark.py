"""What a benchmark is, what it gives, and how two things are timed so that they may be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from chiploop.registry import Registry

Better = Literal["lower", "higher"]
OURS = "chiploop"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What is asked of a benchmark.

    `rounds`: times that everything is measured; `threads`: of torch and of the chip; `root`: where recordings lie;
    `who`: peers to run (None: those that are installed).
    """

    rounds: int = 9
    threads: int = 2
    root: Path | None = None
    who: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity of one contender: a value for each round, in order, so that rows of equal length pair up.

    `setting` holds what the quantity is plotted over (batch, T, threads, ...).
    """

    what: str
    who: str
    unit: str
    better: Better
    values: tuple[float, ...]
    setting: Mapping[str, int | float | str] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    def ratio_to(self, other: Row) -> tuple[float, float, float]:
        """Return this over the other, round by round: median, smallest, largest."""
        ratios = [a / b for a, b in zip(self.values, other.values, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a benchmark should reach, what it reached (median, smallest and largest round), and what limits it."""

    what: str
    unit: str
    better: Better
    wanted: float
    value: float
    low: float
    high: float
    limit: str

    @property
    def reached(self) -> bool:
        """Whether the median is as good as wanted."""
        return self.value >= self.wanted if self.better == "higher" else self.value <= self.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one benchmark gave."""

    rows: tuple[Row, ...]
    aims: tuple[Aim, ...] = ()
    notes: tuple[str, ...] = ()


Tell = Callable[[str], None]
"""Called with what a benchmark is at."""


class Benchmark(Protocol):
    """Measures something; registered by name in a file of its own."""

    @property
    def summary(self) -> str:
        """One line that says what it measures."""

    def run(self, options: BenchOptions, tell: Tell) -> Outcome:
        """Measure, and return rows and aims."""


BENCHMARKS: Registry[Benchmark] = Registry("benchmark", "chiploop.bench")


def in_turn(work: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 1) -> dict[str, list[float]]:
    """Return the seconds of every piece of work, one of each a round, so that a busy moment hits all alike.

    >>> taken = in_turn({"a": lambda: None, "b": lambda: sum(range(1000))}, rounds=3)
    >>> [len(seconds) for seconds in taken.values()]
    [3, 3]
    """
    taken: dict[str, list[float]] = {name: [] for name in work}
    for number in range(warm_up + rounds):
        for name, call in work.items():
            begin = time.perf_counter()
            call()
            if number >= warm_up:
                taken[name].append(time.perf_counter() - begin)
    return taken


def rates(amount: float, seconds: Sequence[float]) -> tuple[float, ...]:
    """Return amount a second for each of the measured times."""
    return tuple(amount / each for each in seconds)
