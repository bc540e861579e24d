"""Input: recordings decoded, packed, changed and binned, beside NumPy's way and a copy of the same bytes in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chiploop.bench.benchmark import BENCHMARKS, OURS, Aim, BenchOptions, Better, Outcome, Row, Tell, in_turn, rates
from chiploop.bench.recordings import open_recordings, some_events
from chiploop.bench.streamed import streamed_growth
from chiploop.datasets.base import Sample
from chiploop.datasets.pack import write_packed
from chiploop.datasets.packed import PackedDataset, open_packed
from chiploop.datasets.packed_file import Packed, PackedInfo, unpack_plain
from chiploop.encode.raster import count_plain, rasterize_batch
from chiploop.events.codecs.nmnist import decode_nmnist, decode_plain, write_nmnist
from chiploop.events.types import Events
from chiploop.learn.allocator import keep_freed_memory
from chiploop.learn.augment import Augment, move_plain
from chiploop.learn.batch import Samples
from chiploop.learn.prefetch import Prefetch
from chiploop.rng import stream

N_RECORDINGS, BATCH, N_WINDOWS = 512, 32, 10
N_STREAMED = 20_000
EVENT_BYTES, CELL_BYTES = 14, 4
AUGMENT = Augment(shift_px=2.5, rotate_deg=12.0, scale=0.12, shear=0.1, drop=0.3)
"""As in the recipe of Table 1."""

T = TypeVar("T")
NUMPY, COPY = "numpy", "memcpy"

AGAINST_COPY = (
    ("decode", 4.0, "an object with four arrays of its own for every recording is as much work as its bytes"),
    ("packed read", 4.0, "the same"),
    ("bin", 4.0, "an event is an addition at a place of its own, which no instruction does for several at once"),
)
"""A step is at the speed of memory where it takes a few times as long as a copy: what is left is not its bytes."""
AGAINST_NUMPY = (
    ("batches", 2.0, "an object with four arrays of its own for every recording"),
    (
        "batches, augmented",
        2.0,
        "a generator a recording and a number an event, which are NumPy's, as their bits must be",
    ),
)
MOST_GROWTH_MB = 16.0


@dataclass(frozen=True)
class Work:
    """One quantity: what each contender does for all recordings, and the bytes that it reads and writes."""

    what: str
    n_bytes: int
    contenders: dict[str, Callable[[], object]]


class Input:
    """The benchmark."""

    summary = "decoding, packed reading, augmentation and binning of recordings against NumPy and a memory copy"

    def run(self, options: BenchOptions, tell: Tell) -> Outcome:
        """Measure every step in turn, then the memory of a streamed run."""
        keep_freed_memory()  # as training does: or clearing new pages is half of what is measured
        dataset, what = open_recordings(options.root)
        events = some_events(dataset, N_RECORDINGS)
        rows: list[Row] = []
        with tempfile.TemporaryDirectory() as folder:
            contents, packed = _written(events, Path(folder))
            for work in _works(events, contents, packed, options.threads):
                tell(work.what)
                rows += _rows(work, len(events), options.rounds)
            tell("memory of a streamed run")
            rows.append(streamed_growth(Path(folder), n=N_STREAMED))
        n_events = sum(map(len, events)) / len(events)
        notes = (
            f"{len(events)} of {what}, {n_events:,.0f} events each; batches of {BATCH}, {N_WINDOWS} windows",
            "memcpy copies half of the bytes that a step reads and writes, in as many pieces, and so moves as many",
        )
        return Outcome(rows=tuple(rows), aims=_aims(rows), notes=notes)


def _written(events: Sequence[Events], folder: Path) -> tuple[list[bytes], PackedDataset]:
    """Return the recordings as the bytes of N-MNIST's files, and as a packed file that is mapped."""
    contents = []
    for one in events:
        write_nmnist(folder / "one.bin", one)
        contents.append((folder / "one.bin").read_bytes())
    last = max(one.stop_us for one in events)
    info = PackedInfo(name="input", source="input", split="train", n_classes=1, shape=events[0].shape, duration_us=last)
    write_packed(folder / "all.packed", (Sample(one, 0, i) for i, one in enumerate(events)), info)
    packed = open_packed(folder / "all.packed")
    packed.parts[0].verify()
    return contents, packed


