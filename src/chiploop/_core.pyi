"""The compiled chip simulator (cpp/bind.cc)."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

Columns = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]
"""Columns t_us, channel, y, x."""

Stream = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16], int, int]
"""Columns t_us, channel, y, x, and the bounds start_us, stop_us."""

Shape = tuple[int, int, int]

CoreArguments = tuple[
    NDArray[np.int8],
    int,
    int,
    bool,
    bool,
    int,
    int,
    int,
    Shape,
    Shape,
    NDArray[np.int16] | None,
    NDArray[np.int32] | None,
    tuple[NDArray[np.int64], NDArray[np.int64]] | None,
    bool,
]
"""Weight [C, kh, kw, F], threshold, floor, reset to zero, all spikes, stride, padding, pool, input and neuron shape;
bias [F], thresholds [H, W, F], factors of the leak (fine, coarse), 32-bit states."""

Link = tuple[int, int, int]
"""Position of the core that hears, further pooling as a shift, channel shift."""

def sum_streams(counts: NDArray[np.uint16], threads: int) -> list[int]:
    """Add up [windows, batch, size] counts by stream."""

def best_isa() -> str:
    """Return the fastest instruction set of this machine: avx512, avx2, neon or portable."""

def available_isas() -> list[str]:
    """Return the instruction sets that this machine can run, the fastest first; portable is always the last."""

class Sinks:
    """Arrays that a run writes into, made by the caller; maps are [T, B, H, W, F], None where nobody watches."""

    def __init__(
        self,
        *,
        counters: NDArray[np.int64],
        lost: NDArray[np.int64],
        totals: NDArray[np.int64],
        last: NDArray[np.int16],
        counts: Sequence[NDArray[np.uint16] | None],
        potentials: Sequence[NDArray[np.int16] | None],
    ) -> None: ...

class Chip:
    """Cores in data-flow order, in instant time.

    `answers` is the position of the output whose spikes are totalled; `clock_us` 0 means no slow clock.
    """

    def __init__(
        self,
        cores: Sequence[CoreArguments],
        *,
        input: Shape,
        inputs: Sequence[Link],
        targets: Sequence[Sequence[Link]],
        outputs: Sequence[bool],
        answers: int,
        clock_us: int = 0,
        isa: str = "auto",
    ) -> None: ...
    def run(
        self, stream: Stream, edges: NDArray[np.int64], sinks: Sinks, spikes: Sequence[bool]
    ) -> tuple[list[Columns | None], list[Columns | None]]:
        """Run on from the present state; return, by core, the events that left the chip and the spikes asked for."""

    def run_batch(self, batch: Sequence[Stream], edges: NDArray[np.int64], sinks: Sinks, threads: int) -> None:
        """Run every stream from reset state."""

    def bare_scatter(self, stream: Stream) -> int:
        """Add the weights of every event to the first core's states and do nothing else; the state is reset.

        Returns the synops: the yardstick of `run`, for measuring.
        """

    def reset(self) -> None:
        """Bring every state to zero."""

class ScanNeuron:
    """A neuron's constants for the fused scans (cpp/scan.h)."""

    def __init__(
        self,
        *,
        keep: float,
        gain: float,
        v_th: float,
        v_min: float | None,
        reset_to_zero: bool,
        all_spikes: bool,
        slope: str,
        shape: float,
    ) -> None: ...

ScanPool = tuple[int, int, int, int]
"""Size of the squares, height, width and channels of the map."""

def scan_forward(
    neuron: ScanNeuron,
    *,
    current: Any,
    v_seen: Any | None,
    before: Any,
    spikes: Any | None,
    after: Any | None,
    v_levels: Any | None,
    v_unit: float,
    counts_seen: Any | None,
    pool: ScanPool | None,
    steps: int,
    threads: int,
) -> None:
    """Run a neuron layer over time; arrays are flat, time slowest; levels int16, counts uint16, all else float32."""

