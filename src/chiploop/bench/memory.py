"""Peak memory of a piece of work, in a process of its own: python -m chiploop.bench.memory MODULE FUNCTION JSON."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chiploop.errors import ChiploopError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024


def peak_bytes(module: str, function: str, arguments: Mapping[str, Any], *, timeout_s: float = 600.0) -> int:
    """Return how far `function(**arguments)`, called twice, raises a fresh process's memory above what it began with.

    The function prepares the work and returns it as a callable; preparing it is not counted, its first call is.
    Raises ChiploopError with the process's last words where it fails.
    """
    command = [sys.executable, "-m", __name__, module, function, json.dumps(dict(arguments))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise ChiploopError(f"measuring memory of {module}.{function}{dict(arguments)} failed: {done.stderr[-2000:]}")
    return int(json.loads(done.stdout.splitlines()[-1]))


def _read_kib(field: str) -> int:
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise ChiploopError(f"{_STATUS} has no {field}")


def _peak_of(work: Callable[[], object]) -> int:
    """Return by how much two calls raise the peak of this process's resident memory."""
    if not _STATUS.exists():  # not Linux: the peak of the whole process has to do
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        work()
        unit = 1 if sys.platform == "darwin" else _KIB
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    _CLEAR.write_text(_RESET_PEAK, encoding="utf-8")
    before = _read_kib("VmRSS")
    work()
    work()
    return (_read_kib("VmHWM") - before) * _KIB


def main() -> None:
    """Prepare the work, measure it, print the bytes."""
    module, function, arguments = sys.argv[1:]
    prepare = getattr(importlib.import_module(module), function)
    work: Callable[[], object] = prepare(**json.loads(arguments))
    print(_peak_of(work))


if __name__ == "__main__":
    main()
