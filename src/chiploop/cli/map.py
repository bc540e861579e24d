"""`chiploop map`: whether a network fits a chip, and where each layer would lie."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiploop.cli.console import FAILED, print_json, say
from chiploop.cli.options import DataOption, JsonOption, SetOption
from chiploop.errors import ChiploopError, DesignRuleError, MissingDataError, RecipeError

if TYPE_CHECKING:
    from chiploop.chip.place import Placement
    from chiploop.chip.plan import Design
    from chiploop.chip.profile import ChipProfile
    from chiploop.quantize.scheme import QuantSpec
    from chiploop.recipes.recipe import Recipe
    from chiploop.spec.graph import NetworkSpec
    from chiploop.spec.ops import Shape

DEFAULT_CHIP = "speck2f"
EXAMPLES = (
    "Examples:\n\n  chiploop map demo\n\n  chiploop map demo --svg cores.svg\n\n"
    "  chiploop map demo --chip mini --set network.layers=16c3p1-P2-64c3p1-10\n\n"
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
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw the cores and the ways of events to a file.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a chip's design rules and place a network on its cores."""
    from chiploop.chip.plan import design
    from chiploop.chip.profile import read_profile
    from chiploop.chip.rules import check_rules

    network, preferred = _network(what, changes, data, size)
    profile, folded = read_profile(chip or preferred), design(network)
    violations = [asdict(v) | {"message": str(v)} for v in check_rules(network, profile)]
    placement, contest = (None, None) if violations else _place(folded, profile)
    if contest is not None:
        violations = [contest]
    if svg is not None:
        _draw(svg, folded, placement, profile)
    if as_json:
        print_json(_plain(folded, placement, profile) | {"violations": violations})
    else:
        _print(folded, placement, profile, violations)
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
    from chiploop.events.types import SensorShape
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
    shape, bias = _input_shape(recipe, data, size), None if n.leak is None else -n.leak
    if (layer := recipe.dvs.layer(SensorShape(*shape))) is not None:
        shape = tuple(layer.out_shape)
    spec = parse_notation(n.layers, shape, neuron, stream(recipe.seed, "weights"), bias=bias, clock_us=n.clock_us)
    if n.neuron == "lif":  # whose integers depend on the clock's step, which the recordings decide
        return spec, recipe.chip.profile
    return quantize(spec, IntScheme(bits=recipe.quantize.bits)), recipe.chip.profile


def _input_shape(recipe: Recipe, data: Path | None, size: str | None) -> Shape:
    """Return the shape of the recipe's recordings: as given, or that of whichever of its data sets is there."""
    if size is not None:
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){2}", size):
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


def _place(folded: Design, profile: ChipProfile) -> tuple[Placement | None, dict[str, Any] | None]:
    """Return the placement; where layers that fit by themselves compete, None and who competes for what."""
    from chiploop.chip.place import place
    from chiploop.report.placement import rivals

    try:
        return place(folded.plans, profile), None
    except DesignRuleError as error:
        layers, cores = rivals(folded.plans, profile)
        return None, {"rule": "placement", "layers": list(layers), "cores": list(cores), "message": str(error)}


def _plain(folded: Design, placement: Placement | None, profile: ChipProfile) -> dict[str, Any]:
    from chiploop.report.placement import placement_plain

    if placement is None:
        return {"chip": profile.name, "fits": False, "layers": [], "inputs": [], "outputs": [], "free_cores": []}
    ways = placement_plain(folded, placement, profile)
    targets = ways.pop("targets")
    layers = [asdict(one) | {"targets": targets[one.layer]} for one in placement.usage]
    return {"chip": profile.name, "fits": True, "layers": layers, **ways}


def _print(folded: Design, placement: Placement | None, profile: ChipProfile, violations: list[dict[str, Any]]) -> None:
    from chiploop.report.placement import contest_text, placement_text

    if placement is not None:
        print(f"fits {profile.name}", placement_text(folded, placement, profile), sep="\n\n")
        return
    print(f"does not fit {profile.name}: {len(violations)} rule(s) broken")
    for violation in violations:
        print(f"  {violation['message']}")
    if folded.plans and profile.cores:
        print("", contest_text(folded.plans, profile), sep="\n")


def _draw(path: Path, folded: Design, placement: Placement | None, profile: ChipProfile) -> None:
    from chiploop import atomic
    from chiploop.report.placement_plot import contest_plot, placement_plot

    if placement is not None:
        plot = placement_plot(folded, placement, profile)
    elif folded.plans and profile.cores:
        plot = contest_plot(folded.plans, profile)
    else:
        raise ChiploopError(f"nothing to draw in {path}: the network breaks rules, and no core is too small for it")
    atomic.write_text(path, plot.svg)
    say(f"wrote {path}")
