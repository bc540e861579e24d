"""The same bits on the same machine, whatever the environment says about threads."""

from __future__ import annotations

import torch


def pin(threads: int) -> None:
    """Fix torch's thread count and its deterministic algorithms.

    Sums are split among threads, so their number decides the last bits; a recipe names it, and then neither the
    environment's variables nor the number of cores change a result.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # A debugging aid of that mode, which would write every new tensor twice.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
