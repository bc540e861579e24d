from __future__ import annotations

import math

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.events.types import Events, SensorShape
from chiploop.measure.figure import FIGURE_KINDS, Figure, layer_correlation, raster, weight_distribution
from chiploop.rng import stream

GOOD: dict[str, dict[str, object]] = {
    "if-response": {"x": [0, 1], "relu": [0, 1], "if_counts": [0, 1]},
    "weight-distribution": {"counts": [1, 2], "edges": [-1, 0, 1], "kurtosis": 0.0, "entropy_bits": 0.9},
    "raster": {side: {"t_us": [1], "address": [2], "polarity": [0]} for side in ("input", "output")},
    "learning-curve": {"epoch": [1, 2], "train_loss": [2.0, 1.0], "validation": {"chip": [None, 0.5]}},
    "layer-correlation": {"layers": ["a"], "correlation": [None]},
    "rates": {"layers": ["a"], "spikes_per_sample": [3.0]},
    "causes": {
        "causes": ["weights", "event-order"],
        "accuracy": [0.8, 0.7],
        "difference": [-0.1, -0.1],
        "low": [-0.2, -0.2],
        "high": [0.0, 0.0],
        "n_lost": [12, 11],
        "n_gained": [2, 1],
        "p_value": [0.01, 0.006],
        "layer": ["a", None],
        "measured": [False, True],
        "share": [0.5, 0.5],
        "layers": ["a"],
        "correlation": [[0.9], [None]],
        "ratio": [[1.1], [None]],
        "classes": [{"0": -10}, {"1": -10}],
        "start": [0.9, 0.85, 0.95],
        "n": 100,
        "advice": ["Go into the loop."],
    },
    "fault-levels": {
        "levels": [0.0, 1.0],
        "accuracy": [0.9, 0.5],
        "low": [0.8, 0.4],
        "high": [1.0, 0.6],
        "n": 100,
        "faults": "LostEvents(share=0.1)",
        "trained_through": False,
    },
    "anytime": {"at_us": [1, 2], "accuracy": [0.5, 0.9], "low": [0.4, 0.8], "high": [0.6, 1.0], "n": 100},
    "latency": {"counts": [1, 2], "edges_ns": [0, 5, 10], "percentiles_ns": {"50": 7}},
    "core-load": {"layers": ["a"], "synops_per_s": [5.0], "limit": None},
    "windows": {
        "windows": [1, 10],
        "accuracy": [0.5, 0.9],
        "agreement": [0.5, 0.8],
        "relative_counts": [[0.5], [0.9]],
        "layers": ["a"],
        "chip_accuracy": 0.9,
    },
    "quantisation": {"layers": ["a"], "scale": [0.1], "snr_db": [30.0], "clipped": [0.0], "zeroed": [0.5]},
}


@pytest.mark.parametrize("kind", sorted(FIGURE_KINDS))
def test_every_kind_takes_its_data_and_misses_each_entry(kind: str) -> None:
    assert Figure(kind=kind, data=GOOD[kind]).data == GOOD[kind]
    for missing in GOOD[kind]:
        if missing in (*FIGURE_KINDS[kind][0], *FIGURE_KINDS[kind][1]):
            with pytest.raises(DataError, match=f"lacks '{missing}'"):
                Figure(kind=kind, data={name: value for name, value in GOOD[kind].items() if name != missing})


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("if-response", {"relu": [0]}),
        ("weight-distribution", {"edges": [0, 1]}),
        ("rates", {"layers": ["a", "b"]}),
        ("anytime", {"low": [0.4]}),
        ("latency", {"edges_ns": [0, 5]}),
        ("core-load", {"layers": ["a", "b"]}),
        ("core-load", {"stalls": [1, 2]}),
        ("core-load", {"busy": []}),
        ("learning-curve", {"validation": {"chip": [0.5]}}),
        ("raster", {"input": {"t_us": [1], "address": [], "polarity": [0]}}),
    ],
)
def test_columns_of_different_length(kind: str, change: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"differ in length|one more than"):
        Figure(kind=kind, data={**GOOD[kind], **change})


def test_unknown_kind_and_values_that_json_has_not() -> None:
    with pytest.raises(DataError, match="did you mean 'raster'"):
        Figure(kind="rastr", data={})
    with pytest.raises(DataError, match="nan is no number; use None"):
        Figure(kind="rates", data={"layers": ["a"], "spikes_per_sample": [math.nan]})
    with pytest.raises(DataError, match="cannot keep a set"):
        Figure(kind="rates", data={"layers": {"a"}, "spikes_per_sample": [1]})


def test_weights_of_two_values_have_the_lowest_kurtosis_and_one_bit() -> None:
    data = weight_distribution([-1.0, 1.0] * 50, method="bptt", layer="fc", bins=11).data
    assert data["kurtosis"] == -2.0
    assert data["entropy_bits"] == 1.0
    assert (data["counts"][0], data["counts"][-1], sum(data["counts"])) == (50, 50, 100)


def test_kurtosis_tells_even_from_peaked() -> None:
    rng = stream(0, "weights")
    even = weight_distribution(rng.uniform(-1, 1, 20_000), method="cil-bptt", layer="fc").data
    peaked = weight_distribution(rng.laplace(size=20_000), method="bptt", layer="fc").data
    assert even["kurtosis"] == pytest.approx(-1.2, abs=0.03)  # standard error .017 at this size
    assert peaked["kurtosis"] > 2
    assert even["entropy_bits"] == pytest.approx(math.log2(61), abs=0.01)
    assert peaked["entropy_bits"] < even["entropy_bits"]


def test_weights_that_are_all_zero_or_missing() -> None:
    data = weight_distribution(np.zeros(5), method="cnn", layer="fc", bins=3).data
    assert (data["counts"], data["kurtosis"], data["entropy_bits"]) == ([0, 5, 0], 0.0, 0.0)
    with pytest.raises(DataError, match="must be some"):
        weight_distribution([], method="cnn", layer="fc")


def test_raster_addresses() -> None:
    inputs = Events.from_columns([1, 5], [1, 0], [2, 0], [3, 4], SensorShape(2, 10, 20))
    outputs = Events.from_columns([7], [9], [0], [0], SensorShape(10, 1, 1))
    data = raster(inputs, outputs, method="bptt", label=9, decision=9).data
    assert data["input"] == {"t_us": [1, 5], "address": [43, 4], "polarity": [1, 0]}
    assert data["output"] == {"t_us": [7], "address": [9], "polarity": [1]}
    assert (data["label"], data["decision"]) == (9, 9)


def test_correlation_by_hand() -> None:
    modelled = {"a": [0, 1, 2], "b": [1, 1, 1], "c": [[1, 2], [3, 4]]}
    observed = {"a": [4, 2, 0], "b": [1, 2, 3], "c": [[1, 2], [3, 5]]}
    data = layer_correlation(modelled, observed, method="cil-ann").data
    assert data["correlation"][0] == pytest.approx(-1.0)
    assert data["correlation"][1] is None  # the model never varies: there is no correlation
    assert data["correlation"][2] == pytest.approx(6.5 / math.sqrt(5 * 8.75))
    assert (data["modelled"], data["observed"]) == ([1.0, 1.0, 2.5], [2.0, 2.0, 2.75])


def test_correlation_wants_the_same_layers_and_sizes() -> None:
    with pytest.raises(DataError, match="must be the same"):
        layer_correlation({"a": [1]}, {"b": [1]}, method="x")
    with pytest.raises(DataError, match="2 modelled against 1 observed"):
        layer_correlation({"a": [1, 2]}, {"a": [1]}, method="x")
