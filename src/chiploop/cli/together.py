"""One command carried out by several processes, as torchrun starts them: one of them is seen, one reports errors."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from chiploop.cli.console import BAD_INPUT, INTERRUPTED

if TYPE_CHECKING:
    from chiploop.learn.distributed import Ranks

TIME_TO_SPEAK_S = 10.0
"""Until a process ends in silence: torchrun ends all with the first one, which should be the one that speaks."""


@contextmanager
def together() -> Iterator[Ranks | None]:
    """Meet the other processes of this command, if there are any; errors are raised in one of them.

    The others end in silence, a little later: all of them stop for the same reason, or because one of them did.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not {"RANK", "MASTER_ADDR"} <= os.environ.keys():
        yield None
        return
    from chiploop.learn.distributed import join

    with join() as ranks:
        if not ranks.is_first:
            logging.getLogger("chiploop").setLevel(logging.ERROR)  # the first one hears of it, and warns
        try:
            yield ranks
        except BaseException as error:
            if ranks.speaks():
                raise
            time.sleep(TIME_TO_SPEAK_S)
            raise typer.Exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else BAD_INPUT) from error
