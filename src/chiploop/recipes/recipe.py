"""An experiment as data: nested tables with every choice spelled out."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chiploop.digest import digest
from chiploop.errors import RecipeError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


UNTRAINED = {
    "convert": "No training: the network of warm_start, normalised by data (max-activation balancing).",
    "correct": "No training: the network of warm_start, each layer scaled until it fires on the chip as in the model.",
}
"""Rows that rescale a network and train nothing, with a line each. They are not in the registry of methods."""


class Table(BaseModel):
    """A table of a recipe: frozen; an unknown key is an error, and so is a number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(Table):
    """A data set by its registered name, one of its splits, and how many samples of it (all by default)."""

    dataset: str
    split: str | None = None
    n: Count | None = None


class Data(Table):
    """What is trained on and tested on.

    Without `tested_on`, the recordings of `dataset` are divided into training, validation and test parts, all disjoint
    and stratified by class. With it, all of that data set (or `n` of it) is the test part, and what lies behind its
    recordings never enters training or validation. `pretrain` is a further data set for the methods that name it; what
    lies behind validation and test recordings is left out of it too.
    """

    dataset: str
    split: str | None = None
    n: Count | None = None
    validation: Share = 0.1
    test: Share = 0.2
    tested_on: Source | None = None
    pretrain: Source | None = None

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Data:
        held = self.validation + (self.test if self.tested_on is None else 0.0)
        if held >= 1:
            raise ValueError(f"data.validation and data.test take {held:g} of the recordings; leave some to train on")
        return self


class Encode(Table):
    """The clock of the synchronous models: equal windows over the recording."""

    n_windows: Count = 10


class Network(Table):
    """Layers in the field's notation, one neuron for all of them, and the surrogate gradient.

    `v_min`: lower threshold in units of v_th = 1 (absent: none). `activity`: mean spikes of the responding neurons a
    sample that weights are balanced to before training.
    """

    layers: str
    neuron: Literal["if", "lif"] = "if"
    v_min: Annotated[float, Field(le=0.0)] | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    spikes_per_step: Literal["one", "all"] = "all"
    tau_us: Annotated[float, Field(gt=0.0, allow_inf_nan=True)] | None = None
    surrogate: str = "exponential"
    sharpness: Positive = 1.0
    activity: Positive = 2.0


class Quantize(Table):
    """Weights to integers."""

    bits: Annotated[int, Field(ge=2, le=8)] = 8
    search: Literal["mse", "max", "percentile"] = "mse"
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.9


class Chip(Table):
    """The device in the loop and under test. `threads` 0 means every core."""

    profile: str = "speck2f"
    device: str = "virtual"
    threads: Annotated[int, Field(ge=0)] = 0
    spikes_per_update: Literal["one", "all"] | None = None


class Augmentation(Table):
    """Random changes of training recordings; zero is none."""

    shift_px: Annotated[float, Field(ge=0)] = 0.0
    rotate_deg: Annotated[float, Field(ge=0)] = 0.0
    scale: Share = 0.0
    shear: Share = 0.0
    drop: Share = 0.0
    crop: Share = 0.0


class Learn(Table):
    """One row of the results: a method and how it is trained.

    `method` is a registered method, or one that rescales the layers of `warm_start` and trains nothing: "convert"
    (normalisation by data) or "correct" (each layer's counts on the chip brought to the model's).
    `warm_start` names an earlier row, or a network file by path. `data`: "train" or "pretrain".
    """

    method: str
    warm_start: str | None = None
    data: Literal["train", "pretrain"] = "train"
    report: bool = True
    epochs: Annotated[int, Field(ge=0)] = 10
    batch_size: Count = 32
    lr: Positive = 1e-3
    final_lr: Share = 0.02
    warmup: Share = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Positive = 1.0
    patience: Count | None = None
    select: bool = True
    quantized: bool = False
    whole_counts: bool = False
    plan: Literal["output", "output+v", "all", "all+v"] = "all+v"
    loss: Literal["total", "windows", "cumulative"] = "total"
    temperature: Positive = 4.0
    joint: Annotated[float, Field(ge=0)] = 0.0
    activity: Annotated[float, Field(ge=0)] = 0.0
    max_rate: Positive = 5.0
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.9
    gain: Positive = 1.0
    augment: Augmentation | None = None


class Measure(Table):
    """How answers are judged. `ties`: "wrong", or broken by the membrane potential (and the report says so)."""

    ties: Literal["wrong", "potential"] = "wrong"
    accelerator_bits: Literal[8, 16] = 16


class Recipe(Table):
    """An experiment: data, clock, network, integers, chip, and the rows to learn, in their order."""

    name: str
    notes: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Count = 2
    data: Data
    encode: Encode = Encode()
    network: Network
    quantize: Quantize = Quantize()
    chip: Chip = Chip()
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
            if row.data == "pretrain" and self.data.pretrain is None:
                raise ValueError(f"learn.{name}.data is 'pretrain', but data.pretrain is not given")
            before.append(name)
        return self

    @property
    def hash(self) -> str:
        """Digest of what decides the results: everything but name, notes and seed."""
        plain = self.model_dump(mode="json")
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
        raise RecipeError(f"{where}: {_explain(error, _rows(plain))}") from error


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


def _explain(error: ValidationError, rows: list[str]) -> str:
    parts = []
    for one in error.errors(include_url=False):
        where = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            parts.append(f"unknown key {where!r}: {nearest(str(one['loc'][-1]), _keys_at(one['loc'][:-1]))}")
        elif one["type"] == "missing":
            parts.append(_explain_missing(one["loc"], where, rows))
        elif one["type"] == "value_error":
            parts.append(str(one["ctx"]["error"]))
        else:
            shown = json.dumps(one["input"], default=str)
            parts.append(f"{where}: {one['msg'][0].lower()}{one['msg'][1:]} (it is {shown})" if where else one["msg"])
    return "; ".join(parts)


def _rows(plain: dict[str, Any]) -> list[str]:
    learn = plain.get("learn")
    return list(learn) if isinstance(learn, dict) else []


def _explain_missing(location: tuple[int | str, ...], where: str, rows: list[str]) -> str:
    """Name what is missing; a row without a method may be a row with a mistyped name."""
    others = [row for row in rows if row not in location]
    if location[0] == "learn" and len(location) > 1 and others:
        row = str(location[1])
        return f"{where!r} is missing; if {row!r} is not meant to be a new row: {nearest(row, others)}"
    return f"key {where!r} is missing"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a table of the recipe knows."""
    table: type[BaseModel] = Recipe
    for part in location:
        field = table.model_fields.get(str(part))
        if field is None:  # the name of a row under `learn`
            continue
        hints = (field.annotation, *get_args(field.annotation))
        models = [hint for hint in hints if isinstance(hint, type) and issubclass(hint, Table)]
        if not models:
            return list(table.model_fields)
        table = models[0]
    return list(table.model_fields)
