"""Activity from a device's own counters: synaptic updates, spikes, saturations and losses a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.errors import DataError
from chiploop.measure.metric import METRICS, Metric, Where


def count_activity(
    trace: BatchTrace, *, method: str | None = None, where: Where | None = "chip", seed: int | None = None
) -> tuple[Metric, ...]:
    """Return means a sample, exact counts all: over the whole network first, then by layer (synops and spikes).

    Saturations count both ends of the state's range, and the lower threshold (`floored`) is no saturation.
    """
    totals: dict[str, NDArray[np.int64]] = {name: _by_layer(trace, name) for name in ("synops", "spikes", "dropped")}
    totals["saturated"] = _by_layer(trace, "saturated_high") + _by_layer(trace, "saturated_low")
    n = next(iter(trace.counters.values())).shape[0]

    def metric(counter: str, total: int, layer: str | None) -> Metric:
        name = f"{counter}_per_sample"
        return Metric(
            name=name,
            value=total / n,
            unit=METRICS.get(name).unit,
            how="counted",
            n=n,
            method=method,
            where=where,
            seed=seed,
            layer=layer,
        )

    wanted = ("synops", "spikes", "saturated", "dropped")
    whole = [metric(counter, int(totals[counter].sum()), None) for counter in wanted]
    layers = [
        metric(counter, int(total), layer)
        for counter in ("synops", "spikes")
        for layer, total in zip(trace.counters, totals[counter], strict=True)
    ]
    return (*whole, *layers)


def _by_layer(trace: BatchTrace, counter: str) -> NDArray[np.int64]:
    """int64[layers]: one counter summed over the samples."""
    sizes = {name: table.shape for name, table in trace.counters.items()}
    if not sizes or len(set(sizes.values())) != 1 or next(iter(sizes.values()))[0] < 1:
        raise DataError(f"counters of shape {sizes}; every layer must count the same samples, at least one")
    column = COUNTER_NAMES.index(counter)
    return np.array([table[:, column].sum() for table in trace.counters.values()], np.int64)