def scan_backward(
    neuron: ScanNeuron,
    *,
    before: Any | None,
    grad_spikes: Any | None,
    grad_v: Any | None,
    grad_current: Any,
    v_levels: Any | None,
    v_unit: float,
    counts_seen: Any | None,
    pool: ScanPool | None,
    steps: int,
    threads: int,
) -> None:
    """Run the gradient back through time, at the given potentials before the reset or at the chip's own."""

def send_counts(*, counts: Any, sent: Any, pool: ScanPool | None, steps: int, threads: int) -> None:
    """Write counts as float32, summed over squares where there is a pool."""

# cpp/bind_timed.cc

Watched = tuple[bool, bool, bool]
"""Whether counts, potentials and spikes of a core are wanted."""

class TimedRun(TypedDict):
    """What one run gave, lists by core; tables are in the order of the fields of Counters and of CoreLoad."""

    counters: NDArray[np.int64]  # [cores, 9]
    load: NDArray[np.int64]  # [cores + 1, 7], the input last
    counts: list[NDArray[np.uint16] | None]  # [windows, H, W, F]
    potentials: list[NDArray[np.int16] | None]  # [windows, H, W, F]
    spikes: list[Columns | None]
    outputs: list[Columns | None]
    output_ns: list[NDArray[np.int64]]
    latency_ns: list[NDArray[np.int64]]
    totals: NDArray[np.int64]  # of the core that answers, [H, W, F]
    last: NDArray[np.int16]
    lost: int
    end_ns: int

class TimedChip:
    """The cores of a chip in time; its states are its own. `fifo_depth` None means no bound."""

    def __init__(
        self,
        chip: Chip,
        *,
        event_ns: int,
        synop_ns: int,
        hop_ns: int,
        fifo_depth: int | None,
        drops: bool,
        most_queued: int,
    ) -> None: ...
    def run(self, stream: Stream, edges: NDArray[np.int64], watched: Sequence[Watched]) -> TimedRun:
        """Run on from the present state; after an error every state is zero."""

    def run_batch(
        self, batch: Sequence[Stream], edges: NDArray[np.int64], watched: Sequence[Watched], threads: int
    ) -> list[TimedRun]:
        """Run every stream from reset state."""

    def reset(self) -> None:
        """Bring every state to zero."""

# cpp/bind_input.cc: `t` and `addresses` uint16[3, n] (channel, y, x) have a place for every event that is read;
# `wide` False does without AVX2.

def decode_records(
    content: NDArray[np.uint8], shape: Shape, *, t: NDArray[np.int64], addresses: NDArray[np.uint16], wide: bool = True
) -> tuple[int, int, int, int, int]:
    """Decode five-byte records; return events, kind of fault (none, x, y, time), its record, time before it, value."""

def unpack_words(
    words: NDArray[np.uint32] | NDArray[np.uint64],
    bits: tuple[int, int, int],
    shape: Shape,
    *,
    start: int,
    duration: int,
    t: NDArray[np.int64],
    addresses: NDArray[np.uint16],
    wide: bool = True,
) -> int:
    """Unpack words with fields of so many bits for channel, y and x; return the first bad one, or their number."""

def move_events(
    stream: Columns,
    shape: Shape,
    motion: tuple[float, float, float, float, float, float, float, float, float, float],
    draws: NDArray[np.float64] | None,
    *,
    first: int,
    stop: int,
    t: NDArray[np.int64],
    addresses: NDArray[np.uint16],
    wide: bool = True,
) -> int:
    """Move events by (cy, cx, sin, cos, sy, sx, shear, shift y, shift x, drop) and return how many stay."""

def count_events(
    batch: Sequence[Columns],
    shape: Shape,
    edges: NDArray[np.int64],
    *,
    counts: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32],
    lost: NDArray[np.int64],
    threads: int,
    wide: bool = True,
) -> None:
    """Write counts [T, B, C, H, W] of events in windows, and how many are in none."""
