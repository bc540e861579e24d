"""A chip's limits and prices: pure data, every number with its source."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

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
UNSOURCED = frozenset({"name", "revision", "references", "sources", "notes", "unlimited_cores"})
"""Fields that say what the profile is, not what the chip can do, and so need no source."""
PRICES = frozenset({"timing", "energy", "event_latency_ns", "rest_power_uw", "active_power_uw"})
"""Fields that say what a run costs; they change no program."""

Category = Literal["datasheet", "paper", "measured", "assumed"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
_CITING = ("datasheet", "paper")  # categories that must name a reference
Positive = Annotated[int, Field(ge=1, strict=True)]
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Source(NamedTuple):
    """Where a number comes from: the category, and the references in full."""

    category: Category
    references: tuple[str, ...] = ()
    note: str = ""

    @property
    def text(self) -> str:
        """The source in one line; what is assumed never reads as if its reference had said it."""
        cited = "; ".join(self.references)
        if self.category == "assumed" and cited:
            return f"assumed, after {cited}"
        told = cited or self.note
        return f"{self.category}: {told}" if told else self.category


class CoreProfile(BaseModel):
    """Memory of one core, in words."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    kernel_words: Positive
    neuron_words: Positive
    bias_words: Annotated[int, Field(ge=0, strict=True)]


class TimingTable(BaseModel):
    """How long a core takes; `chiploop.chip.timing.Timing` says what the constants mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    event_ns: Positive
    synop_ns: Positive
    hop_ns: Positive
    fifo_depth: Positive | None = None
    overflow: Literal["stall", "drop"] = "stall"
    max_synops_per_s: Positive | None = None  # of one core


class EnergyTable(BaseModel):
    """Lowest and highest energy in pJ: of a synaptic update, of an event's way to a core, of a spike made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    synop_pj: tuple[Price, Price]
    event_pj: tuple[Price, Price] | None = None
    spike_pj: tuple[Price, Price] | None = None

    @field_validator("*")
    @classmethod
    def _check_order(cls, prices: tuple[float, float] | None) -> tuple[float, float] | None:
        if prices is not None and prices[0] > prices[1]:
            raise ValueError("the first must be the lowest, the second the highest")
        return prices


