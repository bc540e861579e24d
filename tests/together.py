"""Several processes that train together, started as users start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from command_line import SOURCES, Outcome

HERE = Path(__file__).resolve().parent
LONGEST_S = 120


def start_together(
    n: int, *arguments: object, folder: Path, restarts: int = 0, **environment: str
) -> subprocess.Popen[str]:
    """Start n processes with torchrun (its module: the script may be elsewhere than this Python)."""
    kept = {key: value for key, value in os.environ.items() if key not in ("CHIPLOOP_DATA", "FORCE_COLOR")}
    more = {"PYTHONPATH": f"{SOURCES}:{HERE}", "COLUMNS": "100", "XDG_CACHE_HOME": str(folder / "cache")}
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", n, "--max-restarts", restarts)
    return subprocess.Popen(
        [sys.executable, *map(str, (*launch, *arguments))],
        cwd=folder,
        env={**kept, **more, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_together(process: subprocess.Popen[str]) -> Outcome:
    """Wait for all of them; none may be left behind when they take too long."""
    try:
        out, err = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        for pid in (*workers(process).values(), process.pid):
            os.kill(pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"still running after {LONGEST_S} s:\n{out}\n{err}") from None
    return Outcome(process.returncode, out, err)


def run_together(n: int, *arguments: object, folder: Path, **environment: str) -> Outcome:
    """Run n processes to their end."""
    return finish_together(start_together(n, *arguments, folder=folder, **environment))


def workers(process: subprocess.Popen[str]) -> dict[int, int]:
    """Return the process of every rank that runs."""
    found = {}
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in map(int, children):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"RANK="):
                found[int(entry.removeprefix(b"RANK="))] = pid
    return found


def kill_once_there(process: subprocess.Popen[str], path: Path, rank: int) -> None:
    """Kill one rank, as the system does when memory runs out, as soon as a file is there."""
    deadline = time.monotonic() + LONGEST_S
    while not path.exists():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(workers(process)[rank], signal.SIGKILL)
