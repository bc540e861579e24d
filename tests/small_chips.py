"""Small programs for cases that are worked by hand, and runs of them on the oracle."""

from __future__ import annotations

import numpy as np

from chiploop.chip.device import Monitor, Trace
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.oracle_timed import TimedOracle
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.chip.timing import Timing
from chiploop.events.types import Events, SensorShape
from strategies_chip import one_core


def core(number: int, weight: object, in_shape: tuple[int, int, int] = (1, 1, 1), **fields: object) -> CoreConfig:
    """Return a core whose layer is named for its number; a weight given as a list is one a channel, of one neuron."""
    table = np.asarray(weight, np.int8)
    table = table.reshape(-1, 1, 1, 1) if table.ndim < 4 else table
    return one_core(table, in_shape, core=number, layer=f"L{number}", **fields)


def relay(number: int, *targets: Target, in_shape: tuple[int, int, int] = (1, 1, 1), **fields: object) -> CoreConfig:
    """Return a core that sends every event on: channel by channel, place by place."""
    weight = 9 * np.eye(in_shape[0], dtype=np.int8).reshape(in_shape[0], 1, 1, in_shape[0])
    return core(number, weight, in_shape, threshold=9, targets=targets, **fields)


def graph(*cores: CoreConfig, inputs: tuple[Target, ...], outputs: tuple[int, ...], **fields: object) -> Program:
    """Return a program, of a one-pixel sensor unless another shape is given."""
    given = {"input_shape": SensorShape(1, 1, 1), "profile_hash": "", "quant_hash": "", **fields}
    return Program(cores=cores, inputs=inputs, outputs=outputs, **given)


def run(program: Program, events: Events, *edges: int, spikes: bool = True) -> Trace:
    """Run on a fresh oracle, with all that can be seen."""
    layers = tuple(c.layer for c in program.cores)
    seen = layers if edges else ()
    device = OracleDevice()
    device.load(program)
    return device.run(
        events, monitor=Monitor(counts=seen, potentials=seen, spikes=layers if spikes else (), window_edges_us=edges)
    )


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    """Return (time, channel, y, x) of every event."""
    return list(zip(*(c.tolist() for c in (events.t_us, events.channel, events.y, events.x)), strict=True))


def on_channels(times: list[int], channels: list[int], n: int) -> Events:
    """Return events of a sensor of one pixel and n channels."""
    zeros = [0] * len(times)
    return Events.from_columns(times, channels, zeros, zeros, SensorShape(n, 1, 1))


def timing(
    event_ns: int = 0, synop_ns: int = 0, hop_ns: int = 0, *, depth: int | None = None, drop: bool = False
) -> Timing:
    """Return constants of time, all 0 but for those given."""
    return Timing(
        event_ns=event_ns, synop_ns=synop_ns, hop_ns=hop_ns, fifo_depth=depth, overflow="drop" if drop else "stall"
    )


def timed(program: Program, constants: Timing, events: Events, *edges: int) -> Trace:
    """Run on a fresh device, with all that can be seen."""
    layers = tuple(c.layer for c in program.cores)
    seen = layers if edges else ()
    device = TimedOracle(constants)
    device.load(program)
    return device.run(events, monitor=Monitor(counts=seen, potentials=seen, spikes=layers, window_edges_us=edges))


def left_ns(trace: Trace, layer: str = "layer0") -> list[int]:
    """Return when each output event left."""
    return trace.timing.output_ns[layer].tolist()


def latency_ns(trace: Trace, layer: str = "layer0") -> list[int]:
    """Return how long each output event took."""
    return trace.timing.latency_ns[layer].tolist()
