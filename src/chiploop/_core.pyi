"""The compiled chip simulator (cpp/bind.cc)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stream = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]
"""Columns t_us, channel, y, x."""

CoreArguments = tuple[NDArray[np.int8], int, int, bool, bool, int, int, int, tuple[int, int, int], tuple[int, int, int]]
"""Weight [C, kh, kw, F], threshold, floor, reset to zero, all spikes, stride, padding, pool, input and neuron shape."""

def best_isa() -> str:
    """Return the fastest instruction set of this machine: avx2 or portable."""

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
    """A chain of cores in instant time."""

    def __init__(self, cores: Sequence[CoreArguments], *, isa: str = "auto") -> None: ...
    def run(
        self, stream: Stream, edges: NDArray[np.int64], sinks: Sinks, spikes: Sequence[bool]
    ) -> tuple[Stream, list[Stream | None]]:
        """Run on from the present state; return output events and, by core, the spikes asked for."""

    def run_batch(self, batch: Sequence[Stream], edges: NDArray[np.int64], sinks: Sinks, threads: int) -> None:
        """Run every stream from reset state."""

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

def scan_forward(
    neuron: ScanNeuron,
    *,
    current: Any,
    v_seen: Any | None,
    before: Any,
    spikes: Any | None,
    after: Any,
    steps: int,
    threads: int,
) -> None:
    """Run a neuron layer over time; arrays are flat float32, time slowest."""

def scan_backward(
    neuron: ScanNeuron,
    *,
    before: Any,
    grad_spikes: Any,
    grad_v: Any | None,
    grad_current: Any,
    steps: int,
    threads: int,
) -> None:
    """Run the gradient back through time."""
