"""A recipe as TOML with every default spelled out; reading it back gives an equal recipe."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from chiploop.recipes.recipe import Recipe

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(recipe: Recipe) -> str:
    """Return the resolved recipe; what is absent stands there as a comment, since TOML has no null.

    >>> from chiploop.recipes.recipe import read_recipe
    >>> [line for line in to_toml(read_recipe("demo")).splitlines() if "bits" in line]
    ['bits = 8', 'accelerator_bits = 16']
    """
    return "\n".join(_lines(recipe.model_dump(), ())).strip() + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield a table's own values first, then its tables, as TOML wants it."""
    if path and not all(isinstance(value, Mapping) for value in table.values()):
        yield f"\n[{'.'.join(_key(part) for part in path)}]"
    for name, value in table.items():
        if value is None:
            yield f"# {_key(name)} is absent"
        elif not isinstance(value, Mapping):
            yield f"{_key(name)} = {_value(value)}"
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _lines(value, (*path, name))


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf and nan are spelt alike in both
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _text(text: str) -> str:
    """TOML's basic strings are JSON's, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
