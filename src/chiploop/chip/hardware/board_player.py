"""Streams played to a board that carries a program, and what came back in the program's own terms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.device import COUNTER_NAMES, BatchTrace, Counters, Monitor, Trace
from chiploop.chip.dvs import DvsState, apply_dvs
from chiploop.chip.hardware.board_session import Spike
from chiploop.chip.hardware.board_streams import (
    derived_counters,
    input_spikes,
    joined,
    pooled,
    spikes_as_events,
    window_counts,
)
from chiploop.chip.hardware.conversation import Conversation
from chiploop.chip.hardware.readout_spread import Spread
from chiploop.chip.hardware.speck_config import Plain
from chiploop.chip.program import Program
from chiploop.errors import ReadoutError
from chiploop.events.types import Events

US_PER_MS = 1_000


@dataclass(kw_only=True)
class BoardProgram:
    """What a board carries: `here` is the program in the user's terms, `there` the one that lies on the board."""

    here: Program
    there: Program
    spread: Spread | None
    configuration: Plain
    talk: Conversation
    clock_hz: int | None
    dvs_state: DvsState | None
    is_fresh: bool = False  # reset, and no event since
    failed: str = "not reset yet"  # why the states are not known

    @property
    def monitored(self) -> tuple[str, ...]:
        """Layers whose spikes the board reports."""
        layers = self.configuration["cnn_layers"]
        return tuple(core.layer for core in self.there.cores if layers[core.core]["monitor_enable"])

    def potentials(self, layer: str) -> NDArray[np.int16]:
        """Return the potentials of a layer as they are now, int16[F, H, W]."""
        states = self.talk.read_states(self.there.layer(layer).core)
        return states if self.spread is None or layer != self.spread.layer else self.spread.gather(states)

    def all_states(self) -> dict[int, NDArray[np.int16]]:
        """Return every potential on the board, by core."""
        return {core.core: self.talk.read_states(core.core) for core in self.there.cores}


@dataclass(kw_only=True)
class Heard:
    """What a run brought: events `heard` by the cores, `spikes` of each layer whole or by window, and the rest."""

    heard: Events
    spikes: dict[str, list[Events]]
    potentials: dict[str, list[NDArray[np.int16]]]
    metrics: dict[str, float]
    pins: list[tuple[int, int]] = field(default_factory=list)


def play(board: BoardProgram, events: Events, monitor: Monitor) -> Heard:
    """Play a stream, whole or, for potentials of several windows, window by window."""
    metrics = {"stray_messages": 0.0, "other_messages": 0.0}
    heard_by_cores = events
    if board.here.dvs is not None:
        heard_by_cores, n_dropped = apply_dvs(board.here.dvs, events, board.dvs_state)
        metrics["dvs_dropped"] = float(n_dropped)
    heard = Heard(
        heard=heard_by_cores,
        spikes={layer: [] for layer in board.monitored},
        potentials={layer: [] for layer in monitor.potentials},
        metrics=metrics,
    )
    for part in _parts(heard_by_cores, monitor):
        _play_part(board, part, heard)
        n_spikes = len(board.talk.spikes)
        for layer, maps in heard.potentials.items():
            maps.append(board.potentials(layer))
        if (n_late := len(board.talk.spikes) - n_spikes) > 0:
            raise ReadoutError(f"{n_late} spike(s) came while potentials were read, after the board was done; reset it")
    return heard


