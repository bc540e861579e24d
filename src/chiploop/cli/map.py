"""`chiploop map`: whether a network fits a chip, and where each layer would lie."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiploop.cli.console import FAILED, print_json, print_table
from chiploop.cli.options import DataOption, JsonOption, SetOption
from chiploop.errors import ChiploopError, DesignRuleError, MissingDataError, RecipeError

if TYPE_CHECKING:
    from chiploop.chip.place import CoreUsage, Placement
    from chiploop.chip.profile import ChipProfile
    from chiploop.quantize.scheme import QuantSpec
    from chiploop.recipes.recipe import Recipe
    from chiploop.spec.graph import NetworkSpec
    from chiploop.spec.ops import Shape

DEFAULT_CHIP = "speck2f"
EXAMPLES = (
    "Examples:\n\n  chiploop map demo\n\n  chiploop map demo --chip mini --set network.layers=16c3p1-P2-64c3p1-10\n\n"
    "  chiploop map nir-graph --input 2x34x34\n\n  chiploop map runs/demo-1a2b3c4d/seed-0/bptt.network.safetensors\n\n"
    "Exit code 1 when the network does not fit."
)


def command(
    what: Annotated[str, typer.Argument(metavar="RECIPE|NETWORK", help="A recipe, or a .safetensors network file.")],
    chip: Annotated[
        str | None, typer.Option("--chip", help=f"Profile or TOML file. Default: the recipe's, else {DEFAULT_CHIP}.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--input", metavar="CxHxW", help="A recipe's input, where its data are not at hand.")
    ] = None,
    changes: SetOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a chip's design rules and place a network on its cores."""
    from chiploop.chip.profile import read_profile

    network, preferred = _network(what, changes, data, size)
    profile = read_profile(chip or preferred)
    placement, violations = _place(network, profile)
    if as_json:
        usage = [] if placement is None else [asdict(one) for one in placement.usage]
        print_json({"chip": profile.name, "fits": not violations, "layers": usage, "violations": violations})
    else:
        _print(profile, placement, violations)
    if violations:
        raise typer.Exit(FAILED)


def _network(
    what: str, changes: list[str] | None, data: Path | None, size: str | None
) -> tuple[NetworkSpec | QuantSpec, str]:
    """Return the network, with a recipe's integers where it is one, and the chip to try it on."""
    if Path(what).suffix == ".safetensors":
        from chiploop.spec.io import read_network

        if changes or size:
            raise RecipeError(f"--set and --input are for recipes; {what} is a network with shapes of its own")
        return read_network(Path(what)), DEFAULT_CHIP
    from chiploop.quantize.apply import quantize
    from chiploop.quantize.scheme import IntScheme
    from chiploop.recipes.catalogue import require_names
    from chiploop.recipes.recipe import read_recipe
    from chiploop.rng import stream
    from chiploop.spec.graph import NeuronSpec
    from chiploop.spec.notation import parse_notation

    recipe = read_recipe(what, changes)
    require_names(recipe)
    n = recipe.network
    neuron = NeuronSpec(kind=n.neuron, v_min=n.v_min, reset=n.reset, tau_us=n.tau_us)
    spec = parse_notation(n.layers, _input_shape(recipe, data, size), neuron, stream(recipe.seed, "weights"))
    return quantize(spec, IntScheme(bits=recipe.quantize.bits)), recipe.chip.profile


def _input_shape(recipe: Recipe, data: Path | None, size: str | None) -> Shape:
    """Return the shape of the recipe's recordings: as given, or that of whichever of its data sets is there."""
    if size is not None:
        if not re.fullmatch(r"\d+(x\d+){2}", size):
            raise ChiploopError(f"--input {size!r}: write channels x height x width, such as 2x34x34")
        return tuple(int(n) for n in size.split("x"))
    from chiploop.datasets.base import DATASETS

    missing: MissingDataError | None = None
    for source in (recipe.data, recipe.data.tested_on, recipe.data.pretrain):
        try:
            if source is not None:
                return tuple(DATASETS.get(source.dataset)(data).shape)
        except MissingDataError as error:
            missing = missing or error
    raise MissingDataError(f"the input's size is unknown, give --input CxHxW, such as 2x34x34 ({missing})")


def _place(network: NetworkSpec | QuantSpec, profile: ChipProfile) -> tuple[Placement | None, list[dict[str, Any]]]:
    from chiploop.chip.place import place
    from chiploop.chip.plan import design
    from chiploop.chip.rules import check_rules

    violations = [asdict(v) | {"message": str(v)} for v in check_rules(network, profile)]
    if violations:
        return None, violations
    try:
        return place(design(network).plans, profile), []
    except DesignRuleError as error:  # every layer fits by itself, but they compete
        return None, [{"rule": "placement", "message": str(error)}]


def _print(profile: ChipProfile, placement: Placement | None, violations: list[dict[str, Any]]) -> None:
    from chiploop.report.table import Column, Table, row

    if placement is None:
        print(f"does not fit {profile.name}: {len(violations)} rule(s) broken")
        for violation in violations:
            print(f"  {violation['message']}")
        return
    titles = ("Layer", "Core", "Kernel words", "of", "used", "Neuron words", "of", "used")
    columns = tuple(Column(title, align="left" if title == "Layer" else "right") for title in titles)
    rows = tuple(row(usage.layer, str(usage.core), *_memories(usage)) for usage in placement.usage)
    print(f"fits {profile.name}")
    print()
    print_table(Table(columns, rows))


def _memories(usage: CoreUsage) -> tuple[str, ...]:
    pairs = ((usage.kernel_words, usage.kernel_limit), (usage.neuron_words, usage.neuron_limit))
    return tuple(
        cell
        for words, limit in pairs
        for cell in (f"{words:,}", *(("no limit", "") if limit is None else (f"{limit:,}", f"{words / limit:.0%}")))
    )
