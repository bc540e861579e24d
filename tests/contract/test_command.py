"""Every command: help with examples that parse, --json that parses, bad input that exits with 2 in one line."""

from __future__ import annotations

import importlib
import io
import json
import shlex
from contextlib import redirect_stderr, redirect_stdout

import pytest

from chiploop.cli.app import app, main

COMMANDS = [command.name or "" for command in app.registered_commands]


def call(*arguments: str) -> tuple[int, str, str]:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def examples(command: str) -> list[list[str]]:
    """The command lines that a command's help ends in."""
    lines = importlib.import_module(f"chiploop.cli.{command}").EXAMPLES.splitlines()
    return [shlex.split(line.split(" > ")[0])[1:] for line in lines if line.strip().startswith("chiploop ")]


def test_there_are_commands() -> None:
    assert {"run", "ls", "show", "map", "measure", "explain", "report", "export", "pack", "serve", "doctor"} <= set(
        COMMANDS
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_in_examples(command: str) -> None:
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert "Examples:" in out
    assert f"chiploop {command}" in out.partition("Examples:")[2]
    assert "--json" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_is_a_line_that_the_parser_takes(command: str) -> None:
    assert examples(command)
    for line in examples(command):
        assert line[0] == command
        code, out, _ = call(*line, "--help")  # parsed as far as the help option, options and all
        assert code == 0
        assert "Usage" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_option_is_one_line_and_under_json_one_object(command: str) -> None:
    code, out, err = call(command, "--no-such-option")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    code, out, err = call(command, "--no-such-option", "--json")
    assert code == 2
    assert json.loads(out)["error"] == err.removeprefix("error: ").rstrip("\n")
