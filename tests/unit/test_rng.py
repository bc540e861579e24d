"""Streams are those of numpy's own seeding by the seed and the words of the names, however they are put together."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop import rng
from chiploop.rng import derived_words, stream


def slow(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, *derived_words(*names)]))


@pytest.mark.parametrize("seed", [0, 1, 7, (1 << 32) - 1, 1 << 32, 1 << 70])
def test_streams_are_those_of_the_words(seed: int) -> None:
    for number in range(40):
        one, other = stream(seed, "augment", 3, number), slow(seed, "augment", 3, number)
        assert one.bit_generator.state == other.bit_generator.state
        assert one.spawn(2)[1].bit_generator.state == other.spawn(2)[1].bit_generator.state


def test_a_high_word_of_zero_is_left_out_as_numpy_leaves_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One name in a billion has such a word, so it is made here."""
    for raw in (bytes(32), bytes([1, 0, 0, 0, 0, 0, 0, 0]) + bytes(range(1, 25)), bytes(range(1, 33))):
        monkeypatch.setattr(rng, "_digest", lambda names, raw=raw: raw)
        assert stream(5, "x").bit_generator.state == slow(5, "x").bit_generator.state


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        stream(-1, "x")
