"""Every shipped chip profile: its schema, its sources, and which reference networks it takes."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.place import cores_that_fit
from chiploop.chip.plan import fold
from chiploop.chip.profile import ChipProfile, profile_names, read_profile
from chiploop.errors import DesignRuleError
from chiploop.quantize import quantize
from chiploop.spec import NeuronSpec
from chiploop.spec.notation import parse_notation

NETWORKS = {
    "reference": "16c3p1-P2-16c3p1-P2-32c3p1-P2-32c3p1-P2-64c3p1-10",
    "graph": "16c5s2-16c3-P2-8c3-P2-256-10",
}
FATE = {  # the cores taken in data-flow order, or the rules broken
    ("speck2e", "reference"): (0, 1, 2, 3, 4, 5),
    ("speck2e", "graph"): (0, 1, 2, 3, 4),
    ("speck2f", "reference"): (0, 1, 2, 3, 4, 5),
    ("speck2f", "graph"): (0, 1, 2, 3, 4),
    ("mini", "reference"): {"core_count"},
    ("mini", "graph"): (0, 1, 2, 3, 4),
    ("ideal", "reference"): (0, 1, 2, 3, 4, 5),
    ("ideal", "graph"): (0, 1, 2, 3, 4),
}


def test_profiles_are_shipped_and_listed() -> None:
    assert profile_names()
    assert {chip for chip, _ in FATE} == set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_is_whole(name: str) -> None:
    chip = read_profile(name)
    assert chip.name == name
    assert ChipProfile.model_validate(chip.model_dump()) == chip
    assert {"weight_bits", "neurons"} <= chip.stated
    assert chip.stated <= set(chip.sources)


@pytest.mark.parametrize("name", profile_names())
def test_every_number_says_where_it_comes_from(name: str) -> None:
    chip = read_profile(name)
    assert set(chip.sources) == chip.stated  # no source for what is not stated, either
    for field in sorted(chip.stated):
        source = chip.source(field)
        if source.category == "assumed":
            assert source.note, f"{field} is assumed: its note says why"
        else:
            assert source.references, f"{field} names no reference"


@pytest.mark.parametrize("name", profile_names())
def test_every_reference_is_cited_and_notes_speak_of_what_is_stated(name: str) -> None:
    chip = read_profile(name)
    cited = {text for field in chip.stated for text in chip.source(field).references}
    assert cited == set(chip.references.values())
    assert len(set(chip.references.values())) == len(chip.references)
    assert set(chip.notes) <= chip.stated


@pytest.mark.parametrize("name", profile_names())
def test_prices_are_whole_or_absent(name: str) -> None:
    chip = read_profile(name)
    assert (chip.timing is None) == (chip.energy is None) == chip.unlimited_cores


@pytest.mark.parametrize(("chip", "network"), sorted(FATE))
def test_reference_networks_place_or_fail_as_listed(chip: str, network: str) -> None:
    base = parse_notation(NETWORKS[network], (2, 34, 34), NeuronSpec(), np.random.default_rng(0))
    profile, expected = read_profile(chip), FATE[chip, network]
    if isinstance(expected, set):
        with pytest.raises(DesignRuleError) as caught:
            compile_program(quantize(base), profile)
        assert {violation.rule for violation in caught.value.violations} == expected  # type: ignore[attr-defined]
        return
    program = compile_program(quantize(base), profile)
    assert tuple(core.core for core in program.cores) == expected
    if not profile.unlimited_cores:
        for core, plan in zip(program.cores, fold(base), strict=True):
            assert core.core in cores_that_fit(plan, profile)
