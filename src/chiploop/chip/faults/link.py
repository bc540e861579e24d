"""Faults of the link between host and chip: calls that take too long, and a chip that is suddenly gone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.chip.faults.fault import FAULTS, require_share
from chiploop.errors import DeviceError, DeviceLostError, DeviceTimeoutError


@FAULTS.register("timeout")
@dataclass(frozen=True, slots=True)
class DeviceTimeout:
    """Each run comes to nothing within its time with probability `share`."""

    share: float

    def __post_init__(self) -> None:
        require_share(self, self.share)

    def before_call(self, n_calls: int, rng: np.random.Generator) -> None:
        """Raise DeviceTimeoutError where this call takes too long."""
        if rng.random() < self.share:
            raise DeviceTimeoutError(f"run {n_calls} on the faulty device took too long; run it again")


@FAULTS.register("disconnect")
@dataclass(frozen=True, slots=True)
class Disconnect:
    """The chip is gone after `every` runs since it was opened (0: never), and stays so until it is opened again."""

    every: int

    def __post_init__(self) -> None:
        if self.every < 0 or self.every != int(self.every):  # recipes read every option as a real number
            raise DeviceError(f"Disconnect: every = {self.every} must be a whole number of runs, at least 0")
        object.__setattr__(self, "every", int(self.every))

    def before_call(self, n_calls: int, rng: np.random.Generator) -> None:
        """Raise DeviceLostError from the call on at which the chip is gone."""
        del rng  # it breaks after a fixed number of runs
        if self.every and n_calls >= self.every:
            raise DeviceLostError(f"the faulty device is gone after {self.every} runs; open it again")
