"""The command line under test: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parents[1] / "src"


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object on stdout; anything else there is an error."""
        plain: dict[str, Any] = json.loads(self.out)
        return plain

    @property
    def error(self) -> str:
        """The one line that explains the failure."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("error: ")


Command = Callable[..., Outcome]


def start(*arguments: object, folder: Path, **options: Any) -> subprocess.Popen[str]:
    """Start a command in a process of its own, as a user without data of his own."""
    kept = {key: value for key, value in os.environ.items() if key not in ("CHIPLOOP_DATA", "FORCE_COLOR")}
    more = {"PYTHONPATH": str(SOURCES), "COLUMNS": "100", "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "chiploop", *(str(argument) for argument in arguments)],
        cwd=folder,
        env={**kept, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them ignore Ctrl-C, and a command inherits that.
        **{"preexec_fn": _listen_to_ctrl_c, **options},
    )


def _listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for a command to end."""
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)
