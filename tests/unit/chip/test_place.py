"""Placement against trying every permutation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.chip.place import place, placement_on
from chiploop.chip.plan import CorePlan, fold
from chiploop.chip.profile import ChipProfile, CoreProfile, read_profile
from chiploop.errors import DesignRuleError, DeviceError
from chiploop.events.types import SensorShape
from chiploop.spec import NeuronSpec
from chiploop.spec.notation import parse_notation


def plan(name: str, kernel_words: int, neuron_side_bits: int) -> CorePlan:
    """Return a plan that takes `kernel_words` and 2^neuron_side_bits neuron words: one feature, a 1x1 kernel."""
    return CorePlan(
        layer=name, fully_connected=False, in_shape=SensorShape(kernel_words, 1 << neuron_side_bits, 1), kernel=(1, 1),
        stride=1, padding=0, neuron_shape=SensorShape(1, 1 << neuron_side_bits, 1), neuron=NeuronSpec(),
        has_bias=False, targets=(), pools=(1,), heard=(),
    )  # fmt: skip


def chip(sizes: list[tuple[int, int]]) -> ChipProfile:
    # A profile built in Python needs its sources as one read from a file does.
    cores = tuple(CoreProfile(kernel_words=k, neuron_words=n, bias_words=0) for k, n in sizes)
    return ChipProfile(name="small", revision="1", cores=cores, sources={"cores": "assumed"})


SIZES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 4])), min_size=1, max_size=4)
NEEDS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(SIZES, NEEDS)
def test_a_placement_is_found_exactly_when_there_is_one(
    sizes: list[tuple[int, int]], needs: list[tuple[int, int]]
) -> None:
    plans = [plan(f"layer{i}", words, bits) for i, (words, bits) in enumerate(needs)]
    possible = [
        cores
        for cores in itertools.permutations(range(len(sizes)), len(needs))
        if all(
            words <= sizes[core][0] and 2**bits <= sizes[core][1]
            for core, (words, bits) in zip(cores, needs, strict=True)
        )
    ]
    profile = chip(sizes)
    if possible:
        assert tuple(place(plans, profile).cores.values()) == min(possible)
    else:
        with pytest.raises(DesignRuleError, match="no placement"):
            place(plans, profile)


def test_the_reference_network_takes_the_lowest_cores_and_says_what_it_uses() -> None:
    net = parse_notation(
        "16c3p1-P2-16c3p1-P2-32c3p1-P2-32c3p1-P2-64c3p1-10", (2, 34, 34), NeuronSpec(), np.random.default_rng(0)
    )
    placement = place(fold(net), read_profile("speck2f"))
    # conv4's 16 Ki kernel words fit core 3 and leave core 4 to conv5's 32 Ki
    assert placement.cores == {"conv1": 0, "conv2": 1, "conv3": 2, "conv4": 3, "conv5": 4, "fc1": 5}
    first = placement.usage[0]
    assert (first.kernel_words, first.kernel_limit) == (512, 16384)
    assert (first.neuron_words, first.neuron_limit) == (65536, 65536)


def test_rivals_are_named_and_bystanders_are_not() -> None:
    plans = [plan("easy", 1, 0), plan("big1", 4, 0), plan("big2", 4, 0)]
    with pytest.raises(DesignRuleError) as caught:
        place(plans, chip([(1, 1), (4, 1), (1, 1)]))
    message = str(caught.value)
    assert "'big1' (4 kernel and 1 neuron words)" in message
    assert "'big2'" in message
    assert "compete for 1 core(s) [1]" in message
    assert "easy" not in message


def test_an_unlimited_chip_has_a_core_for_each_layer() -> None:
    plans = [plan(f"layer{i}", 10**6, 20) for i in range(20)]
    assert list(place(plans, read_profile("ideal")).cores.values()) == list(range(20))


@pytest.mark.parametrize(
    ("cores", "message"),
    [
        ({"a": 0}, "does not match the layers"),
        ({"a": 1, "b": 1}, "two layers on one core"),
        ({"a": 1, "b": 7}, "layer 'b': no core 7 on 'small'; cores: 0..1"),
        (
            {"a": 0, "b": 1},
            r"'a' needs 4 kernel and 1 neuron words; core 0 has 1 kernel and 1 neuron words; cores that fit: \[1\]",
        ),
    ],
)
def test_a_placement_by_hand_is_checked(cores: dict[str, int], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        placement_on(cores, [plan("a", 4, 0), plan("b", 1, 0)], chip([(1, 1), (4, 1)]))
