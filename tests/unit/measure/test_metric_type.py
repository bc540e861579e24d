from __future__ import annotations

import json
import math

import pytest

from chiploop.errors import DataError
from chiploop.measure.metric import METRICS, Metric


def test_json_form_is_the_one_the_command_line_promises() -> None:
    metric = Metric(
        name="accuracy",
        value=0.95,
        unit="share",
        how="counted",
        method="cil-bptt",
        where="chip",
        n=300,
        low=0.92,
        high=0.97,
        interval="wilson",
        seed=0,
    )
    assert json.loads(json.dumps(metric.to_dict())) == {
        "name": "accuracy",
        "method": "cil-bptt",
        "where": "chip",
        "value": 0.95,
        "n": 300,
        "low": 0.92,
        "high": 0.97,
        "unit": "share",
        "how": "counted",
        "seed": 0,
        "interval": "wilson",
    }


def test_json_keeps_null_for_what_every_metric_has() -> None:
    plain = Metric(name="train_seconds", value=3, unit="s", how="measured").to_dict()
    assert plain["seed"] is None
    assert plain["where"] is None
    assert plain["low"] is None
    assert "versus" not in plain


def test_round_trip_and_equality_by_content() -> None:
    metric = Metric(name="gap", value=-0.1, unit="share", how="counted", where="chip", versus="software", seed=2)
    again = Metric.from_dict(metric.to_dict())
    assert again == metric
    assert hash(again) == hash(metric)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"how": "guessed"}, "how is 'guessed'"),
        ({"where": "chips"}, "did you mean 'chip'"),
        ({"unit": "percent"}, "it must be 'share'"),
        ({"value": math.nan}, "value is nan"),
        ({"value": math.inf}, "value is inf"),
        ({"low": 0.1}, "both low and high"),
        ({"low": 0.6, "high": 0.7}, "lies outside"),
        ({"n": 0}, "n is 0"),
        ({"how": "quoted"}, "give its source"),
        ({"how": "modelled"}, "is modelled; give its source"),
        ({"ties": "right"}, "ties is 'right'"),
        ({"interval": "rang"}, "did you mean 'range'"),
        ({"low": 0.4, "high": 0.6, "interval": "range"}, "is counted; a range of assumptions belongs to a modelled"),
    ],
)
def test_a_number_that_cannot_be_right_is_refused(change: dict[str, object], message: str) -> None:
    good = {"name": "accuracy", "value": 0.5, "unit": "share", "how": "counted"}
    Metric(**good)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        Metric(**{**good, **change})  # type: ignore[arg-type]


def test_reading_refuses_unknown_and_missing_fields() -> None:
    with pytest.raises(DataError, match="unknown field 'methods'; did you mean 'method'"):
        Metric.from_dict({"name": "x", "value": 1, "unit": "s", "how": "measured", "methods": "bptt"})
    with pytest.raises(DataError, match="incomplete"):
        Metric.from_dict({"name": "x"})


def test_a_range_belongs_to_a_modelled_number_with_a_source() -> None:
    fields = {"name": "energy_per_sample", "value": 2.0, "unit": "uJ", "low": 1.0, "high": 4.0, "interval": "range"}
    ranged = Metric(**fields, how="modelled", source="prices")  # type: ignore[arg-type]
    assert Metric.from_dict(ranged.to_dict()) == ranged
    for how in ("measured", "quoted"):
        with pytest.raises(DataError, match="a range of assumptions belongs to a modelled number"):
            Metric(**fields, how=how, source="meter")  # type: ignore[arg-type]


def test_a_metric_nobody_registered_may_have_any_unit() -> None:
    assert "battery" not in METRICS.names()
    assert Metric(name="battery", value=3.0, unit="V", how="measured").unit == "V"
