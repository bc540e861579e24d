"""The benchmark of sweeps and pools gives a row for each way, of rounds that were run."""

from __future__ import annotations

import pytest

from chiploop.bench.benchmark import BENCHMARKS, BenchOptions


@pytest.mark.usefixtures("ray")
def test_every_way_is_measured_in_every_round() -> None:
    told: list[str] = []
    outcome = BENCHMARKS.get("sweep").run(BenchOptions(rounds=1), told.append)
    found = {tuple(row.setting.values()): row for row in outcome.rows}
    pools = {(n, where) for where in ("pool", "ray") for n in (1, 2)}
    assert found.keys() == {("ray",), ("in process",), (1, "alone"), *pools}
    assert all(len(row.values) == 1 and row.values[0] > 0 for row in outcome.rows)
    assert {row.unit for row in outcome.rows} == {"s", "samples/s"}
    (aim,) = outcome.aims
    # One round: the difference of its two times, divided among the cells.
    far, near = found["ray",], found["in process",]
    assert aim.value * 4 == pytest.approx(far.values[0] - near.values[0])
    assert told
