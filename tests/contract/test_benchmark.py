"""Every benchmark says what it measures, and has its place on the page of speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.bench.benchmark import BENCHMARKS
from chiploop.bench.peers.contender import CONTENDERS
from chiploop.recipes.catalogue import catalogue

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def test_there_are_benchmarks_and_contenders() -> None:
    assert {"core", "training", "loop", "input"} <= set(BENCHMARKS.names())
    assert {"chiploop", "spikingjelly", "snntorch", "norse", "sinabs"} == set(CONTENDERS.names())


def test_names_read_from_source_are_those_registered() -> None:
    assert list(catalogue()["benchmarks"]()) == BENCHMARKS.names()


@pytest.mark.parametrize("name", BENCHMARKS.names())
def test_it_says_what_it_measures_and_has_a_place(name: str) -> None:
    summary = BENCHMARKS.get(name).summary
    assert summary
    assert "\n" not in summary
    page = PAGE.read_text(encoding="utf-8")
    assert page.index(f"<!-- chiploop:bench:{name}:begin -->") < page.index(f"<!-- chiploop:bench:{name}:end -->")
