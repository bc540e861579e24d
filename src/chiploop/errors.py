"""Errors a user can cause or meet; each message says what, where and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ChiploopError(Exception):
    """Any error that chiploop raises on purpose; the command line prints it as one line and exits with 2."""


class DataError(ChiploopError):
    """A file or an array is not what its format promises."""


class MissingDataError(DataError):
    """A data set is not where it was looked for; the message says what to put where."""


class SpecError(ChiploopError):
    """A network description breaks an invariant."""


class QuantizeError(ChiploopError):
    """A network cannot be brought to integers without losing a layer."""


class DesignRuleError(ChiploopError):
    """A network does not fit a chip; `violations` lists every broken rule."""

    def __init__(self, message: str, violations: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.violations = violations


class DeviceError(ChiploopError):
    """A device refused a program or failed in a run."""


class DeviceTimeoutError(DeviceError):
    """A device did not answer in time; what its states are now is unknown until the next `load` or `reset`."""


class DeviceLostError(DeviceError):
    """A device is gone: unplugged, crashed, or taken by another; open it anew."""


class ReadoutError(DeviceError):
    """A device answered, but what it said is incomplete, damaged or contradicts itself."""


class ClusterError(ChiploopError):
    """Ray is missing, or a cluster of it cannot be started or reached."""


class RecipeError(ChiploopError):
    """A recipe has an unknown key or a value out of range."""


class TrainingError(ChiploopError):
    """Training cannot go on: a loss that is not a number, a checkpoint that does not fit."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return the clause that names the nearest valid choice, for the end of a message.

    >>> nearest("nmnits", ["nmnist", "mnist"])
    "did you mean 'nmnist'? Choices: mnist, nmnist"
    """
    known = sorted(choices)
    match = get_close_matches(name, known, n=1, cutoff=0.5)
    listed = f"Choices: {', '.join(known)}"
    return f"did you mean {match[0]!r}? {listed}" if match else listed
