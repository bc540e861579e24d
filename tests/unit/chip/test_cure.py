"""Cures in words, each number worked by hand; also where no single number helps."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip import cure
from chiploop.chip.plan import CorePlan, fold
from chiploop.chip.profile import CoreProfile, read_profile
from chiploop.spec import NeuronSpec
from chiploop.spec.notation import parse_notation

SPECK, IDEAL = read_profile("speck2f"), read_profile("ideal")


def first(notation: str, shape: tuple[int, ...]) -> CorePlan:
    return fold(parse_notation(notation, shape, NeuronSpec(), np.random.default_rng(0)))[0]


@pytest.mark.parametrize(
    ("notation", "shape", "limit", "expected"),
    [
        # 2 channels, 5 x 5 in 5 bits, 12 features in 4: 1,024 words. 8 features take 512; so does 4 x 4 in 4 bits.
        ("12c5", (2, 9, 9), 1023, "use 8 output channel(s), or use a kernel of 4"),
        # 12 features and a kernel of 1 x 1 take 32 words, one feature with 5 x 5 takes 64
        ("12c5", (2, 9, 9), 40, "use a kernel of 1"),
        ("12c5", (2, 9, 9), 31, "use fewer channels on both sides, and a smaller kernel"),
        # a map of 4 x 6: 5 bits; 3 x 3 takes 4 of them
        ("8", (1, 4, 6), 200, "use 4 output channel(s), or pool the map before it to 4x4"),
        ("8", (5,), 20, "use 4 output channel(s)"),
    ],
)
def test_kernel_words(notation: str, shape: tuple[int, ...], limit: int, expected: str) -> None:
    assert cure.fewer_kernel_words(first(notation, shape), limit) == expected


@pytest.mark.parametrize(
    ("notation", "limit", "expected"),
    [
        # 5 maps of 12 x 12 (4 bits a side) take 1,280 words; of 6 x 6, every other one, 320
        ("5c1", 1279, "use 4 output channel(s), or use a stride of 2"),
        # every eighth leaves 2 x 2: 20 words; one map of 12 x 12 takes 256
        ("5c1", 30, "use a stride of 8"),
        ("5c1", 19, "use fewer output channels and a larger stride"),
    ],
)
def test_neuron_words(notation: str, limit: int, expected: str) -> None:
    assert cure.fewer_neurons(first(notation, (1, 12, 12)), SPECK, limit) == expected


def test_a_chip_without_a_list_of_strides_has_every_one() -> None:
    # 12 pixels: every third leaves 4, every fourth 3
    assert cure.smaller_output(first("5c1", (1, 12, 12)), IDEAL, 3) == "use a stride of 4"
    assert cure.smaller_output(first("5c1", (1, 12, 12)), SPECK, 3) == "use a stride of 4"
    assert cure.smaller_output(first("5c1", (1, 11, 11)), IDEAL, 4) == "use a stride of 3"
    assert cure.smaller_output(first("5c1", (1, 11, 11)), SPECK, 4) == "use a stride of 4"
    assert "at most 1x1 neurons" in cure.smaller_output(first("5c1", (1, 12, 12)), SPECK, 1)


def test_padding_takes_the_kernel_with_it() -> None:
    assert cure.smaller_padding(first("1c3p4", (1, 5, 6)), 1) == "use a padding of 1"
    assert cure.smaller_padding(first("1c8p4", (1, 5, 6)), 1) == "use a padding of 1 and a kernel of 7"


def test_one_core_for_all_memories() -> None:
    # one feature: 2 * 2^4 = 32 kernel words and 64 neuron words
    plan = first("9c3p1", (2, 8, 8))
    wide = CoreProfile(kernel_words=600, neuron_words=200, bias_words=0)  # 16 features' kernels, 3 features' neurons
    deep = CoreProfile(kernel_words=130, neuron_words=900, bias_words=0)  # 4 and 14
    assert cure.one_core(plan, [wide, deep]) == "use 4 output channel(s), so that one core holds all"
    tiny = CoreProfile(kernel_words=31, neuron_words=900, bias_words=0)
    assert cure.one_core(plan, [tiny]) == "use a larger stride or a smaller kernel, so that one core holds all"


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("20", "use 15 classes"),
        ("4c1-P4", "use 3 output channel(s), or end in a fully connected layer of 15 classes"),
        ("1c1-P2", "end in a fully connected layer of 15 classes"),  # 4 x 4 addresses
    ],
)
def test_classes(notation: str, expected: str) -> None:
    assert cure.fewer_classes(first(notation, (1, 8, 8)), 15) == expected
