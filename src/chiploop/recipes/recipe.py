"""An experiment as data: nested tables with every choice spelled out."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from chiploop.digest import digest
from chiploop.errors import RecipeError, nearest
from chiploop.recipes.tables import (
    UNTRAINED,
    Augmentation,
    Chip,
    Count,
    Data,
    Dvs,
    Encode,
    Faults,
    Learn,
    Measure,
    Network,
    Quantize,
    Table,
)
from chiploop.recipes.validation import explain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Recipe(Table):
    """An experiment: data, clock, network, integers, chip, and the rows to learn, in their order."""

    name: str
    notes: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Count = 2
    data: Data
    dvs: Dvs = Dvs()
    encode: Encode = Encode()
    network: Network
    quantize: Quantize = Quantize()
    chip: Chip = Chip()
    faults: Faults | None = None
    augment: Augmentation = Augmentation()
    learn: dict[str, Learn]
    measure: Measure = Measure()

    @model_validator(mode="after")
    def _rows_are_in_order(self) -> Recipe:
        before: list[str] = []
        if not self.learn:
            raise ValueError("learn: give at least one row")
        for name, row in self.learn.items():
            start = row.warm_start
            if start is not None and start not in before and not start.endswith(".safetensors"):
                raise ValueError(
                    f"learn.{name}.warm_start is {start!r}: neither an earlier row ({', '.join(before) or 'none'}) "
                    "nor a .safetensors file"
                )
            if row.method in UNTRAINED and start is None:
                raise ValueError(
                    f"learn.{name}: {row.method!r} trains nothing; it needs a warm_start, the network to rescale"
                )
            if row.faults and self.faults is None:
                raise ValueError(f"learn.{name}.faults is true, but there is no table of faults")
            if row.faults and not row.is_looped:
                raise ValueError(f"learn.{name}.faults is true, but {row.method!r} has no chip in its loop")
            if row.data == "pretrain" and self.data.pretrain is None:
                raise ValueError(f"learn.{name}.data is 'pretrain', but data.pretrain is not given")
            before.append(name)
        return self

    @property
    def hash(self) -> str:
        """Digest of what decides the results: everything but name, notes, seed and what is done about failures."""
        plain = self.model_dump(mode="json", exclude={"chip": {"failures"}})
        plain["chip"]["device"] = self.chip.what_counts  # so that a run may go on in another number of processes
        return digest({key: value for key, value in plain.items() if key not in ("name", "notes", "seed")})


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    folder = resources.files("chiploop.recipes") / "library"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_recipe(name_or_path: str, changes: list[str] | None = None) -> Recipe:
    """Read a shipped recipe by name or a TOML file by path, with `key=value` changes (dotted keys, TOML values).

    Raises RecipeError, one line: an unknown key with the nearest valid one, a value with its bounds.

    >>> read_recipe("demo", ["seed=3"]).seed
    3
    """
    plain, where = _read_toml(name_or_path)
    for change in changes or []:
        _apply(plain, change)
    try:
        return Recipe.model_validate(plain)
    except ValidationError as error:
        raise RecipeError(f"{where}: {explain(error, plain, Recipe)}") from error


def _read_toml(name_or_path: str) -> tuple[dict[str, Any], str]:
    if name_or_path in recipe_names():
        text = (resources.files("chiploop.recipes") / "library" / f"{name_or_path}.toml").read_text(encoding="utf-8")
        return tomllib.loads(text), f"recipe {name_or_path!r}"
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise RecipeError(f"no recipe {name_or_path!r}: {nearest(name_or_path, recipe_names())}; or give a .toml file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), f"recipe {path}"
    except OSError as error:
        raise RecipeError(f"cannot read recipe {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} is not valid TOML: {error}") from error


def _apply(plain: dict[str, Any], change: str) -> None:
    key, sign, text = change.partition("=")
    keys = [part.strip() for part in key.split(".")]
    if not sign or not all(keys):
        raise RecipeError(f"--set {change!r}: write key=value, with dots for tables, such as learn.bptt.epochs=3")
    try:
        parsed = tomllib.loads(f"value = {text}")
        value = parsed["value"] if len(parsed) == 1 else text
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    table = plain
    for part in keys[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {change!r}: {part!r} is a value, not a table")
    if text == "none":
        table.pop(keys[-1], None)
    else:
        table[keys[-1]] = value
