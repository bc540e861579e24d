"""Whether a device's answer is what was asked for and agrees with itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.compiled import sum_streams
from chiploop.chip.device import COUNTER_NAMES, BatchTrace, Monitor
from chiploop.chip.program import Program
from chiploop.errors import ReadoutError

_SPIKES = COUNTER_NAMES.index("spikes")


def require_plausible(
    program: Program, monitor: Monitor, trace: BatchTrace, n: int, *, kind: str = "simulated"
) -> None:
    """Raise ReadoutError unless a batch's trace answers for `n` streams, every monitored layer, and does not
    contradict itself: no count is negative, and each layer's counts add up to its counter of spikes (where none was
    lost), those of the output layer to the output counts too.

    A silent network is no error. `kind` is the device's (`DeviceInfo.kind`): an accelerator's outputs are no counts, so
    shapes alone are looked at; a board has counters only of the layers that it monitors.
    """
    layers = [core.layer for core in program.cores]
    outputs = int(np.prod(program.layer(program.output_layer).neuron_shape))
    _require_shape("output_counts", trace.output_counts, (n, outputs))
    _require_shape("output_potentials", trace.output_potentials, (n, outputs))
    _require_shape("lost", trace.lost, (n,))
    known = [layer for layer in layers if layer in trace.counters] if kind == "board" else layers
    _require_layers("counters", trace.counters, known)
    for layer in known:
        _require_shape(f"counters[{layer!r}]", trace.counters[layer], (n, len(COUNTER_NAMES)))
    for seen, wanted in (("counts", monitor.counts), ("potentials", monitor.potentials)):
        maps: Mapping[str, NDArray[np.uint16 | np.int16]] = getattr(trace, seen)
        _require_layers(seen, maps, wanted)
        for layer in wanted:
            shape = (monitor.n_windows, n, *program.layer(layer).neuron_shape)
            _require_shape(f"{seen}[{layer!r}]", maps[layer], shape)
    if kind != "accelerator":
        _require_agreement(program, trace)


def _require_agreement(program: Program, trace: BatchTrace) -> None:
    tables = {"output_counts": trace.output_counts, "lost": trace.lost}
    for name, table in (tables | {f"counters[{layer!r}]": t for layer, t in trace.counters.items()}).items():
        if table.size and int(table.min()) < 0:
            raise ReadoutError(f"the device's {name} holds {int(table.min())}: a count cannot be negative")
    whole = trace.lost == 0
    for layer, maps in trace.counts.items():
        if layer not in trace.counters:
            continue
        sums = sum_streams(maps)
        spikes = trace.counters[layer][:, _SPIKES]
        _require_equal(f"counts[{layer!r}]", sums, f"counters[{layer!r}] of spikes", spikes, whole)
    last = program.output_layer
    if last in trace.counters:
        spikes = trace.counters[last][:, _SPIKES]
        _require_equal("output_counts", trace.output_counts.sum(axis=1), f"counters[{last!r}] of spikes", spikes, whole)
    if last in trace.counts:
        n = len(trace.lost)
        sums = trace.counts[last].sum(axis=0, dtype=np.int64).reshape(n, -1)
        differ = (sums != trace.output_counts).any(axis=1)
        if (differ & whole).any():
            raise ReadoutError(f"the device's counts of {last!r} in windows do not add up to its output_counts")


def _require_equal(
    name: str, found: NDArray[np.int64], other: str, expected: NDArray[np.int64], where: NDArray[np.bool_]
) -> None:
    wrong = np.flatnonzero((found != expected) & where)
    if wrong.size:
        at = int(wrong[0])
        raise ReadoutError(
            f"the device's {name} sum to {found[at]} in stream {at} of the batch, its {other} is {expected[at]}"
        )


def _require_layers(name: str, found: Mapping[str, object], wanted: list[str] | tuple[str, ...]) -> None:
    if set(found) != set(wanted):
        missing = sorted(set(wanted) - set(found))
        what = f"lack {missing}" if missing else f"hold {sorted(set(found) - set(wanted))}, which nobody asked for"
        raise ReadoutError(f"the device's {name} {what}")


def _require_shape(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ReadoutError(f"the device's {name} have shape {array.shape}, expected {shape}")
