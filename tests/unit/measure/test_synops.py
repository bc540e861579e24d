from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.errors import DataError
from chiploop.measure.synops import count_activity


def _counters(**columns: list[int]) -> np.ndarray:
    n = len(next(iter(columns.values())))
    table = np.zeros((n, len(COUNTER_NAMES)), np.int64)
    for name, values in columns.items():
        table[:, COUNTER_NAMES.index(name)] = values
    return table


def _trace(**layers: np.ndarray) -> BatchTrace:
    return BatchTrace(
        output_counts=np.zeros((2, 10), np.int64),
        output_potentials=np.zeros((2, 10), np.int16),
        counters=layers,
    )


def test_means_by_hand() -> None:
    trace = _trace(
        conv1=_counters(synops=[100, 300], spikes=[5, 8], saturated_high=[1, 0], saturated_low=[0, 4], floored=[9, 9]),
        fc=_counters(synops=[10, 20], spikes=[1, 2], dropped=[0, 3]),
    )
    metrics = count_activity(trace, method="bptt", seed=1)
    found = {(m.name, m.layer): m.value for m in metrics}
    assert found == {
        ("synops_per_sample", None): 215.0,
        ("spikes_per_sample", None): 8.0,
        ("saturated_per_sample", None): 2.5,
        ("dropped_per_sample", None): 1.5,
        ("synops_per_sample", "conv1"): 200.0,
        ("synops_per_sample", "fc"): 15.0,
        ("spikes_per_sample", "conv1"): 6.5,
        ("spikes_per_sample", "fc"): 1.5,
    }
    assert {(m.n, m.how, m.where, m.method, m.seed) for m in metrics} == {(2, "counted", "chip", "bptt", 1)}
    assert trace.total("synops") / 2 == found["synops_per_sample", None]


def test_sums_past_32_bits() -> None:
    trace = _trace(conv1=_counters(synops=[2**40, 2**40]))
    assert count_activity(trace)[0].value == float(2**40)


def test_layers_must_agree_on_the_samples() -> None:
    with pytest.raises(DataError, match="the same samples"):
        count_activity(_trace(conv1=_counters(synops=[1, 2]), fc=_counters(synops=[1])))
    with pytest.raises(DataError, match="the same samples"):
        count_activity(_trace())
