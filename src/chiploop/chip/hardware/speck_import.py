"""A program read back from the vendor's configuration that it was exported to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from chiploop.chip.dvs import DvsLayer
from chiploop.chip.hardware.speck_config import READOUT_LAYER, SCHEMA, VERSION, Plain
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.errors import ChiploopError, DataError
from chiploop.events.types import SensorShape


def read_speck_config(path: Path) -> Plain:
    """Read a file that `write_speck_config` wrote; DataError when it is none."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict) or (config.get("schema"), config.get("version")) != (SCHEMA, VERSION):
        found = (config.get("schema"), config.get("version")) if isinstance(config, dict) else type(config).__name__
        raise DataError(f"{path} holds {found}, expected {SCHEMA!r} of version {VERSION}")
    return config


def program_from_config(config: Plain) -> Program:
    """Return the program that a configuration was made of, hashes and all; DataError when it describes none.

    Weights, thresholds, shapes, ways and sensor settings are read from the vendor's fields; names, the order of the
    cores, what the host does with the input and hashes from the `program` part beside them.
    """
    try:
        return _program(config)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"this configuration describes no program: {type(error).__name__} {error}") from error
    except ChiploopError as error:
        raise DataError(f"this configuration describes no program: {error}") from error


def _program(config: Plain) -> Program:
    kept, vendor = config["program"], config["configuration"]
    return Program(
        profile_hash=kept["profile_hash"],
        quant_hash=kept["quant_hash"],
        cores=tuple(_core(one, vendor["cnn_layers"][one["core"]]) for one in kept["cores"]),
        input_shape=SensorShape(*kept["input_shape"]),
        inputs=tuple(Target(one["core"], one["pool"], one["shift"]) for one in kept["inputs"]),
        outputs=tuple(kept["outputs"]),
        clock_us=kept["clock_us"],
        dvs=_dvs(config) if vendor["dvs_layer"]["pass_sensor_events"] else None,
    )


def _core(kept: Plain, layer: Plain) -> CoreConfig:
    dimensions, pool = layer["dimensions"], kept["pool"]
    return CoreConfig(
        core=kept["core"],
        layer=kept["layer"],
        weight=_integers(layer["weights"], np.int8).transpose(1, 3, 2, 0),  # [f][c][x][y] as [C, ky, kx, F]
        threshold=layer["threshold_high"],
        floor=layer["threshold_low"],
        reset="zero" if layer["return_to_zero"] else "subtract",
        spikes_per_update="one",
        stride=_both(dimensions["stride"]),
        padding=_both(dimensions["padding"]),
        pool=pool,
        in_shape=_shape(dimensions["input_shape"]),
        neuron_shape=_shape(dimensions["output_shape"]),
        targets=tuple(
            Target(way["layer"], way["pooling"].bit_length() - 1 - pool, way["feature_shift"])
            for way in layer["destinations"]
            if way["enable"] and way["layer"] != READOUT_LAYER
        ),
        bias=_integers(layer["biases"], np.int16) if layer["leak_enable"] else None,
    )


def _dvs(config: Plain) -> DvsLayer:
    layer, kept = config["configuration"]["dvs_layer"], config["program"]
    origin, cut = layer["origin"], layer["cut"]
    return DvsLayer(
        in_shape=SensorShape(*kept["input_shape"]),
        hot_pixels=tuple((pixel["y"], pixel["x"]) for pixel in config["kill_pixels"]),
        merge=layer["merge"],
        pool=_both(layer["pooling"]).bit_length() - 1,
        cut=(origin["y"], origin["x"], cut["y"], cut["x"]) if kept["cut"] else None,
        mirror_x=layer["mirror"]["x"],
        mirror_y=layer["mirror"]["y"],
        mirror_diagonal=layer["mirror_diagonal"],
    )


def _integers(nested: Any, dtype: type[np.signedinteger[Any]]) -> np.ndarray[Any, Any]:
    exact, bounds = np.asarray(nested), np.iinfo(dtype)
    if exact.dtype.kind not in "iu" or exact.min() < bounds.min or exact.max() > bounds.max:
        raise ValueError(f"weights and biases must be integers in {bounds.min}..{bounds.max}")
    return exact.astype(dtype)


def _both(pair: Plain) -> int:
    if pair["x"] != pair["y"]:
        raise ValueError(f"x and y differ: {pair}")
    return int(pair["x"])


def _shape(plain: Plain) -> SensorShape:
    return SensorShape(plain["feature_count"], plain["size"]["y"], plain["size"]["x"])
