"""The way to the compiled core: programs and streams as it takes them, arrays as it gives them."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.decay import decay_factors
from chiploop.chip.dvs import DvsState, apply_dvs
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.errors import DeviceError
from chiploop.events.types import Events

if TYPE_CHECKING:
    from chiploop import _core

WIDE_BITS = 32
SUM_THREADS = 2
"""Threads that add up counts: memory is what they wait for, and two keep it busy."""


def import_core() -> ModuleType:
    """Return the compiled module; DeviceError that says how to build it where it is missing."""
    try:
        from chiploop import _core
    except ImportError as error:
        raise DeviceError(
            "the compiled core chiploop._core is missing: build it with "
            "'pip install scikit-build-core nanobind cmake ninja && pip install --no-build-isolation -e .' "
            f"in the project's folder, or use the slow device 'oracle' ({error})"
        ) from error
    return _core


def core_arguments(core: CoreConfig) -> _core.CoreArguments:
    """Return one core of a program as the compiled core takes it."""
    return (
        core.weight,
        core.threshold,
        core.floor,
        core.reset == "zero",
        core.spikes_per_update == "all",
        core.stride,
        core.padding,
        core.pool,
        core.in_shape,
        core.neuron_shape,
        core.bias,
        None if core.thresholds is None else np.ascontiguousarray(core.thresholds.transpose(1, 2, 0)),
        None if core.tau_us is None else decay_factors(core.tau_us),
        core.state_bits == WIDE_BITS,
    )


def wiring(program: Program) -> dict[str, Any]:
    """Return a program's ways and clock as the compiled core takes them: cores by their position in the list."""
    place = {core.core: i for i, core in enumerate(program.cores)}

    def links(targets: tuple[Target, ...]) -> list[_core.Link]:
        return [(place[target.core], target.pool, target.shift) for target in targets]

    return {
        "inputs": links(program.inputs),
        "targets": [links(core.targets) for core in program.cores],
        "outputs": [core.core in program.outputs for core in program.cores],
        "answers": place[program.outputs[0]],
        "clock_us": program.clock_us or 0,
    }


def heard_events(program: Program, events: Events, state: DvsState | None) -> tuple[Events, int]:
    """Return what leaves the DVS layer for the cores, and how many events it dropped."""
    return (events, 0) if program.dvs is None else apply_dvs(program.dvs, events, state)


def stream_columns(events: Events) -> _core.Stream:
    """Return a stream as the compiled core takes it."""
    return events.t_us, events.channel, events.y, events.x, events.start_us, events.stop_us


def flat_maps(maps: NDArray[Any]) -> NDArray[Any]:
    """Return [B, H, W, F] as [B, F * H * W], channel slowest."""
    batch, height, width, channels = maps.shape
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2)).reshape(batch, channels * height * width)


def sum_streams(counts: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return the sum of each stream's counts, [T, B, C, H, W] to [B]: in the core where memory lies as it writes it."""
    windows, batch = counts.shape[:2]
    written = counts.transpose(0, 1, 3, 4, 2)
    if counts.dtype == np.uint16 and written.flags.c_contiguous and counts.size:
        try:
            core = import_core()
        except DeviceError:
            pass  # the long way, then
        else:
            return np.array(core.sum_streams(written.reshape(windows, batch, -1), SUM_THREADS), np.int64)
    return np.asarray(counts.sum(axis=(0, 2, 3, 4), dtype=np.int64))
