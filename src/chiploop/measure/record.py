"""The record of a run: all that a report needs, as one JSON file that is never changed afterwards."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chiploop import atomic
from chiploop.digest import digest
from chiploop.errors import DataError
from chiploop.measure.figure import Figure, plain_data
from chiploop.measure.metric import Metric

SCHEMA = 1
FILE_NAME = "record.json"
VERSIONED = ("chiploop", "numpy", "torch", "pydantic", "matplotlib")
_SHORT = 8  # hexadecimal digits of a hash that people read

_frozen = ConfigDict(frozen=True, extra="forbid")


class Code(BaseModel):
    """The code that ran: the commit, and whether the tree differed from it; None where there is no git."""

    model_config = _frozen
    commit: str | None = None
    dirty: bool | None = None


class Host(BaseModel):
    """The machine, by what matters for times; never its name or its folders."""

    model_config = _frozen
    cpu: str
    cores: Annotated[int, Field(ge=1)]


class StageRecord(BaseModel):
    """One stage that ran: its time, what it made, by content digest, and in how many processes it ran."""

    model_config = _frozen
    name: str
    method: str | None = None
    seconds: Annotated[float, Field(ge=0)]
    artefacts: dict[str, str] = Field(default_factory=dict)
    processes: Annotated[int, Field(ge=1)] = 1


class RunRecord(BaseModel):
    """What happened in one run with one seed. Append-only: a later stage writes a further record."""

    model_config = _frozen
    id: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    recipe: dict[str, Any]
    recipe_hash: str
    seed: int
    code: Code = Code()
    versions: dict[str, str] = Field(default_factory=dict)
    host: Host
    stages: tuple[StageRecord, ...] = ()
    metrics: tuple[Metric, ...] = ()
    figures: tuple[Figure, ...] = ()
    created_utc: str = ""
    command: str = ""
    schema_: Annotated[int, Field(alias="schema")] = SCHEMA

    @field_validator("recipe", mode="before")
    @classmethod
    def _as_json_has_it(cls, recipe: dict[str, Any]) -> Any:
        return plain_data(_spell_infinities(recipe), "recipe")

    @property
    def experiment(self) -> str:
        """Digest of the recipe without seed, name and notes: runs that differ in the seed alone share it."""
        return digest({key: value for key, value in self.recipe.items() if key not in ("seed", "name", "notes")})

    @property
    def name(self) -> str:
        """The recipe's name, or the short hash of a recipe without one."""
        return str(self.recipe.get("name") or self.recipe_hash[:_SHORT])

    def to_json(self) -> str:
        """Return the file content; equal records give equal text."""
        plain = self.model_dump(mode="json", by_alias=True)
        plain["metrics"] = [metric.to_dict() for metric in self.metrics]
        for stage in plain["stages"]:
            if stage["processes"] == 1:  # as in all records of one process: nothing to say
                del stage["processes"]
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {_lines(value)}" for key, value in plain.items()) + "\n}\n"


def write_record(folder: Path, record: RunRecord) -> Path:
    """Write a record into a run's folder and return its path; what is there already stays as it is.

    The first record of a folder is record.json, later ones record-2.json, record-3.json, ...
    """
    number = 1
    while (path := folder / _file_name(number)).exists():
        if read_record(path).id == record.id:
            raise DataError(f"{path} holds record {record.id!r} already; records are never changed, give a new id")
        number += 1
    atomic.write_text(path, record.to_json())
    return path


def read_record(path: Path) -> RunRecord:
    """Read one record; raises DataError that names the file when it is damaged or of a later schema."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # JSON and UTF-8 errors alike
        raise DataError(f"{path} is damaged, not JSON: {error}") from error
    found = plain.get("schema") if isinstance(plain, dict) else None
    if not isinstance(found, int) or not 1 <= found <= SCHEMA:
        raise DataError(f"{path}: record schema is {found!r}, this version reads 1 to {SCHEMA}; update chiploop")
    try:
        return RunRecord.model_validate(plain)
    except (ValidationError, DataError) as error:
        raise DataError(f"{path} is no valid record: {_one_line(error)}") from error


def read_records(folder: Path) -> list[RunRecord]:
    """Read every record below a folder, oldest first; raises DataError that names all damaged files.

    The same record found twice (a copied folder) counts once; one id with two contents is an error.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that the runs were written to")
    found: dict[str, tuple[RunRecord, Path]] = {}
    faults: list[str] = []
    for path in sorted(p for pattern in (FILE_NAME, "record-*.json") for p in folder.rglob(pattern)):
        try:
            record = read_record(path)
        except DataError as error:
            faults.append(str(error))
            continue
        other, first = found.setdefault(record.id, (record, path))
        if other != record:
            faults.append(f"{path} and {first} share the id {record.id!r} but differ")
    if faults:
        raise DataError(f"{len(faults)} of the records below {folder} cannot be used: " + "; ".join(faults))
    return sorted((record for record, _ in found.values()), key=lambda record: record.created_utc)


def new_record(
    recipe: dict[str, Any],
    recipe_hash: str,
    seed: int,
    *,
    stages: Sequence[StageRecord] = (),
    metrics: Sequence[Metric] = (),
    figures: Sequence[Figure] = (),
    command: str = "",
) -> RunRecord:
    """Return a record of a run that ends now, on this machine, with this code; the id holds time, recipe and seed."""
    now = datetime.now(timezone.utc)
    return RunRecord(
        id=f"{now:%Y%m%dT%H%M%S%f}-{recipe_hash[:_SHORT]}-s{seed}",
        recipe=recipe,
        recipe_hash=recipe_hash,
        seed=seed,
        code=read_code(),
        versions=read_versions(),
        host=read_host(),
        stages=tuple(stages),
        metrics=tuple(metrics),
        figures=tuple(figures),
        created_utc=now.isoformat(timespec="microseconds"),
        command=command,
    )


def without_folders(argument: str) -> str:
    """Return a command's argument with an absolute path cut to its last name: a record names no machine's folders.

    >>> without_folders("/folder/data"), without_folders("--out=/folder/run"), without_folders("seed=1")
    ('data', '--out=run', 'seed=1')
    """
    key, sign, value = argument.rpartition("=")
    return f"{key}{sign}{Path(value).name}" if Path(value).is_absolute() else argument


def read_host() -> Host:
    """Return the processor's model and the cores this process may use."""
    cpu = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass  # not Linux: the standard library's answer has to do
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Host(cpu=cpu or platform.processor() or platform.machine() or "unknown", cores=cores)


def read_code(folder: Path | None = None) -> Code:
    """Return the commit of the source tree and whether it was changed since; empty outside a git checkout."""
    where = folder or Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(("git", "-C", str(where), *arguments), capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None or git("ls-files", "--error-unmatch", Path(__file__).name if folder is None else ".") is None:
        return Code()  # an installed copy inside someone else's repository is not that repository's code
    return Code(commit=commit, dirty=bool(git("status", "--porcelain", "--untracked-files=no")))


def read_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of what the numbers rest on, from the packages' metadata: nothing is imported."""
    found = {"python": platform.python_version()}
    for package in (*VERSIONED, *more):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _lines(value: Any) -> str:
    """JSON with one item of a list a line: a person can read a record, and a difference shows what differs."""
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(_compact(item) for item in value) + "\n]"
    return _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _spell_infinities(value: Any) -> Any:
    """A recipe may hold inf (TOML has it, JSON has not): the record keeps the word."""
    if isinstance(value, dict):
        return {key: _spell_infinities(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spell_infinities(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _file_name(number: int) -> str:
    return FILE_NAME if number == 1 else f"record-{number}.json"


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
    return str(error)
