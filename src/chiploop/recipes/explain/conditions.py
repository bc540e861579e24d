"""Under which conditions a network ends up: integers, chip, time and faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chiploop.chip.faults import CallFault, Fault, ProgramFault, StreamFault
from chiploop.chip.profile import ChipProfile
from chiploop.chip.timing import Timing
from chiploop.quantize.scheme import IntScheme


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditions:
    """What the last stage is like; every field that is more than the chip itself may be left out.

    `timing`: processing takes time, by these constants. `faults`, with the individual chip `fault_seed`: those of
    streams belong to the cause "dropped-events", those of memory and neurons to "mismatch". `ties`, and
    `whole_counts` of the analogue model, as in a recipe.
    """

    profile: ChipProfile
    scheme: IntScheme = IntScheme()
    spikes_per_update: Literal["one", "all"] | None = None
    timing: Timing | None = None
    faults: tuple[Fault, ...] = ()
    fault_seed: int = 0
    ties: Literal["wrong", "potential"] = "wrong"
    threads: int | None = None
    whole_counts: bool = False

    @property
    def rule(self) -> Literal["one", "all"]:
        """How many spikes an update may give."""
        return self.spikes_per_update or self.profile.spikes_per_update

    @property
    def stream_faults(self) -> Sequence[Fault]:
        """Faults of events."""
        return [fault for fault in self.faults if isinstance(fault, StreamFault)]

    @property
    def program_faults(self) -> Sequence[Fault]:
        """Faults of memory and neurons."""
        return [fault for fault in self.faults if isinstance(fault, ProgramFault)]

    @property
    def call_faults(self) -> Sequence[Fault]:
        """Faults of the link, which cost time and no accuracy."""
        return [fault for fault in self.faults if isinstance(fault, CallFault)]
