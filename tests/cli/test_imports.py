"""Commands that need no torch do not import it: it takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from command_line import SOURCES

LIGHT = """
import io, sys
from contextlib import redirect_stdout
from chiploop.cli.app import main

for line in sys.argv[1:]:
    with redirect_stdout(io.StringIO()) as out:
        code = main(line.split())
    print(line, code, len(out.getvalue()) > 0, *sorted({"torch", "sklearn", "matplotlib"} & set(sys.modules)))
"""


def test_light_commands_stay_light(done: Path, tmp_path: Path) -> None:
    network = done / "seed-0" / "bptt.network.safetensors"
    lines = [
        "--version", "--help", "run --help", "measure --help", "ls", "ls methods", "show demo", f"show {network}",
        f"map {network}", "map nmnist-table1 --input 2x34x34",
    ]  # fmt: skip
    heavier = [f"report {done}"]  # matplotlib for the plots, but no torch
    ran = subprocess.run(
        [sys.executable, "-c", LIGHT, *lines, *heavier],
        env={"PYTHONPATH": str(SOURCES), "HOME": str(tmp_path), "PATH": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = ran.stdout.splitlines()
    assert said[: len(lines)] == [f"{line} 0 True" for line in lines]
    assert len(said) == len(lines) + len(heavier)
    assert "torch" not in ran.stdout
