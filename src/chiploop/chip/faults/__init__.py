"""Faults and variability of a chip, seeded: in its events, in its memory, in its neurons, in its link to the host."""

from chiploop.chip.faults.fault import FAULTS, CallFault, Fault, ProgramFault, StreamFault, make_faults
from chiploop.chip.faults.faulty import FaultyDevice

__all__ = ["FAULTS", "CallFault", "Fault", "FaultyDevice", "ProgramFault", "StreamFault", "make_faults"]
