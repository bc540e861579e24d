"""What is wrong with a recipe, in one line that a user can act on."""

from __future__ import annotations

import json
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from chiploop.errors import nearest


def explain(error: ValidationError, plain: dict[str, Any], root: type[BaseModel]) -> str:
    """Return pydantic's findings on a recipe (`plain`, meant to be a `root`) as clauses: where, what, and the cure."""
    parts = []
    for one in error.errors(include_url=False):
        where = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            parts.append(f"unknown key {where!r}: {nearest(str(one['loc'][-1]), _keys_at(root, one['loc'][:-1]))}")
        elif one["type"] == "missing":
            parts.append(_explain_missing(one["loc"], where, _rows(plain)))
        elif one["type"] == "value_error":
            parts.append(str(one["ctx"]["error"]))
        else:
            shown = json.dumps(one["input"], default=str)
            parts.append(f"{where}: {one['msg'][0].lower()}{one['msg'][1:]} (it is {shown})" if where else one["msg"])
    return "; ".join(parts)


def _rows(plain: dict[str, Any]) -> list[str]:
    learn = plain.get("learn")
    return list(learn) if isinstance(learn, dict) else []


def _explain_missing(location: tuple[int | str, ...], where: str, rows: list[str]) -> str:
    """Name what is missing; a row without a method may be a row with a mistyped name."""
    others = [row for row in rows if row not in location]
    if location[0] == "learn" and len(location) > 1 and others:
        row = str(location[1])
        return f"{where!r} is missing; if {row!r} is not meant to be a new row: {nearest(row, others)}"
    return f"key {where!r} is missing"


def _keys_at(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a table of the recipe knows."""
    table = root
    for part in location:
        field = table.model_fields.get(str(part))
        if field is None:  # the name of a row under `learn`
            continue
        hints = (field.annotation, *get_args(field.annotation))
        models = [hint for hint in hints if isinstance(hint, type) and issubclass(hint, BaseModel)]
        if not models:
            return list(table.model_fields)
        table = models[0]
    return list(table.model_fields)
