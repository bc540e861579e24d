"""What a fault is: a change of a program, of a stream, or of what a call comes to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from chiploop.chip.program import Program
from chiploop.errors import DeviceError, nearest
from chiploop.events.types import Events
from chiploop.registry import Registry


@runtime_checkable
class ProgramFault(Protocol):
    """A fault of the chip itself, the same at every load: a defective memory, neurons that differ."""

    def apply(self, program: Program, seed: int) -> Program:
        """Return the program that the defective chip carries instead."""


@runtime_checkable
class StreamFault(Protocol):
    """A fault of the events on their way from the sensor."""

    def disturb(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the events that arrive."""


@runtime_checkable
class CallFault(Protocol):
    """A fault of the link between host and chip."""

    def before_call(self, n_calls: int, rng: np.random.Generator) -> None:
        """Raise the error that the n-th call (from 0, since the device was opened) comes to, if it fails."""


Fault = ProgramFault | StreamFault | CallFault

FAULTS: Registry[type[Any]] = Registry("fault", "chiploop.chip.faults")
"""Every fault: a frozen dataclass whose first field is its strength; strength 0 changes nothing."""


def strength_field(fault: type[Any]) -> str:
    """Return the name of a fault's strength.

    >>> strength_field(FAULTS.get("lost"))
    'share'
    """
    return dataclasses.fields(fault)[0].name


def make_faults(table: Mapping[str, Mapping[str, float]], *, strength: float = 1.0) -> tuple[Fault, ...]:
    """Return the faults that a table names, each with its options, their strengths multiplied by `strength`.

    Scaled shares are held at 1, a number of runs stays as it is. Raises DeviceError for an unknown name or option.

    >>> make_faults({"mismatch": {"sd": 0.2}}, strength=0.5)
    (ThresholdMismatch(sd=0.1),)
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise DeviceError(f"faults: strength = {strength} must be finite and at least 0")
    return tuple(_make(name, options, strength) for name, options in table.items())


def _make(name: str, options: Mapping[str, float], strength: float) -> Fault:
    kind = FAULTS.get(name)
    known = [field.name for field in dataclasses.fields(kind)]
    for option in options:
        if option not in known:
            raise DeviceError(f"faults.{name}: unknown option {option!r}, {nearest(option, known)}")
    if known[0] not in options:
        raise DeviceError(f"faults.{name}: give its strength, {known[0]!r}")
    kind(**options)  # as stated it must be possible, whatever it is scaled to
    given = options[known[0]]
    # More of a disconnection is no larger number of runs: it stays as stated, or is left out.
    scaled = (given if strength else 0) if known[0] == "every" else given * strength
    fault: Fault = kind(**{**options, known[0]: min(1.0, scaled) if known[0] == "share" else scaled})
    return fault


def require_share(fault: object, share: float) -> None:
    """Raise DeviceError unless a share lies in 0..1."""
    if not 0.0 <= share <= 1.0:
        raise DeviceError(f"{type(fault).__name__}: share = {share} must be in 0..1")


def require_at_least_0(fault: object, name: str, value: float) -> None:
    """Raise DeviceError unless a value is finite and not negative."""
    if not (math.isfinite(value) and value >= 0):
        raise DeviceError(f"{type(fault).__name__}: {name} = {value} must be finite and at least 0")
