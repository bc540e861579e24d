"""A program as the vendor's configuration: plain data to fill samna's objects with, and a JSON file of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chiploop import atomic
from chiploop.chip.hardware.board_limits import require_board, slow_clock_hz
from chiploop.chip.profile import ChipProfile
from chiploop.chip.program import CoreConfig, Program
from chiploop.chip.readout import Readout
from chiploop.errors import DeviceError, nearest

SCHEMA, VERSION = "chiploop.speck-config", 1
N_DESTINATIONS = 2
READOUT_LAYER = 12
"""Number under which cores reach the readout layer."""
ADDRESS_1X1X16 = 3
"""The readout's mode that takes one pixel of sixteen channels (Speck development kit datasheet, table 5)."""
UNITS = {
    "weights, biases, neurons_initial_value, threshold_high, threshold_low": "units of the neuron state (integers)",
    "sizes, cut, origin, padding, stride, kernel_size": "pixels",
    "pooling": "side of the window, pixels",
    "feature_shift": "channels",
    "readout.threshold": "spikes a tick of the slow clock",
    "slow_clock_hz": "Hz",
    "clock_us": "us",
}

Plain = dict[str, Any]
"""JSON-able data: dicts, lists, integers, booleans, text."""


def speck_config(
    program: Program,
    profile: ChipProfile,
    *,
    monitor: Sequence[str] | None = None,
    readout: Readout | None = None,
) -> Plain:
    """Return the vendor's configuration of a program, and beside it what that cannot hold.

    `configuration` has the fields of samna's `SpeckConfiguration`: `cnn_layers` by core number (an unused core is
    empty: the vendor's defaults), `dvs_layer`, `dvs_filter`, `readout`. Weights stand as [f][c][x][y], initial states
    (zero) as [f][x][y]. Pooling belongs to the way between two cores: 2^(core.pool + target.pool). A `dvs` layer of
    the program becomes the settings of the board's own sensor. `program` keeps names, order and hashes, so that
    `program_from_config` gives the program back; `kill_pixels` are hot pixels, which the board takes as events.

    `monitor` names the layers whose spikes are reported (None: all). `readout` turns on the chip's readout layer behind
    the output core, whose channels must have been spread (`spread_readout`). Raises DeviceError that lists everything
    the board cannot do.
    """
    require_board(program, profile, readout=readout)
    layers = [core.layer for core in program.cores]
    monitored = layers if monitor is None else list(monitor)
    for name in monitored:
        if name not in layers:
            raise DeviceError(f"monitor names {name!r}, which the program lacks: {nearest(name, layers)}")
    cnn_layers: list[Plain] = [{} for _ in profile.cores]
    for core in program.cores:
        reads = readout is not None and core.core in program.outputs
        cnn_layers[core.core] = _core(core, monitored=core.layer in monitored, reads=reads)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "units": UNITS,
        "chip": {"name": profile.name, "revision": profile.revision},
        "slow_clock_hz": slow_clock_hz(program, readout),
        "kill_pixels": [{"x": x, "y": y} for y, x in (program.dvs.hot_pixels if program.dvs else ())],
        "program": _bookkeeping(program),
        "configuration": {
            "dvs_layer": _dvs_layer(program),
            "dvs_filter": {"enable": False},
            "cnn_layers": cnn_layers,
            "readout": {"enable": False} if readout is None else _readout(readout),
        },
    }


def write_speck_config(path: Path, program: Program, profile: ChipProfile, *, readout: Readout | None = None) -> None:
    """Write a program's configuration as JSON, atomically; the same program gives the same bytes."""
    config = speck_config(program, profile, readout=readout)
    atomic.write_text(path, json.dumps(config, indent=1, sort_keys=True) + "\n")


def speck_notes(program: Program) -> list[str]:
    """Return what the vendor's configuration of a program does not say, a line each: what is left to the host."""
    notes = ["written from the vendor's documents, never tried on a board by this project"]
    if program.dvs is None:
        notes.append("the sensor is shut off: events come from the host, as spikes to the first cores")
    elif program.dvs.hot_pixels:
        notes.append(f"kill_pixels: send the board a KillSensorPixel event for each of {len(program.dvs.hot_pixels)}")
    changed = [target for target in program.inputs if target.pool or target.shift]
    notes += [
        f"core {t.core} hears the input pooled by {1 << t.pool}, channels + {t.shift}: by the host" for t in changed
    ]
    rate = slow_clock_hz(program)
    if rate is not None:
        notes.append(f"slow_clock_hz: start the board's slow clock at {rate} Hz, its phase is not part of this")
    for core in (program.core(number) for number in program.outputs):
        if core.pool:
            notes.append(
                f"layer {core.layer!r} is pooled by {1 << core.pool} after its neurons: the board reports before"
            )
    return notes


