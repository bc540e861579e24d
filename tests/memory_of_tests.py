"""Work of a known size, for what measures memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def prepare(megabytes: int) -> Callable[[], object]:
    """Return work that takes so many megabytes for a moment, after having held three times as many."""
    np.ones(3 * megabytes * 1_000_000, np.uint8).sum()
    return lambda: np.ones(megabytes * 1_000_000, np.uint8).sum()
