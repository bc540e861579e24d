"""What the pages show is carried out: Python runs and prints what stands below it, commands parse, TOML is valid."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch.distributed.run import get_args_parser
from typer.main import get_command

from chiploop.chip.profile import parse_profile
from chiploop.cli.app import app
from chiploop.recipes.catalogue import catalogue
from chiploop.recipes.recipe import read_recipe, recipe_names
from doc_pages import PAGES, ROOT, Block, blocks

LANGUAGES = {"python", "text", "sh", "toml"}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMAND = re.compile(r"`((?:chiploop|make) [^`]+)`")


def _with_language(*languages: str) -> list[Any]:
    return [
        pytest.param(page, block, id=f"{page}:{block.line}")
        for page in PAGES
        for block in blocks(page)
        if block.language in languages
    ]


def _commands() -> list[Any]:
    shown = [
        (page, line.partition("#")[0].strip())
        for page in PAGES
        for block in blocks(page)
        if block.language == "sh"
        for line in block.text.splitlines()
    ]
    within = [(page, match) for page in PAGES for match in COMMAND.findall((ROOT / page).read_text(encoding="utf-8"))]
    return [pytest.param(line, id=f"{page}: {line}") for page, line in dict.fromkeys([*shown, *within]) if line]


@pytest.fixture
def page_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that a page's Python runs in: dataclasses look theirs up."""
    module = ModuleType("chiploop_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def _has_python(page: Path) -> bool:
    return any(block.language == "python" for block in blocks(page))


def test_every_block_names_a_language_that_is_checked() -> None:
    unknown = [(str(page), b.line, b.language) for page in PAGES for b in blocks(page) if b.language not in LANGUAGES]
    assert unknown == []


@pytest.mark.parametrize("page", [page for page in PAGES if _has_python(page)], ids=str)
def test_python_runs_and_prints_what_the_page_says(
    page: Path, page_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page run in order in one namespace; a text block right after one is what it printed."""
    monkeypatch.chdir(tmp_path)
    found = blocks(page)
    for block, after in zip(found, [*found[1:], Block("", "", 0)], strict=True):
        if block.language != "python":
            continue
        printed = io.StringIO()
        code = compile("\n" * (block.line - 1) + block.text, str(ROOT / page), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, page_module.__dict__)
        apart = after.line - block.line - block.text.count("\n")
        if after.language == "text" and apart <= 3:  # closing fence, blank line, opening fence
            assert printed.getvalue() == after.text
    if page == Path("README.md"):
        _require_learned(page_module.__dict__)


def _require_learned(names: dict[str, Any]) -> None:
    """The README's loop is the project's promise: after it, the network does better on the chip than chance."""
    n, chance = len(names["test"]), 1 / names["test_set"].n_classes
    five_sigma = chance + 5 * (chance * (1 - chance) / n) ** 0.5
    assert names["last"].score > five_sigma


@pytest.mark.parametrize("line", _commands())
def test_commands_exist_with_their_options(line: str) -> None:
    program, *arguments = shlex.split(line.partition(" > ")[0])
    if program == "torchrun":  # what it starts follows its own options
        launched = get_args_parser().parse_args(arguments)
        assert launched.module
        program, arguments = launched.training_script, launched.training_script_args
    if program == "make":
        targets = [word for word in arguments if "=" not in word and word != "..."]
        assert targets
        assert set(targets) <= TARGETS
        return
    assert program == "chiploop"
    group: Any = get_command(app)
    name, *rest = arguments
    assert name in group.commands, line
    context = group.commands[name].make_context(name, rest)  # raises what a user would be told
    recipe = context.params.get("recipe") or context.params.get("what")
    if recipe is not None and not Path(recipe).suffix:
        assert recipe in recipe_names()
        read_recipe(recipe, context.params.get("changes"))
    if context.params.get("kind") is not None:
        assert context.params["kind"] in catalogue()


@pytest.mark.parametrize(("page", "block"), _with_language("toml"))
def test_toml_is_a_recipe_or_a_profile(page: Path, block: Block, tmp_path: Path) -> None:
    if "[learn." in block.text:
        path = tmp_path / "shown.toml"
        path.write_text(block.text, encoding="utf-8")
        assert read_recipe(str(path)).learn
    else:
        assert parse_profile(block.text, where=str(page)).cores
