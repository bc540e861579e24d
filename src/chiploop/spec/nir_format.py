"""What reading and writing of NIR share: the report, the words of the metadata, and the way to the package."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from chiploop.errors import ChiploopError, SpecError

METADATA = "chiploop"
"""Key of a node's metadata that holds what NIR itself has no word for."""

WEIGHTED = ("Conv2d", "Linear", "Affine")
WEIGHTLESS = ("SumPool2d", "AvgPool2d", "Flatten")
NEURONS = ("IF", "LIF")
ENDS = ("Input", "Output")

US_PER_S = 1_000_000
OLDEST = (1, 0, 7)
"""Version of the package nir from which on a file can be read before its shapes are known."""


@dataclass(frozen=True, kw_only=True)
class NirReport:
    """What a passage through NIR did to a network, a line for each thing.

    `lost`: carried nowhere. `in_metadata`: carried where only this package looks, so other readers get a different
    network. `differs`: NIR's own text says otherwise than the neurons here do. `assumed`: the file does not say it.
    `changed`: said otherwise here, with the same result.
    """

    lost: tuple[str, ...] = ()
    in_metadata: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Every line, with its kind before it."""
        return tuple(f"{f.name.replace('_', ' ')}: {line}" for f in fields(self) for line in getattr(self, f.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assume:
    """What to take where a file does not say: files written by this package do, others cannot.

    NIR's text has a reset to v_reset and one spike at a time; networks for Speck subtract the threshold and, in
    software, fire several times a step. `tau_unit_us` is what NIR's tau counts: seconds by its text, but some tools
    write steps. `clock_us` turns biases, which NIR adds at every step, into biases of the slow clock.
    """

    reset: Literal["zero", "subtract"] = "zero"
    spikes_per_step: Literal["one", "all"] = "one"
    dt_us: int | None = None
    clock_us: int | None = None
    tau_unit_us: float = float(US_PER_S)


def require_nir() -> Any:
    """Return the package `nir`, or raise with the command that installs it."""
    try:
        nir = importlib.import_module("nir")
    except ImportError as error:
        raise ChiploopError(
            f"files of NIR need the packages nir and h5py ({one_line(error)}): pip install 'chiploop[nir]'"
        ) from error
    version = str(getattr(nir, "version", "0"))
    if tuple(int(word) for word in re.findall(r"\d+", version)[:3]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ChiploopError(f"the package nir {version} is too old, {oldest} is needed: pip install 'chiploop[nir]'")
    return nir


def read_notes(node: Any) -> dict[str, Any]:
    """Return what this package wrote into a node's metadata: plain numbers and strings, empty where there is none."""
    metadata = getattr(node, "metadata", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA), dict):
        return {}
    return {str(key): _plain(value) for key, value in metadata[METADATA].items()}


def noted_int(where: str, notes: dict[str, Any], key: str, default: int | None = None) -> int | None:
    """Return a whole number from a node's notes; raises SpecError that names the node where it is something else."""
    value = notes.get(key, default)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise SpecError(f"{where}: metadata {METADATA}.{key} is {value!r}, not a whole number")
    return value


def one_line(error: BaseException) -> str:
    """Return an error's text on one line.

    >>> one_line(ValueError("two\\n  lines"))
    'two lines'
    """
    return " ".join(str(error).split()) or type(error).__name__


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0:
        return value.item()
    return value
