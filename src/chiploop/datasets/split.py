"""Deterministic, disjoint, stratified splits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DataError
from chiploop.rng import stream


def split_indices(
    labels: NDArray[np.int64], parts: Sequence[float] | Sequence[int], *, seed: int
) -> tuple[NDArray[np.int64], ...]:
    """Return disjoint index arrays, one a part, stratified by class, sorted, the same for the same seed.

    Parts are all sizes (int) or all fractions (float) of the whole; what is left over belongs to nobody. Each class
    is dealt out in its own proportion to within one sample; part sizes are met exactly.

    >>> train, test = split_indices(np.array([0, 0, 1, 1]), [2, 2], seed=0)
    >>> sorted([*train.tolist(), *test.tolist()])
    [0, 1, 2, 3]
    """
    sizes = _part_sizes(len(labels), parts)
    order = _stratified_order(np.asarray(labels), stream(seed, "split"))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    return tuple(np.sort(order[a:b]) for a, b in pairwise(bounds))


def _part_sizes(n: int, parts: Sequence[float] | Sequence[int]) -> list[int]:
    if all(isinstance(part, (int, np.integer)) for part in parts):
        sizes = [int(part) for part in parts]
    else:
        if sum(parts) > 1 + 1e-9:  # the sum of fractions such as 0.7 + 0.2 + 0.1 is only near 1
            raise DataError(f"split fractions {list(parts)} sum to more than 1")
        ends = np.rint(np.cumsum(parts) * n).astype(int)
        sizes = np.diff(ends, prepend=0).tolist()
    if min(sizes, default=0) < 0 or sum(sizes) > n:
        raise DataError(f"split sizes {sizes} must be at least 0 and sum to at most the {n} samples there are")
    return sizes


def _stratified_order(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Shuffle, then place the k-th of the m samples of a class at (k + u) / m, so that any stretch is balanced."""
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(position, kind="stable")
