"""Folding, with the memory of two networks worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.plan import PlanTarget, ceil_log2, fold
from chiploop.spec import NeuronSpec
from chiploop.spec.notation import parse_notation

REFERENCE = "16c3p1-P2-16c3p1-P2-32c3p1-P2-32c3p1-P2-64c3p1-10"
GRAPH = "16c5s2-16c3-P2-8c3-P2-256-10"


@pytest.mark.parametrize(
    ("notation", "words"),
    [
        # kernel: c 2^(ceil log2(k k) + ceil log2 f); neurons: f 2^(ceil log2 h + ceil log2 w)
        (
            REFERENCE,
            {
                "conv1": (2 << 4 + 4, 16 << 6 + 6),  # 3x3 -> 4 bits; 34x34 -> 6 bits a side: 65,536, the whole core
                "conv2": (16 << 4 + 4, 16 << 5 + 5),  # 17x17
                "conv3": (16 << 4 + 5, 32 << 3 + 3),  # 8x8
                "conv4": (32 << 4 + 5, 32 << 2 + 2),  # 4x4
                "conv5": (32 << 4 + 6, 64 << 1 + 1),  # 2x2
                "fc1": (64 << 2 + 4, 10),  # kernel 2x2; ten neurons are not rounded up
            },
        ),
        (
            GRAPH,
            {
                "conv1": (2 << 5 + 4, 16 << 4 + 4),  # 5x5 = 25 -> 5 bits; (34 - 5) // 2 + 1 = 15
                "conv2": (16 << 4 + 4, 16 << 4 + 4),  # 13x13
                "conv3": (16 << 4 + 3, 8 << 2 + 2),  # 6x6 -> 4x4
                "fc1": (8 << 2 + 8, 256),  # 2x2 map
                "fc2": (256 << 0 + 4, 10),
            },
        ),
    ],
)
def test_memory_by_hand(notation: str, words: dict[str, tuple[int, int]]) -> None:
    plans = fold(parse_notation(notation, (2, 34, 34), NeuronSpec(), np.random.default_rng(0)))
    assert {plan.layer: (plan.kernel_words, plan.neuron_words) for plan in plans} == words


def test_pools_multiply_and_flatten_vanishes() -> None:
    net = parse_notation("4c3-P2-P2-10", (2, 34, 34), NeuronSpec(), np.random.default_rng(0))
    conv, fc = fold(net)
    assert (conv.pool, conv.neuron_shape, conv.out_features) == (4, (4, 32, 32), 4 * 8 * 8)
    assert (fc.fully_connected, fc.in_shape, fc.kernel, fc.neuron_shape) == (True, (4, 8, 8), (8, 8), (10, 1, 1))
    assert (conv.targets, fc.targets) == ((PlanTarget("fc1", 4),), ())


def test_a_vector_is_one_pixel() -> None:
    plans = fold(parse_notation("5-3", (7,), NeuronSpec(), np.random.default_rng(0)))
    assert [(plan.in_shape, plan.kernel) for plan in plans] == [((7, 1, 1), (1, 1)), ((5, 1, 1), (1, 1))]


def test_bits_that_address() -> None:
    for n in range(1, 300):
        bits = ceil_log2(n)
        assert 2**bits >= n
        assert bits == 0 or 2 ** (bits - 1) < n
