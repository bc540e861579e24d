"""A chip's limits and prices: pure data, every number with its source."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chiploop.digest import digest
from chiploop.errors import DataError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable

SUFFIX = ".toml"
UNSOURCED = frozenset({"name", "revision", "sources", "notes", "unlimited_cores"})
"""Fields that say what the profile is, not what the chip can do, and so need no source."""

Source = Literal["datasheet", "paper", "measured", "assumed"]
Positive = Annotated[int, Field(ge=1, strict=True)]


class CoreProfile(BaseModel):
    """Memory of one core, in words."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    kernel_words: Positive
    neuron_words: Positive
    bias_words: Annotated[int, Field(ge=0, strict=True)]


class ChipProfile(BaseModel):
    """One chip; absent limits (None) do not bind. `sources` names where each field's numbers come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    revision: str
    cores: tuple[CoreProfile, ...]
    unlimited_cores: bool = False
    weight_bits: Positive = 8
    state_bits: Positive = 16
    spikes_per_update: Literal["one", "all"] = "one"
    neurons: tuple[Literal["if", "lif"], ...] = ("if",)
    square_kernels: bool = False
    max_kernel: Positive | None = None
    max_input_side: Positive | None = None
    max_output_side: Positive | None = None
    max_channels: Positive | None = None
    strides: tuple[Positive, ...] | None = None
    pools: tuple[Positive, ...] | None = None
    max_padding: Annotated[int, Field(ge=0, strict=True)] | None = None
    fan_out: Positive | None = None
    readout_classes: Positive | None = None
    readout_stride: Positive | None = None  # readout channel n reads core channel readout_stride (n - 1)
    event_latency_ns: Positive | None = None  # of one event through all cores
    rest_power_uw: Positive | None = None
    active_power_uw: tuple[Positive, Positive] | None = None  # lowest and highest published, on one task
    sources: dict[str, Source] = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_whole(self) -> ChipProfile:
        if bool(self.cores) == self.unlimited_cores:
            raise ValueError("a profile has either `cores` or `unlimited_cores = true`")
        for table in ("sources", "notes"):
            for name in getattr(self, table):
                if name not in ChipProfile.model_fields or name in UNSOURCED:
                    known = set(ChipProfile.model_fields) - UNSOURCED
                    raise ValueError(f"{table}.{name} names no field of the chip, {nearest(name, known)}")
        if missing := sorted(self.stated - set(self.sources)):
            raise ValueError(f"no source for {', '.join(missing)}: add each to the `sources` table")
        return self

    @property
    def stated(self) -> frozenset[str]:
        """Names of the fields that say something about the chip; each needs a source."""
        given = {name: getattr(self, name) for name in self.model_fields_set - UNSOURCED}
        return frozenset(
            name for name, value in given.items() if value is not None and value is not False and value != ()
        )

    @property
    def digest(self) -> str:
        """Digest of the limits; where a number comes from does not change a program."""
        return digest(self.model_dump(mode="json", exclude={"sources", "notes"}))


def profile_names() -> list[str]:
    """Return the names of the shipped profiles, sorted."""
    return sorted(entry.name[: -len(SUFFIX)] for entry in _shipped().iterdir() if entry.name.endswith(SUFFIX))


def read_profile(name_or_path: str | Path) -> ChipProfile:
    """Read a shipped profile by name, or a user's TOML file by path (anything with a slash or ending in .toml).

    Raises DataError that names the file and each wrong key, with the nearest valid one.

    >>> len(read_profile("speck2f").cores)
    9
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(SUFFIX) or "/" in text:
        path = Path(name_or_path)
        try:
            return parse_profile(path.read_text(encoding="utf-8"), where=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read chip profile {path}: {error}") from error
    if text not in profile_names():
        raise DataError(f"no chip profile {text!r}: {nearest(text, profile_names())}; or give the path of a TOML file")
    return parse_profile((_shipped() / f"{text}{SUFFIX}").read_text(encoding="utf-8"), where=f"profile {text!r}")


def parse_profile(text: str, *, where: str) -> ChipProfile:
    """Read a profile from TOML text; `where` names it in errors."""
    try:
        return ChipProfile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{where} is not TOML: {error}") from error
    except ValidationError as error:
        raise DataError(f"{where}: " + "; ".join(_sentence(problem) for problem in error.errors())) from error


def _shipped() -> Traversable:
    return files("chiploop.chip") / "profiles"


def _sentence(problem: ErrorDetails) -> str:
    at = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        model = CoreProfile if problem["loc"][0] == "cores" else ChipProfile
        return f"unknown key {at!r}, {nearest(str(problem['loc'][-1]), model.model_fields)}"
    if problem["type"] == "missing":
        return f"key {at!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{at} = {problem['input']!r}: {message}" if at else message