class ChipProfile(BaseModel):
    """One chip; absent limits (None) do not bind.

    `sources` names where each field's numbers come from: a category ("assumed"), and for a datasheet or a paper the
    keys of `references` after a colon ("paper: yao2024"). Entries of a table are named "timing.event_ns".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    revision: str
    cores: tuple[CoreProfile, ...]
    unlimited_cores: bool = False
    weight_bits: Annotated[int, Field(ge=2, le=8, strict=True)] = 8  # stored as int8
    bias_bits: Positive = 8  # signed
    state_bits: Literal[16] = 16  # what cores compute with: another width would be ignored, so it is refused
    spikes_per_update: Literal["one", "all"] = "one"
    neurons: Annotated[tuple[Literal["if", "lif"], ...], Field(min_length=1)] = ("if",)
    square_kernels: bool = False
    max_kernel: Positive | None = None
    max_input_side: Positive | None = None
    max_output_side: Positive | None = None
    max_channels: Positive | None = None
    strides: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    pools: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None  # powers of two: addresses are shifted
    max_padding: Annotated[int, Field(ge=0, strict=True)] | None = None
    fan_out: Positive | None = None
    readout_classes: Positive | None = None
    readout_stride: Positive | None = None  # readout channel n reads core channel readout_stride (n - 1)
    event_latency_ns: Positive | None = None  # of one event through all cores
    rest_power_uw: Positive | None = None
    active_power_uw: tuple[Positive, Positive] | None = None  # lowest and highest published, on one task
    timing: TimingTable | None = None
    energy: EnergyTable | None = None
    references: dict[str, str] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)
    notes: dict[str, str] = Field(default_factory=dict)

    @field_validator("sources", "notes", mode="before")
    @classmethod
    def _flatten(cls, table: Any) -> Any:
        """`timing.event_ns` without quotes is a table within the table."""
        return dict(_flat(table)) if isinstance(table, dict) else table

    @field_validator("pools")
    @classmethod
    def _pools_are_shifts(cls, pools: tuple[int, ...] | None) -> tuple[int, ...] | None:
        for pool in pools or ():
            if pool & (pool - 1):
                raise ValueError(f"{pool} is no power of two, and a core pools by shifting addresses; leave it out")
        return pools

    @model_validator(mode="after")
    def _check_whole(self) -> ChipProfile:
        if bool(self.cores) == self.unlimited_cores:
            raise ValueError("a profile has either `cores` or `unlimited_cores = true`")
        known = frozenset(_paths())
        for table in ("sources", "notes"):
            for name in getattr(self, table):
                if name not in known:
                    raise ValueError(f"{table}.{name} names no field of the chip, {nearest(name, known)}")
        for name, text in self.sources.items():
            self._check_source(name, text)
        if missing := sorted(self.stated - set(self.sources)):
            raise ValueError(f"no source for {', '.join(missing)}: add each to the `sources` table")
        return self

    def _check_source(self, name: str, text: str) -> None:
        category, keys = _split(text)
        if category not in CATEGORIES:
            raise ValueError(f"sources.{name} = {text!r}: {nearest(category, CATEGORIES)}")
        if category in _CITING and not keys:
            raise ValueError(
                f"sources.{name} = {text!r} cites nothing: write '{category}: key', and the key under [references]"
            )
        for key in keys:
            if key not in self.references:
                raise ValueError(
                    f"sources.{name} cites {key!r}, not under [references]; {nearest(key, self.references)}"
                )

    @property
    def stated(self) -> frozenset[str]:
        """Names of the fields that say something about the chip; each needs a source. A table's are "table.field"."""
        return frozenset(name for name in _paths() if self._says(name))

    def source(self, name: str) -> Source:
        """Return where the number of a field comes from, such as "rest_power_uw" or "timing.event_ns"."""
        if name not in self.sources:
            raise DataError(f"chip profile {self.name!r} has no source for {name!r}; {nearest(name, self.sources)}")
        category, keys = _split(self.sources[name])
        (known,) = (c for c in CATEGORIES if c == category)
        return Source(known, tuple(self.references[key] for key in keys), self.notes.get(name, ""))

    @property
    def digest(self) -> str:
        """Digest of the limits; what a run costs and where a number comes from do not change a program."""
        return digest(self.model_dump(mode="json", exclude={"references", "sources", "notes", *PRICES}))

    def _says(self, name: str) -> bool:
        owner: Any = self
        for part in name.split("."):
            if owner is None or part not in owner.model_fields_set:
                return False
            owner = getattr(owner, part)
        return owner is not None and owner is not False and owner != ()


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


_TABLES: dict[str, type[BaseModel]] = {"timing": TimingTable, "energy": EnergyTable}


def _paths() -> Iterator[str]:
    """Every name that may have a source: the fields, those of a table as table.field."""
    for name in ChipProfile.model_fields:
        if name in _TABLES:
            yield from (f"{name}.{field}" for field in _TABLES[name].model_fields)
        elif name not in UNSOURCED:
            yield name


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _split(source: str) -> tuple[str, tuple[str, ...]]:
    """Category and reference keys of `category: key, key`."""
    category, _, keys = source.partition(":")
    return category.strip(), tuple(key.strip() for key in keys.split(",") if key.strip())


def _sentence(problem: ErrorDetails) -> str:
    at = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"cores": CoreProfile, **_TABLES}
        model = models.get(str(problem["loc"][0]), ChipProfile) if len(problem["loc"]) > 1 else ChipProfile
        return f"unknown key {at!r}, {nearest(str(problem['loc'][-1]), model.model_fields)}"
    if problem["type"] == "missing":
        return f"key {at!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{at} = {problem['input']!r}: {message}" if at else message
