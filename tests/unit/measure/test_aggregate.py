from __future__ import annotations

import dataclasses

import pytest

from chiploop.errors import DataError
from chiploop.measure.aggregate import aggregate, split_experiments
from chiploop.measure.metric import Metric
from chiploop.measure.record import Host, RunRecord
from chiploop.measure.stats import seed_interval

ONE = Metric(
    name="accuracy",
    value=0.9,
    unit="share",
    how="counted",
    method="bptt",
    where="chip",
    n=100,
    low=0.8,
    high=0.95,
    interval="wilson",
    seed=0,
)


def _record(seed: int, *metrics: Metric, recipe: str = "a", again: int = 0) -> RunRecord:
    return RunRecord(
        id=f"{recipe}-{seed}-{again}",
        recipe={"name": recipe, "seed": seed, "rate": recipe},
        recipe_hash="0" * 8,
        seed=seed,
        host=Host(cpu="x", cores=1),
        metrics=metrics,
    )


def _value(value: float, seed: int, **change: object) -> Metric:
    return dataclasses.replace(ONE, value=value, seed=seed, low=None, high=None, interval=None, **change)  # type: ignore[arg-type]


def test_three_seeds_give_mean_and_t_interval() -> None:
    (mean,) = aggregate([_record(seed, _value(value, seed)) for seed, value in enumerate((0.90, 0.92, 0.94))])
    assert (mean.value, mean.low, mean.high) == pytest.approx(seed_interval([0.90, 0.92, 0.94]))
    assert (mean.seed, mean.n_seeds, mean.n, mean.interval) == (None, 3, 100, "t")


def test_a_range_of_assumptions_stays_one_over_seeds() -> None:
    def energy(seed: int, low: float, value: float, high: float) -> Metric:
        fields = {"value": value, "low": low, "high": high, "seed": seed, "n": 100}
        common = {"name": "energy_per_sample", "unit": "uJ", "how": "modelled", "source": "prices", "method": "bptt"}
        return Metric(**fields, **common, interval="range")  # type: ignore[arg-type]

    (mean,) = aggregate([_record(0, energy(0, 1.0, 2.0, 4.0)), _record(1, energy(1, 3.0, 6.0, 12.0))])
    assert (mean.low, mean.value, mean.high) == (2.0, 4.0, 8.0)
    assert (mean.interval, mean.how, mean.n_seeds, mean.source) == ("range", "modelled", 2, "prices")


def test_one_seed_keeps_its_own_interval() -> None:
    (only,) = aggregate([_record(0, ONE)])
    assert (only.low, only.high, only.interval, only.seed, only.n_seeds) == (0.8, 0.95, "wilson", None, 1)


def test_a_share_stays_a_share() -> None:
    (mean,) = aggregate([_record(0, _value(0.98, 0)), _record(1, _value(1.0, 1))])
    assert mean.high == 1.0
    assert mean.low == pytest.approx(0.99 - 12.7062 * 0.01, abs=1e-5)
    gaps = [_record(s, _value(value, s, name="gap", versus="software")) for s, value in enumerate((-0.9, -0.1))]
    assert aggregate(gaps)[0].low == -1.0


def test_a_stage_run_again_replaces_and_is_not_averaged() -> None:
    (mean,) = aggregate([_record(0, _value(0.5, 0)), _record(0, _value(0.7, 0), again=1)])
    assert (mean.value, mean.n_seeds) == (0.7, 1)


def test_what_differs_in_place_layer_or_ties_stays_apart() -> None:
    kinds = [
        {},
        {"where": "software"},
        {"layer": "fc"},
        {"ties": "potential"},
        {"versus": "software"},
        {"method": "cnn"},
    ]
    found = aggregate([_record(seed, *(_value(0.5, seed, **kind) for kind in kinds)) for seed in (0, 1)])
    assert [m.n_seeds for m in found] == [2] * len(kinds)


def test_the_seed_of_the_record_counts_where_the_metric_has_none() -> None:
    metrics = [_value(0.4, 0), _value(0.6, 0)]
    records = [_record(seed, dataclasses.replace(metric, seed=None)) for seed, metric in enumerate(metrics)]
    assert aggregate(records)[0].value == pytest.approx(0.5)


def test_two_experiments_are_never_averaged() -> None:
    records = [_record(0, _value(0.5, 0)), _record(0, _value(0.9, 0), recipe="b")]
    with pytest.raises(DataError, match="two experiments"):
        aggregate(records)
    assert [[r.id for r in group] for group in split_experiments(records)] == [["a-0-0"], ["b-0-0"]]


def test_recipes_of_different_methods_share_a_table() -> None:
    other = _record(0, _value(0.9, 0, method="cnn"), recipe="b")
    records = [_record(0, _value(0.5, 0)), other, _record(1, _value(0.6, 1))]
    (group,) = split_experiments(records)
    assert [(m.method, m.n_seeds) for m in aggregate(group)] == [("bptt", 2), ("cnn", 1)]


def test_quoted_numbers_pass_as_they_are() -> None:
    quoted = Metric(name="accuracy", value=0.95, unit="share", how="quoted", method="bptt", source="paper")
    records = [_record(0, quoted), _record(1, quoted), _record(0, quoted, recipe="b")]
    assert aggregate(records) == [quoted]


def test_order_is_that_of_first_appearance() -> None:
    methods = ("cnn", "bptt", "cil-bptt")
    orders = ((0, methods), (1, methods[::-1]))
    records = [_record(seed, *(_value(0.5, seed, method=m) for m in order)) for seed, order in orders]
    assert [m.method for m in aggregate(records)] == list(methods)


def test_nothing_in_nothing_out() -> None:
    assert aggregate([]) == []
    assert split_experiments([]) == []
