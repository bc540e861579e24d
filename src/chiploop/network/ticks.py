"""How often the slow clock ticks in each window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def window_ticks(edges_us: Sequence[int] | NDArray[np.int64], clock_us: int) -> NDArray[np.int64]:
    """Return the number of ticks k * clock_us with edges[t] <= k * clock_us < edges[t + 1], for each window t.

    >>> window_ticks((0, 10, 20, 30), 10).tolist(), window_ticks((0, 10, 20, 30), 8).tolist()
    ([1, 1, 1], [2, 1, 1])
    """
    before = -(-np.asarray(edges_us, np.int64) // clock_us)  # ticks before each edge
    return np.diff(before)