def trace_of(board: BoardProgram, events: Events, monitor: Monitor, heard: Heard) -> Trace:
    """Return a run as a trace. Counters are derived from the spikes that were reported."""
    program = board.here
    spikes = {layer: joined(pieces, events) for layer, pieces in heard.spikes.items()}
    counted = {layer: window_counts(heard.spikes[layer], monitor) for layer in monitor.counts}
    return Trace(
        outputs={
            program.core(n).layer: pooled(spikes[program.core(n).layer], program.core(n)) for n in program.outputs
        },
        counters=derived_counters(program, heard.heard, spikes),
        span_us=events.duration_us,
        counts={layer: counts for layer, (counts, _) in counted.items()},
        potentials={layer: np.stack(maps) for layer, maps in heard.potentials.items()},
        spikes={layer: spikes[layer] for layer in monitor.spikes},
        lost=sum(lost for _, lost in counted.values()),
        metrics=heard.metrics,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One stream of a batch: its trace, and of the output layer all spikes by address and the last potentials."""

    trace: Trace
    total: NDArray[np.int64]
    final: NDArray[np.int16]


def sample_of(board: BoardProgram, events: Events, monitor: Monitor) -> Sample:
    """Play one stream of a batch."""
    heard = play(board, events, monitor)
    layer = board.here.output_layer
    shape = board.here.layer(layer).neuron_shape
    total = np.zeros(math.prod(shape), np.int64)
    for piece in heard.spikes[layer]:
        flat = np.ravel_multi_index((piece.channel, piece.y, piece.x), tuple(shape))
        total += np.bincount(flat, minlength=len(total))
    final = board.potentials(layer).reshape(-1)
    return Sample(trace=trace_of(board, events, monitor, heard), total=total, final=final)


def batch_of(program: Program, monitor: Monitor, samples: Sequence[Sample]) -> BatchTrace:
    """Return the samples of a batch as one."""
    neurons = math.prod(program.layer(program.output_layer).neuron_shape)

    def stacked(kind: str, layer: str, dtype: type[np.generic]) -> NDArray[np.generic]:
        shape = tuple(program.layer(layer).neuron_shape)
        maps = np.zeros((monitor.n_windows, len(samples), *shape), dtype)
        for i, sample in enumerate(samples):
            maps[:, i] = getattr(sample.trace, kind)[layer]
        return maps

    known = samples[0].trace.counters if samples else {core.layer: Counters() for core in program.cores}
    counters = {
        layer: np.array([[getattr(s.trace.counters[layer], name) for name in COUNTER_NAMES] for s in samples], np.int64)
        for layer in known
    }
    return BatchTrace(
        output_counts=np.array([sample.total for sample in samples], np.int64).reshape(-1, neurons),
        output_potentials=np.array([sample.final for sample in samples], np.int16).reshape(-1, neurons),
        counters={layer: table.reshape(-1, len(COUNTER_NAMES)) for layer, table in counters.items()},
        counts={layer: stacked("counts", layer, np.uint16) for layer in monitor.counts},  # type: ignore[misc]
        potentials={layer: stacked("potentials", layer, np.int16) for layer in monitor.potentials},  # type: ignore[misc]
        lost=np.array([sample.trace.lost for sample in samples], np.int64),
    )


def _parts(events: Events, monitor: Monitor) -> Iterator[Events]:
    """Yield the stream whole, or cut at the edges where potentials are to be read between."""
    if not monitor.potentials or monitor.n_windows == 1:
        yield events
        return
    for start, stop in pairwise(monitor.window_edges_us):
        first, last = np.searchsorted(events.t_us, (start, stop))
        t, channel, y, x = (column[first:last] for column in (events.t_us, events.channel, events.y, events.x))
        yield Events.from_columns(t, channel, y, x, events.shape, start_us=start, stop_us=stop)


def _play_part(board: BoardProgram, part: Events, heard: Heard) -> None:
    talk = board.talk
    heard.metrics["stray_messages"] += talk.begin()
    if board.clock_hz is not None:
        lasts_us = part.duration_us  # the clock ticks on after the last event
    else:
        lasts_us = int(part.t_us[-1]) - part.start_us if len(part) else 0
    orders = input_spikes(board.there, part)
    talk.play(orders, lasts_ms=-(-lasts_us // US_PER_MS), slow_clock_hz=board.clock_hz)
    heard.metrics["other_messages"] += talk.n_other
    heard.pins.extend((part.start_us + pin.t_us, pin.channel - 1) for pin in talk.pins)
    for layer, pieces in heard.spikes.items():
        core = board.there.layer(layer).core
        spikes = [spike for spike in talk.spikes if spike.core == core]
        if board.spread is not None and layer == board.spread.layer:
            spikes = [_gathered(spike, board.spread) for spike in spikes]
        pieces.append(spikes_as_events(spikes, board.here.layer(layer).neuron_shape, part=part))


def _gathered(spike: Spike, spread: Spread) -> Spike:
    found = spread.class_of(spike.channel)
    if found is None:
        raise ReadoutError(f"{spike}: this channel of the output core has no weights and cannot spike; reset the board")
    return spike._replace(channel=found)
