"""Every shipped recipe, and the laws that recipes keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.chip.place import place
from chiploop.chip.plan import design
from chiploop.chip.profile import read_profile
from chiploop.chip.rules import check_rules
from chiploop.errors import RecipeError
from chiploop.learn.method import METHODS
from chiploop.network.neuron import NEURONS
from chiploop.network.surrogate import SURROGATES
from chiploop.quantize.apply import quantize
from chiploop.quantize.scheme import IntScheme
from chiploop.recipes.catalogue import catalogue, require_names
from chiploop.recipes.folder import claim_folder, default_folder, leave_folder
from chiploop.recipes.recipe import UNTRAINED, Recipe, read_recipe, recipe_names
from chiploop.recipes.toml import to_toml
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from chiploop.spec.notation import parse_notation

SHAPES = {"nmnist": (2, 34, 34), "nmnist_sim": (2, 34, 34), "mnist5k": (2, 34, 34), "shapes": (2, 8, 8)}
"""Sensors of the data sets that recipes name; here, so that placement is tested without data."""


def changed(path: Path, text: str) -> Recipe:
    path.write_text(text)
    return read_recipe(str(path))


def test_there_are_recipes() -> None:
    assert {"demo", "nmnist-table1"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_is_named_described_and_names_what_exists(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    assert recipe.notes.endswith(".")
    require_names(recipe)
    assert name in catalogue()["recipes"]()


@pytest.mark.parametrize("name", recipe_names())
def test_toml_loses_nothing(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name)
    again = changed(tmp_path / "again.toml", to_toml(recipe))
    assert again == recipe
    assert list(again.learn) == list(recipe.learn)  # the rows' order decides which may start from which
    assert again.hash == recipe.hash


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_network_lies_on_its_chip(name: str) -> None:
    recipe = read_recipe(name)
    n, profile = recipe.network, read_profile(recipe.chip.profile)
    neuron = NeuronSpec(kind=n.neuron, v_min=n.v_min, reset=n.reset, tau_us=n.tau_us)
    shape, bias, weights = SHAPES[recipe.data.dataset], None if n.leak is None else -n.leak, stream(recipe.seed, "w")
    spec = parse_notation(n.layers, shape, neuron, weights, dt_us=30_000, bias=bias, clock_us=n.clock_us)
    quant = quantize(spec, IntScheme(bits=recipe.quantize.bits))
    assert check_rules(quant, profile) == ()
    assert all((layer.bias is not None and layer.bias.all()) == bool(n.leak) for layer in quant.layers)
    assert len(set(place(design(quant).plans, profile).cores.values())) == len(spec.spiking)


def test_hard_words_survive_toml(tmp_path: Path) -> None:
    notes = 'quotes " and \\ backslashes,\nlines, \ttabs, \x7f, \x00 and µ'
    recipe = read_recipe("demo").model_copy(update={"notes": notes})
    odd = recipe.model_copy(update={"learn": {"a row.with dots": recipe.learn["cnn"], "ü": recipe.learn["bptt"]}})
    again = changed(tmp_path / "odd.toml", to_toml(Recipe.model_validate(odd.model_dump())))
    assert again == odd


def test_infinite_time_constants_survive_toml(tmp_path: Path) -> None:
    recipe = read_recipe("demo", ["network.neuron=lif", "network.tau_us=inf"])
    assert changed(tmp_path / "lif.toml", to_toml(recipe)) == recipe


def test_the_hash_ignores_name_notes_and_seed_and_nothing_else() -> None:
    recipe = read_recipe("demo")
    assert read_recipe("demo", ["name=other", "notes=other", "seed=7"]).hash == recipe.hash
    others = [
        "threads=5", "data.n=100", "encode.n_windows=5", "network.activity=3.5", "quantize.bits=6", "chip.threads=1",
        "augment.drop=0.5", "learn.bptt.epochs=3", "learn.cil-qat=none", "measure.ties=potential",
    ]  # fmt: skip
    hashes = {read_recipe("demo", [change]).hash for change in others}
    assert len(hashes | {recipe.hash}) == len(others) + 1


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("sead", "seed"),
        ("data.splt", "split"),
        ("data.pretrain.datasett", "dataset"),
        ("encode.windows", "n_windows"),
        ("network.layer", "layers"),
        ("quantize.bit", "bits"),
        ("chip.profil", "profile"),
        ("augment.shift", "shift_px"),
        ("learn.bptt.batchsize", "batch_size"),
        ("learn.bptt.augment.rotate", "rotate_deg"),
        ("measure.tie", "ties"),
    ],
)
def test_an_unknown_key_is_met_with_the_nearest_at_every_level(key: str, nearest: str) -> None:
    with pytest.raises(RecipeError, match=rf"unknown key '{key}': did you mean '{nearest}'\?"):
        read_recipe("demo", [f"{key}=1"])


def test_a_clocked_leak_needs_all_of_its_keys() -> None:
    with pytest.raises(RecipeError, match=r"network\.leak without network\.clock_us: a clocked leak needs both"):
        read_recipe("demo", ["network.leak=0.1"])
    with pytest.raises(RecipeError, match=r"network\.clock_us without network\.leak: a clocked leak needs both"):
        read_recipe("demo", ["network.clock_us=1000"])
    with pytest.raises(RecipeError, match=r"network\.leak_trained without network\.leak"):
        read_recipe("demo", ["network.leak_trained=true"])
    with pytest.raises(RecipeError, match=r"network\.leak: input should be greater than or equal to 0"):
        read_recipe("demo", ["network.leak=-0.1", "network.clock_us=1000"])


def test_a_row_starts_from_an_earlier_row_only() -> None:
    with pytest.raises(RecipeError, match=r"learn\.bptt\.warm_start is 'cil-qat': neither an earlier row \(cnn"):
        read_recipe("demo", ["learn.bptt.warm_start=cil-qat"])
    with pytest.raises(RecipeError, match=r"learn\.bptt\.warm_start is 'bptt'"):
        read_recipe("demo", ["learn.bptt.warm_start=bptt"])
    with pytest.raises(RecipeError, match=r"learn\.cnn-norm: .* needs a warm_start"):
        read_recipe("demo", ["learn.cnn-norm.warm_start=none"])
    assert read_recipe("demo", ["learn.cil-ann.warm_start=bptt"]).learn["cil-ann"].warm_start == "bptt"


def test_names_read_from_source_are_those_registered() -> None:
    listed = {kind: set(entries()) for kind, entries in catalogue().items()}
    assert listed["methods"] == {*METHODS.names(), *UNTRAINED}
    assert listed["neurons"] == set(NEURONS.names())
    assert listed["surrogates"] == set(SURROGATES.names())


def test_a_folder_belongs_to_one_recipe(tmp_path: Path) -> None:
    recipe, folder = read_recipe("demo"), tmp_path / "out"
    assert claim_folder(folder, recipe)
    assert not claim_folder(folder, read_recipe("demo", ["seed=3"]))  # another seed of the same experiment
    with pytest.raises(RecipeError, match="holds runs of another recipe"):
        claim_folder(folder, read_recipe("demo", ["data.n=7"]))
    leave_folder(folder)
    assert not folder.exists()


def test_a_folder_with_anything_else_in_it_is_left(tmp_path: Path) -> None:
    claim_folder(tmp_path, read_recipe("demo"))
    (tmp_path / "seed-0").mkdir()
    leave_folder(tmp_path)
    assert (tmp_path / "recipe.toml").is_file()


def test_a_changed_recipe_has_another_folder() -> None:
    recipe = read_recipe("demo")
    assert default_folder(recipe) == Path("runs") / f"demo-{recipe.hash[:8]}"
    assert default_folder(read_recipe("demo", ["data.n=7"])) != default_folder(recipe)
