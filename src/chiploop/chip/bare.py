"""The yardstick of the compiled core: the same rows of weights added to the same states, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from chiploop.chip.compiled import core_arguments, import_core, stream_columns, wiring
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.events.types import Events


class BareScatter:
    """Each core of a program with the events that it hears, ready to be scattered without thresholds or spikes.

    `heard` has the streams of each core, in the program's order. Leaky and 32-bit cores are refused by `run`
    (ValueError).
    """

    def __init__(self, program: Program, heard: Sequence[Sequence[Events]], *, isa: str = "auto") -> None:
        module = import_core()
        self._work = []
        for core, streams in zip(program.cores, heard, strict=True):
            alone = core_alone(core)
            chip = module.Chip([core_arguments(core)], input=tuple(alone.input_shape), isa=isa, **wiring(alone))
            self._work.append((chip, [stream_columns(events) for events in streams]))

    def run(self) -> int:
        """Scatter every stream through its core, on one thread, and return the synops."""
        return sum(chip.bare_scatter(stream) for chip, streams in self._work for stream in streams)


def core_alone(core: CoreConfig) -> Program:
    """Return a program of this core only; what leaves it is the program's output."""
    return Program(
        profile_hash="",
        quant_hash="",
        cores=(dataclasses.replace(core, targets=()),),
        input_shape=core.in_shape,
        inputs=(Target(core.core),),
        outputs=(core.core,),
    )
