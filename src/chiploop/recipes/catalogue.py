"""What there is to choose from, by name and one line each; torch is not imported to say so."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from chiploop.chip.device import DEVICES
from chiploop.chip.export import EXPORTERS
from chiploop.chip.faults import FAULTS
from chiploop.chip.open import POOL, RAY, REMOTE, simple_names
from chiploop.chip.profile import profile_names, read_profile
from chiploop.chip.rules import RULES
from chiploop.datasets.base import DATASETS
from chiploop.errors import DeviceError, RecipeError, nearest
from chiploop.events.codecs import CODECS
from chiploop.recipes.recipe import Recipe, read_recipe, recipe_names
from chiploop.recipes.tables import UNTRAINED

_ROOT = Path(__file__).resolve().parents[1]

KI = 1024

SIMULATORS = ("oracle", "timed", "virtual")
"""Devices that can be in the loop: they report what happens inside them."""


def catalogue() -> Mapping[str, Callable[[], dict[str, str]]]:
    """Return, for every kind of thing, the function that lists name and description."""
    return {
        "recipes": lambda: {name: read_recipe(name).notes for name in recipe_names()},
        "methods": _methods,
        "datasets": lambda: {name: _first_module_line(DATASETS.get(name)) for name in DATASETS.names()},
        "neurons": lambda: _registered("network", "NEURONS"),
        "surrogates": lambda: _registered("network", "SURROGATES"),
        "losses": lambda: _registered("learn", "LOSSES"),
        "chips": lambda: {name: _chip_line(name) for name in profile_names()},
        "devices": lambda: {name: _first_line(DEVICES.get(name).__doc__) for name in DEVICES.names()},
        "faults": lambda: {name: _first_line(FAULTS.get(name).__doc__) for name in FAULTS.names()},
        "rules": lambda: {name: _first_line(RULES.get(name).__doc__) for name in RULES.names()},
        "exports": lambda: {name: EXPORTERS.get(name).summary for name in EXPORTERS.names()},
        "formats": lambda: {name: CODECS.get(name).summary for name in CODECS.names()},
        "benchmarks": _benchmarks,
    }


def require_names(recipe: Recipe) -> None:
    """Raise RecipeError for the first name in a recipe that nothing is registered under, before anything is run."""
    sources = {"data": recipe.data, "data.tested_on": recipe.data.tested_on, "data.pretrain": recipe.data.pretrain}
    for key, source in sources.items():
        if source is not None:
            _require(f"{key}.dataset", source.dataset, DATASETS.names())
    _require("network.surrogate", recipe.network.surrogate, list(_registered("network", "SURROGATES")))
    if "/" not in recipe.chip.profile and not recipe.chip.profile.endswith(".toml"):
        _require("chip.profile", recipe.chip.profile, profile_names())
    for device in recipe.chip.devices:
        require_loopable(device)
    for name, row in recipe.learn.items():
        _require(f"learn.{name}.method", row.method, list(_methods()))
        if row.warm_start is not None and row.warm_start not in recipe.learn and not Path(row.warm_start).is_file():
            raise RecipeError(f"learn.{name}.warm_start = {row.warm_start!r}: there is no such file")


def require_loopable(device: str) -> None:
    """Raise RecipeError unless a device, or every member of a pool, shows what happens inside it."""
    kind, known = device.partition(":")[0], [*SIMULATORS, REMOTE, POOL, RAY]
    if kind not in DEVICES.names():
        raise RecipeError(f"chip.device = {device!r}: {nearest(kind, known)}")
    try:
        kinds = simple_names(device) if kind in (POOL, RAY) else (kind,)
    except DeviceError as error:
        raise RecipeError(f"chip.device = {device!r}: {error}") from error
    for one in kinds:
        if one not in (*SIMULATORS, REMOTE):
            raise RecipeError(f"chip.device = {device!r} cannot be in the loop: {nearest(one, known)}")


def _require(key: str, name: str, choices: list[str]) -> None:
    if name not in choices:
        raise RecipeError(f"{key} = {name!r}: {nearest(name, choices)}")


def _methods() -> dict[str, str]:
    return dict(sorted({**_registered("learn", "METHODS"), **UNTRAINED}.items()))


def _registered(package: str, registry: str) -> dict[str, str]:
    """Read what a package registers from its source: importing it would import torch, a second or more."""
    found: dict[str, str] = {}
    for path in sorted((_ROOT / package).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found |= {name: _first_line(ast.get_docstring(node)) for name in _names(node, registry)}
    return dict(sorted(found.items()))


def _benchmarks() -> dict[str, str]:
    """Read from their source what benchmarks measure: importing them would import much."""
    found = {}
    for path in sorted((_ROOT / "bench").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Call(
                        func=ast.Attribute(value=ast.Name(id="BENCHMARKS"), attr="register"),
                        args=[ast.Constant(value=str(name))],
                    )
                ):
                    found[name] = _first_line(ast.get_docstring(tree))
    return found


def _names(node: ast.FunctionDef | ast.ClassDef, registry: str) -> Iterator[str]:
    """Yield the names under which `@REGISTRY.register("name")` enters a function or a class."""
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="register"), args=[ast.Constant(value=str(name))]
            ) if owner == registry:
                yield name


def _first_line(text: str | None) -> str:
    """Return the first line of a docstring, its verb left out: "Return the loss." is "The loss."."""
    line = (text or "").strip().split("\n")[0].removeprefix("Return ")
    return line[:1].upper() + line[1:]


def _first_module_line(factory: Callable[..., object]) -> str:
    return _first_line(sys.modules[factory.__module__].__doc__)


def _chip_line(name: str) -> str:
    profile = read_profile(name)
    if profile.unlimited_cores:
        return f"{profile.revision}: no limits"
    kernel, neuron = (
        sum(getattr(core, field) for core in profile.cores) // KI for field in ("kernel_words", "neuron_words")
    )
    return f"{profile.revision}: {len(profile.cores)} cores, {kernel} Ki kernel words and {neuron} Ki neuron words"