def _works(events: list[Events], contents: list[bytes], packed: PackedDataset, threads: int) -> list[Work]:
    shape, stop = events[0].shape, packed.duration_us
    columns = EVENT_BYTES * sum(map(len, events))
    cells = CELL_BYTES * N_WINDOWS * shape.channels * shape.height * shape.width * len(events)
    file, samples = packed.parts[0], Samples.of(packed, np.arange(len(packed)), N_WINDOWS)
    edges = samples.edges_us
    batches = [events[at : at + BATCH] for at in range(0, len(events), BATCH)]
    whole = columns + cells
    words = [file.words[file.offsets[i] : file.offsets[i + 1]] for i in range(len(file))]
    return [
        _work(
            "decode",
            sum(map(len, contents)) + columns,
            lambda: _by_batch(lambda content: decode_nmnist(content, shape, stop_us=stop), contents),
            lambda: _by_batch(lambda content: decode_plain(content, shape, where="", stop_us=stop), contents),
            len(events),
            BATCH,
        ),
        _work(
            "packed read",
            sum(one.nbytes for one in words) + columns,
            lambda: _by_batch(file.events, range(len(file))),
            lambda: _by_batch(lambda i: unpack_plain(words[i], shape, *file.bounds[i].tolist()), range(len(words))),
            len(events),
            BATCH,
        ),
        _work(
            "bin",
            whole,
            lambda: _each(lambda some: rasterize_batch(some, edges, dtype=np.float32, threads=threads), batches),
            lambda: _each(lambda some: _plain_counts(some, edges), batches),
            len(batches),
            1,
        ),
        _work(
            "batches",
            whole + columns,
            lambda: _our_pass(samples, None),
            lambda: _plain_pass(file, words, edges, None),
            len(batches),
            1,
        ),
        _work(
            "batches, augmented",
            whole + columns,
            lambda: _our_pass(samples, AUGMENT),
            lambda: _plain_pass(file, words, edges, AUGMENT),
            len(batches),
            1,
        ),
    ]


def _plain_counts(some: Sequence[Events], edges: NDArray[np.int64]) -> NDArray[np.float32]:
    counts = np.empty((len(edges) - 1, len(some), *some[0].shape), np.uint16)
    count_plain(some, edges, counts)
    return counts.astype(np.float32)


def _plain_pass(file: Packed, words: Sequence[NDArray[Any]], edges: NDArray[np.int64], augment: Augment | None) -> None:
    """Make all batches of an epoch with NumPy, one after the other."""
    order = stream(0, "order", 0).permutation(len(words))
    for at in range(0, len(order), BATCH):
        some = [unpack_plain(words[i], file.info.shape, *file.bounds[i].tolist()) for i in order[at : at + BATCH]]
        if augment is not None:
            drawn = [augment.draw(one, stream(0, "augment", 0, i)) for i, one in enumerate(some)]
            some = [move_plain(one, *with_) for one, with_ in zip(some, drawn, strict=True)]
        _plain_counts(some, edges)


def _our_pass(samples: Samples, augment: Augment | None) -> None:
    for _ in Prefetch(samples.shuffled(BATCH, seed=0, epoch=0, transform=augment)):
        pass


def _each(call: Callable[[T], object], items: Sequence[T]) -> None:
    for item in items:
        call(item)


def _by_batch(call: Callable[[T], object], items: Sequence[T]) -> None:
    """Carry a call out for every item and hold a batch of what it gives, as training does."""
    for at in range(0, len(items), BATCH):
        _ = [call(item) for item in items[at : at + BATCH]]


def _work(
    what: str, n_bytes: int, ours: Callable[[], object], plain: Callable[[], object], pieces: int, held: int
) -> Work:
    source = [np.ones(n_bytes // 2 // pieces, np.uint8) for _ in range(pieces)]
    target = [np.empty_like(one) for one in source[:held]]

    def copy() -> None:
        for i, one in enumerate(source):
            np.copyto(target[i % len(target)], one)

    return Work(what, n_bytes, {OURS: ours, NUMPY: plain, COPY: copy})


def _rows(work: Work, n: int, rounds: int) -> list[Row]:
    rows = []
    for who, seconds in in_turn(work.contenders, rounds).items():
        for unit, amount in (("recordings/s", float(n)), ("GB/s", work.n_bytes / 1e9)):
            rows.append(Row(what=work.what, who=who, unit=unit, better="higher", values=rates(amount, seconds)))
        if work.what.startswith("batches"):
            batches = rates(-(-n // BATCH), seconds)
            rows.append(Row(what=work.what, who=who, unit="batches/s", better="higher", values=batches))
    return rows


def _aims(rows: Sequence[Row]) -> tuple[Aim, ...]:
    """Set a step's time against a copy of its bytes, its speed against NumPy's, and memory against nothing."""
    found = {(row.what, row.who): row for row in rows if row.unit == "recordings/s"}
    growth = next(row for row in rows if row.unit == "MB")
    return (
        *(
            _aim(f"{what}, time of memcpy", "x", "lower", wanted, found[what, COPY].ratio_to(found[what, OURS]), limit)
            for what, wanted, limit in AGAINST_COPY
        ),
        *(
            _aim(
                f"{what}, speed of NumPy", "x", "higher", wanted, found[what, OURS].ratio_to(found[what, NUMPY]), limit
            )
            for what, wanted, limit in AGAINST_NUMPY
        ),
        _aim(
            growth.what,
            growth.unit,
            "lower",
            MOST_GROWTH_MB,
            (growth.median, min(growth.values), max(growth.values)),
            "batches that are held at one moment and not at another, 3 MB each",
        ),
    )


def _aim(what: str, unit: str, better: Better, wanted: float, found: tuple[float, float, float], limit: str) -> Aim:
    value, low, high = found
    return Aim(what=what, unit=unit, better=better, wanted=wanted, value=value, low=low, high=high, limit=limit)


BENCHMARKS.register("input")(Input())
