"""A batch in several calls: cut so that neither a request nor its answer outgrows a message, and put together again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.device import COUNTER_NAMES, BatchTrace, Monitor
from chiploop.chip.program import Program
from chiploop.events.types import Events

PIECE_BYTES = 1 << 25
"""Size that requests and answers are kept to, 32 MiB (a stream that alone is larger goes alone)."""

_EVENT_BYTES, _STREAM_BYTES = 14, 48
_MAP_BYTES, _COUNTER_BYTES, _OUTPUT_BYTES = 2, 8, 10


def pieces_of(
    batch: Sequence[Events], program: Program | None, monitor: Monitor, *, limit: int = PIECE_BYTES
) -> Iterator[Sequence[Events]]:
    """Yield parts of a batch, in order; an empty batch is one empty part."""
    answer = 0 if program is None else answer_bytes(program, monitor)
    first = asked = answered = 0
    for at, events in enumerate(batch):
        size = _STREAM_BYTES + _EVENT_BYTES * len(events)
        if at > first and (asked + size > limit or answered + answer > limit):
            yield batch[first:at]
            first, asked, answered = at, 0, 0
        asked, answered = asked + size, answered + answer
    yield batch[first:]


def answer_bytes(program: Program, monitor: Monitor) -> int:
    """Return the bytes that the answer for one stream takes, up to its headers.

    Layers that the program lacks count for nothing: the device will refuse them.
    """
    neurons = {core.layer: math.prod(core.neuron_shape) for core in program.cores}
    maps = sum(neurons.get(layer, 0) for layer in (*monitor.counts, *monitor.potentials))
    counters = _COUNTER_BYTES * (1 + len(COUNTER_NAMES) * len(program.cores))
    return _MAP_BYTES * monitor.n_windows * maps + counters + _OUTPUT_BYTES * neurons[program.output_layer]


def joined(parts: Sequence[BatchTrace]) -> BatchTrace:
    """Return the trace of the whole batch."""
    if len(parts) == 1:
        return parts[0]

    def maps(kind: str, axis: int) -> dict[str, NDArray[np.generic]]:
        tables = [getattr(part, kind) for part in parts]
        return {layer: np.concatenate([table[layer] for table in tables], axis=axis) for layer in tables[0]}

    return BatchTrace(
        output_counts=np.concatenate([part.output_counts for part in parts]),
        output_potentials=np.concatenate([part.output_potentials for part in parts]),
        counters=maps("counters", 0),  # type: ignore[arg-type]
        counts=maps("counts", 1),  # type: ignore[arg-type]
        potentials=maps("potentials", 1),  # type: ignore[arg-type]
        lost=np.concatenate([part.lost for part in parts]),
    )
