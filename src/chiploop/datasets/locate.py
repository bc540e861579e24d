"""Where data lie: one rule for the root, one message for what is missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from chiploop.errors import MissingDataError

DATA_VARIABLE = "CHIPLOOP_DATA"


def resolve_root(root: Path | str | None = None) -> Path:
    """Return the data root: the option, else the variable CHIPLOOP_DATA, else the user's cache directory."""
    if root is not None:
        return Path(root).expanduser()
    if os.environ.get(DATA_VARIABLE):
        return Path(os.environ[DATA_VARIABLE]).expanduser()
    return cache_directory() / "data"


def cache_directory() -> Path:
    """Return the user's cache directory (XDG_CACHE_HOME, else ~/.cache) for chiploop; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chiploop"


def require_files(root: Path, names: Sequence[str], *, data_set: str, published: str) -> list[Path]:
    """Return the paths of files that must exist below the root; each name may exist as it is or with .gz.

    Raises MissingDataError that lists every missing file and says where the data set is published.
    """
    found, missing = [], []
    for name in names:
        candidates = [root / name, root / f"{name}.gz"]
        there = [path for path in candidates if path.is_file()]
        found.extend(there[:1])
        missing.extend([] if there else [name])
    if missing:
        raise MissingDataError(
            f"{data_set}: not found under {root}: {', '.join(missing)} (each may also be gzipped, .gz). {published} "
            f"Put them there, or name another folder with --data or {DATA_VARIABLE}."
        )
    return found
