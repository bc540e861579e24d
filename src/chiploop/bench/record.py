"""The record of a benchmark: what was measured, on which machine, with which code; never changed afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chiploop import atomic
from chiploop.bench.benchmark import Aim, BenchOptions, Outcome, Row
from chiploop.errors import DataError
from chiploop.measure.record import Code, Host, read_code, read_host, read_versions

SCHEMA = 1
PREFIX = "bench-"

_frozen = ConfigDict(frozen=True, extra="forbid")


class BenchRecord(BaseModel):
    """One benchmark, run once."""

    model_config = _frozen
    benchmark: Annotated[str, Field(min_length=1)]
    command: str = ""
    options: dict[str, Any]
    rows: tuple[Row, ...]
    aims: tuple[Aim, ...] = ()
    notes: tuple[str, ...] = ()
    code: Code = Code()
    versions: dict[str, str] = Field(default_factory=dict)
    host: Host
    created_utc: str = ""
    schema_: Annotated[int, Field(alias="schema")] = SCHEMA

    def to_json(self) -> str:
        """Return the file content, one row a line."""
        plain = self.model_dump(mode="json", by_alias=True)
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {_lines(value)}" for key, value in plain.items()) + "\n}\n"


def new_bench_record(
    name: str, options: BenchOptions, outcome: Outcome, *, command: str = "", peers: Sequence[str] = ()
) -> BenchRecord:
    """Return the record of a benchmark that ends now; raises DataError where a value is no number."""
    for row in outcome.rows:
        if not row.values or not all(math.isfinite(value) for value in row.values):
            raise DataError(f"benchmark {name!r}: {row.who}, {row.what!r} gave {row.values}: no number")
    asked = dataclasses.asdict(options)
    del asked["root"]  # a record names no machine's folders
    return BenchRecord(
        benchmark=name,
        command=command,
        options=asked,
        rows=outcome.rows,
        aims=outcome.aims,
        notes=outcome.notes,
        code=read_code(),
        versions=read_versions(peers),
        host=read_host(),
        created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def write_bench_record(folder: Path, record: BenchRecord) -> Path:
    """Write bench-<name>-<time>.json into a folder, and return its path."""
    stamp = record.created_utc[:19].replace("-", "").replace(":", "")
    path = folder / f"{PREFIX}{record.benchmark}-{stamp}.json"
    atomic.write_text(path, record.to_json())
    return path


def read_bench_records(folder: Path) -> list[BenchRecord]:
    """Read every benchmark's record below a folder, oldest first; raises DataError that names a damaged file."""
    found = []
    for path in sorted(folder.rglob(f"{PREFIX}*.json")):
        try:
            found.append(BenchRecord.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError) as error:
            raise DataError(f"{path} is no valid record of a benchmark: {error}") from error
    return sorted(found, key=lambda record: record.created_utc)


def _lines(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(json.dumps(item, allow_nan=False, ensure_ascii=False) for item in value) + "\n]"
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
