"""A program as a NumPy archive: arrays by name, and one JSON text that says what they are."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop import atomic
from chiploop.chip.dvs import DvsLayer, NoiseFilter
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.errors import ChiploopError, DataError
from chiploop.events.types import SensorShape

FORMAT = "chiploop program"
SCHEMA = 1
ARRAYS = {"weight": "int8[in_channels, kernel_height, kernel_width, channels]", "bias": "int16[channels]"}
ARRAYS |= {"thresholds": "int32[channels, height, width]; 32768 never fires"}


def write_program_npz(path: Path, program: Program) -> list[str]:
    """Write a program as an archive that `numpy.load(path, allow_pickle=False)` opens; returns the lines to be told.

    The array `description` is JSON: shapes, thresholds, targets and all other numbers, with the names of the arrays
    (`core0.weight`, `core0.bias`, ...), cores in the order of data flow. The same program gives the same bytes.
    """
    arrays: dict[str, NDArray[Any]] = {}
    described = {
        "format": FORMAT,
        "schema": SCHEMA,
        "digest": program.digest,
        "arrays": ARRAYS,
        "profile_hash": program.profile_hash,
        "quant_hash": program.quant_hash,
        "input_shape": list(program.input_shape),
        "inputs": _targets(program.inputs),
        "outputs": list(program.outputs),
        "clock_us": program.clock_us,
        "dvs": None if program.dvs is None else _dvs(program.dvs),
        "cores": [_core(core, f"core{place}", arrays) for place, core in enumerate(program.cores)],
    }
    content = io.BytesIO()
    np.savez_compressed(content, description=np.array(json.dumps(described, indent=1)), **arrays)  # type: ignore[arg-type]
    atomic.write_bytes(path, content.getvalue())
    size = sum(core.weight.size for core in program.cores)
    return [f"{len(program.cores)} cores, {size} weights of 8 bits; the array 'description' says what each array is"]


def read_program_npz(path: Path) -> Program:
    """Read a program; it equals, by digest, the one that was written.

    Raises DataError that names the file when it is damaged, holds something else or describes an impossible program.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        described = json.loads(str(arrays.pop("description")))
        if (described["format"], described["schema"]) != (FORMAT, SCHEMA):
            raise DataError(
                f"{path} holds a {described['format']!r} of schema {described['schema']}, expected {SCHEMA}"
            )
        program = _read(described, arrays)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a program, or is damaged: {error}") from error
    except DataError:
        raise
    except ChiploopError as error:
        raise DataError(f"{path}: {error}") from error
    if program.digest != described["digest"]:
        raise DataError(f"{path} is damaged: its content does not have the digest that it was written with")
    return program


def _core(core: CoreConfig, name: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "core": core.core,
        "layer": core.layer,
        "in_shape": list(core.in_shape),
        "neuron_shape": list(core.neuron_shape),
        "targets": _targets(core.targets),
    }
    for scalar in _SCALARS:
        fields[scalar] = getattr(core, scalar)
    for array in ARRAYS:
        value = getattr(core, array)
        fields[array] = None if value is None else f"{name}.{array}"
        if value is not None:
            arrays[f"{name}.{array}"] = value
    return fields


_SCALARS = ("threshold", "floor", "reset", "spikes_per_update", "stride", "padding", "pool", "tau_us", "state_bits")


def _targets(targets: tuple[Target, ...]) -> list[dict[str, int]]:
    return [{"core": target.core, "pool": target.pool, "shift": target.shift} for target in targets]


def _dvs(dvs: DvsLayer) -> dict[str, Any]:
    return {
        "in_shape": list(dvs.in_shape),
        "hot_pixels": [list(pixel) for pixel in dvs.hot_pixels],
        "noise_window_us": None if dvs.noise is None else dvs.noise.window_us,
        "cut": None if dvs.cut is None else list(dvs.cut),
        **{name: getattr(dvs, name) for name in _DVS_SCALARS},
    }


_DVS_SCALARS = ("merge", "pool", "mirror_x", "mirror_y", "mirror_diagonal")


def _read(described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Program:
    dvs = described["dvs"]
    return Program(
        profile_hash=described["profile_hash"],
        quant_hash=described["quant_hash"],
        cores=tuple(_read_core(core, arrays) for core in described["cores"]),
        input_shape=SensorShape(*described["input_shape"]),
        inputs=tuple(Target(**target) for target in described["inputs"]),
        outputs=tuple(described["outputs"]),
        clock_us=described["clock_us"],
        dvs=None if dvs is None else _read_dvs(dvs),
    )


def _read_core(core: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> CoreConfig:
    fields: dict[str, Any] = {name: core[name] for name in ("core", "layer", *_SCALARS)}
    fields |= {name: None if core[name] is None else arrays[core[name]] for name in ARRAYS}
    fields |= {name: SensorShape(*core[name]) for name in ("in_shape", "neuron_shape")}
    return CoreConfig(targets=tuple(Target(**target) for target in core["targets"]), **fields)


def _read_dvs(dvs: dict[str, Any]) -> DvsLayer:
    window_us = dvs["noise_window_us"]
    return DvsLayer(
        in_shape=SensorShape(*dvs["in_shape"]),
        hot_pixels=tuple((y, x) for y, x in dvs["hot_pixels"]),
        noise=None if window_us is None else NoiseFilter(window_us=window_us),
        cut=None if dvs["cut"] is None else tuple(dvs["cut"]),
        **{name: dvs[name] for name in _DVS_SCALARS},
    )
