"""Ray's worker processes on this machine, by what they are at; read from /proc."""

from __future__ import annotations

from pathlib import Path


def pids_of(work: str) -> set[int]:
    """Return the processes that are at a task or an actor of this name."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:  # it ended in between
            continue
        if title.startswith(f"ray::{work}"):
            found.add(int(path.parent.name))
    return found


def living(*pids: int) -> set[int]:
    """Return those of the processes that have not ended."""
    return {pid for pid in pids if _state(pid) not in ("", "Z")}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
