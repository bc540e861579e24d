"""Named random streams: one seed, and a generator for every purpose."""

from __future__ import annotations

import hashlib
import operator

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 32


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator of one purpose: the same seed and names always give the same numbers.

    The names go through SHA-256 (Python's own `hash` changes from process to process), so that a stream added
    later leaves the others as they were.

    >>> int(stream(7, "split").integers(1000)) == int(stream(7, "split").integers(1000))
    True
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_entropy(seed, names))))


def _entropy(seed: int, names: tuple[str | int, ...]) -> list[int] | NDArray[np.uint32]:
    """Return [seed, *derived_words(...)], as the 32-bit words that SeedSequence makes of it where they are plain.

    A stream is made for every recording of every epoch, and splitting large integers took a third of that. A high word
    of zero is left out there, and larger seeds have more words than one.
    """
    raw = _digest(names)
    if not 0 <= seed < 1 << WORD_BITS or bytes(4) in raw:
        return [seed, *derived_words(*names)]
    return np.frombuffer(seed.to_bytes(4, "little") + raw, "<u4").astype(np.uint32)


def derived_words(*names: str | int) -> list[int]:
    """Return four 64-bit words that stand for the names, for seeding any generator.

    >>> len(derived_words("augment", 3))
    4
    """
    raw = _digest(names)
    return [int.from_bytes(raw[i : i + 8], "little") for i in range(0, 32, 8)]


def derived_seed(seed: int, *names: str | int) -> int:
    """Return one 63-bit seed for a library that wants an integer, such as torch.Generator.

    >>> derived_seed(0, "a") != derived_seed(0, "b")
    True
    """
    return derived_words(seed, *names)[0] >> 1


def _digest(names: tuple[str | int, ...]) -> bytes:
    tagged = (f"str:{n}" if isinstance(n, str) else f"int:{operator.index(n)}" for n in names)  # numpy's integers too
    return hashlib.sha256("\x1f".join(tagged).encode()).digest()
