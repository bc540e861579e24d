"""The same bits on the same machine, whatever the environment says about threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def pin(threads: int) -> None:
    """Fix torch's thread count and its deterministic algorithms.

    Sums are split among threads, so their number decides the last bits; a recipe names it, and then neither the
    environment's variables nor the number of cores change a result.
    """
    torch.set_num_threads(threads)
    # As use_deterministic_algorithms(True), which would import a compiler to tell it, for seconds.
    torch.set_deterministic_debug_mode("error")
    # A debugging aid of that mode, which would write every new tensor twice.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def share_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads for a while, beside other processes; it has as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