def _core(core: CoreConfig, *, monitored: bool, reads: bool) -> Plain:
    destinations = [
        _destination(target.core, pooling=1 << (core.pool + target.pool), shift=target.shift) for target in core.targets
    ]
    if reads:
        destinations.append(_destination(READOUT_LAYER, pooling=1 << core.pool))
    features, height, width = core.neuron_shape
    return {
        "dimensions": {
            "input_shape": _shape(core.in_shape),
            "output_shape": _shape(core.neuron_shape),
            "kernel_size": core.weight.shape[1],
            "stride": _pair(core.stride, core.stride),
            "padding": _pair(core.padding, core.padding),
        },
        "weights": core.weight.transpose(3, 0, 2, 1).tolist(),  # [C, ky, kx, F] as [f][c][x][y]
        "biases": [0] * features if core.bias is None else core.bias.tolist(),
        "leak_enable": core.bias is not None,
        "leak_internal_slow_clk_enable": False,  # the board's clock, not one divided from the sensor's events
        "threshold_high": core.threshold,
        "threshold_low": core.floor,
        "return_to_zero": core.reset == "zero",
        "neurons_initial_value": np.zeros((features, width, height), np.int16).tolist(),
        "input_congestion_balancer_enable": False,  # or a busy core drops events
        "output_decimator_enable": False,
        "monitor_enable": monitored,
        "destinations": _filled(destinations),
    }


def _destination(core: int, *, pooling: int = 1, shift: int = 0) -> Plain:
    return {"enable": True, "layer": core, "pooling": pooling, "feature_shift": shift}


def _filled(destinations: list[Plain]) -> list[Plain]:
    """Return both slots of a list of destinations; one that is not used is turned off."""
    off = [{**_destination(0), "enable": False} for _ in range(N_DESTINATIONS - len(destinations))]
    return [*destinations, *off]


def _dvs_layer(program: Program) -> Plain:
    """Return the sensor layer's settings; without a `dvs` layer the sensor is shut off, events come from the host."""
    dvs = program.dvs
    if dvs is None:
        off = [{"enable": False, "layer": 0} for _ in range(N_DESTINATIONS)]
        return {"pass_sensor_events": False, "monitor_enable": False, "destinations": off}
    _, height, width = dvs.in_shape
    side = 1 << dvs.pool
    top, left, bottom, right = dvs.cut or (0, 0, height // side - 1, width // side - 1)
    links = [{"enable": True, "layer": target.core} for target in program.inputs]
    return {
        "pass_sensor_events": True,
        "monitor_enable": False,
        "on_channel": True,
        "off_channel": True,
        "merge": dvs.merge,
        "pooling": _pair(side, side),
        "origin": _pair(left, top),
        "cut": _pair(right, bottom),  # inclusive
        "mirror": {"x": dvs.mirror_x, "y": dvs.mirror_y},
        "mirror_diagonal": dvs.mirror_diagonal,
        "destinations": [*links, *({"enable": False, "layer": 0} for _ in range(N_DESTINATIONS - len(links)))],
    }


def _readout(readout: Readout) -> Plain:
    return {
        "enable": True,
        "internal_slow_clk": False,
        "readout_configuration_sel": ADDRESS_1X1X16,
        "low_pass_filter_disable": readout.average == 1,
        "low_pass_filter32_not16": readout.average == 32,
        "threshold": int(readout.threshold),
        "readout_pin_monitor_enable": True,
        "monitor_enable": False,
    }


def _bookkeeping(program: Program) -> Plain:
    """Return what the vendor's configuration has no field for."""
    dvs = program.dvs
    return {
        "profile_hash": program.profile_hash,
        "quant_hash": program.quant_hash,
        "input_shape": list(program.input_shape),
        "inputs": [{"core": t.core, "pool": t.pool, "shift": t.shift} for t in program.inputs],
        "outputs": list(program.outputs),
        "clock_us": program.clock_us,
        "cores": [{"core": core.core, "layer": core.layer, "pool": core.pool} for core in program.cores],
        "cut": dvs is not None and dvs.cut is not None,
    }


def _shape(shape: Sequence[int]) -> Plain:
    channels, height, width = shape
    return {"feature_count": channels, "size": _pair(width, height)}


def _pair(x: int, y: int) -> Plain:
    return {"x": x, "y": y}
