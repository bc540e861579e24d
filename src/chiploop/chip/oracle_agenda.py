"""The oracle's timed model: every core a server with a queue, simulated event by event from an agenda."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count

import numpy as np

from chiploop.chip.device import Trace
from chiploop.chip.oracle_chip import OracleRun
from chiploop.chip.oracle_core import OracleCore, Spike
from chiploop.chip.timing import CoreLoad, Timing, TimingTrace

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
OUT = -1
"""Where a send goes that leaves the chip."""


class _Kind(IntEnum):
    """What the agenda holds, in the order of what has the same time."""

    TICK = 0
    INPUT = 1
    COMPLETION = 2
    ARRIVAL = 3


@dataclass(frozen=True)
class _Job:
    """An event (address on the core's input map) or a clock edge (None) on its way through one core."""

    event: Spike | None
    origin_ns: int  # due time of the sensor event, or time of the clock edge, that it descends from
    arrived_ns: int


@dataclass(frozen=True)
class _Send:
    """One event that its sender still has to hand on."""

    to: int  # position of the core, or OUT
    event: Spike
    origin_ns: int


@dataclass
class _Sender:
    """What a core and the input have in common: sends in their order, and a wait for room."""

    position: int  # -1: the input
    sends: deque[_Send] = field(default_factory=deque)
    blocked_ns: int | None = None  # since when
    stalls: int = 0
    stalled_ns: int = 0


@dataclass
class _Server:
    """A core while it runs: one job at a time, ticks before events, and a bounded queue of events."""

    core: OracleCore
    sender: _Sender
    ticks: deque[_Job] = field(default_factory=deque)
    fifo: deque[_Job] = field(default_factory=deque)
    in_flight: int = 0  # slots reserved by events that have not arrived
    blocked: deque[_Sender] = field(default_factory=deque)  # senders that wait for a slot, in their order
    job: _Job | None = None  # from the start of its service until all its spikes are sent
    busy_ns: int = 0
    wait_ns: int = 0
    dropped: int = 0
    fifo_peak: int = 0
    started: dict[int, int] = field(default_factory=dict)  # updates by millisecond

    def load(self) -> CoreLoad:
        """Return what the core went through."""
        return CoreLoad(
            busy_ns=self.busy_ns,
            wait_ns=self.wait_ns,
            stalls=self.sender.stalls,
            stalled_ns=self.sender.stalled_ns,
            dropped=self.dropped,
            fifo_peak=self.fifo_peak,
            peak_synops=max(self.started.values(), default=0),
        )


class Simulation:
    """One run: the agenda, the servers and what was seen."""

    def __init__(self, seen: OracleRun, timing: Timing, stream: Sequence[tuple[int, Spike]]) -> None:
        self._seen, self._chip, self._timing = seen, seen.chip, timing
        self._servers = [_Server(core, _Sender(position)) for position, core in enumerate(seen.chip.cores)]
        self._input = _Sender(-1)
        self._agenda: list[tuple[int, _Kind, int, int, _Job | None]] = []
        self._created = count()
        self._inner_edges = list(seen.monitor.window_edges_us[1:-1])
        self._left: list[list[tuple[int, int]]] = [[] for _ in self._servers]  # (time, origin), ns
        self._last_ns: int | None = None  # of the last completion: nothing is sent or served after it
        for tau_us in seen.chip.ticks(seen.events):
            for server in self._servers:
                if server.core.has_bias:
                    at = tau_us * NS_PER_US
                    self._enter(at, _Kind.TICK, server.sender.position, _Job(None, at, at))
        for t_us, event in stream:
            self._enter(t_us * NS_PER_US, _Kind.INPUT, -1, _Job(event, t_us * NS_PER_US, t_us * NS_PER_US))

    def run(self) -> Trace:
        """Work through the agenda until it is empty."""
        while self._agenda:
            now, kind, position, _, job = heapq.heappop(self._agenda)
            self._close_windows(now // NS_PER_US)
            if kind is _Kind.INPUT:
                assert job is not None
                assert job.event is not None
                self._input.sends += [_Send(to, e, job.origin_ns) for to, e in self._chip.ways(None, job.event)]
                if self._input.blocked_ns is None:
                    self._send(self._input, now)
            elif kind is _Kind.TICK:
                assert job is not None
                self._servers[position].ticks.append(job)
                self._start_if_idle(self._servers[position], now)
            elif kind is _Kind.ARRIVAL:
                assert job is not None
                self._arrive(self._servers[position], job, now)
            else:
                self._complete(self._servers[position], now)
        return self._trace()

    def _enter(self, at_ns: int, kind: _Kind, position: int, job: _Job | None = None) -> None:
        heapq.heappush(self._agenda, (at_ns, kind, position, next(self._created), job))

    def _close_windows(self, until_us: int) -> None:
        """Close the windows that end by then, but for the last one, which closes when all is done."""
        while self._inner_edges and self._inner_edges[0] <= until_us:
            self._snap(self._inner_edges.pop(0))

    def _snap(self, at_us: int) -> None:
        for position in range(len(self._servers)):
            self._seen.snap(position, at_us)

    def _arrive(self, server: _Server, job: _Job, now: int) -> None:
        server.in_flight -= 1
        server.fifo.append(job)
        server.fifo_peak = max(server.fifo_peak, len(server.fifo))
        self._start_if_idle(server, now)

    def _start_if_idle(self, server: _Server, now: int) -> None:
        if server.job is not None or not (server.ticks or server.fifo):
            return
        from_fifo = not server.ticks
        server.job = job = server.fifo.popleft() if from_fifo else server.ticks.popleft()
        if job.event is None:
            n_updates = server.core.n_neurons
        else:
            n_updates = server.core.n_updates(*job.event[1:])
            server.wait_ns += now - job.arrived_ns
        service_ns = self._timing.event_ns + n_updates * self._timing.synop_ns
        server.busy_ns += service_ns
        server.started[now // NS_PER_MS] = server.started.get(now // NS_PER_MS, 0) + n_updates
        self._enter(now + service_ns, _Kind.COMPLETION, server.sender.position)
        if from_fifo and server.blocked:
            self._resume(server.blocked.popleft(), now)

    def _resume(self, sender: _Sender, now: int) -> None:
        assert sender.blocked_ns is not None
        sender.stalled_ns += now - sender.blocked_ns
        sender.blocked_ns = None
        self._send(sender, now)

    def _complete(self, server: _Server, now: int) -> None:
        """Update the states and send what fired."""
        job, core, position = server.job, server.core, server.sender.position
        assert job is not None
        t_us = now // NS_PER_US
        for spike in core.tick(t_us) if job.event is None else core.hear(t_us, job.event):
            self._seen.spikes[position].append((t_us, spike))
            server.sender.sends += [_Send(to, event, job.origin_ns) for to, event in self._chip.ways(core, spike)]
            leaving = self._chip.leaving(core, spike)
            if leaving is not None and self._chip.is_output(core):
                server.sender.sends.append(_Send(OUT, leaving, job.origin_ns))
        self._last_ns = now
        self._send(server.sender, now)

    def _send(self, sender: _Sender, now: int) -> None:
        """Hand on what there is until there is no room; a core that is through starts its next job."""
        while sender.sends:
            send = sender.sends[0]
            if send.to == OUT:
                self._seen.outputs[sender.position].append((now // NS_PER_US, send.event))
                self._left[sender.position].append((now, send.origin_ns))
            elif self._has_room(self._servers[send.to]):
                self._servers[send.to].in_flight += 1
                arrival_ns = now + (self._timing.hop_ns if sender is not self._input else 0)
                self._enter(arrival_ns, _Kind.ARRIVAL, send.to, _Job(send.event, send.origin_ns, arrival_ns))
            elif self._timing.overflow == "drop":
                self._servers[send.to].dropped += 1
            else:
                sender.stalls += 1
                sender.blocked_ns = now
                self._servers[send.to].blocked.append(sender)
                return
            sender.sends.popleft()
        if sender is not self._input:
            self._servers[sender.position].job = None
            self._start_if_idle(self._servers[sender.position], now)

    def _has_room(self, server: _Server) -> bool:
        depth = self._timing.fifo_depth
        return depth is None or len(server.fifo) + server.in_flight < depth

    def _trace(self) -> Trace:
        seen, events, edges = self._seen, self._seen.events, self._seen.monitor.window_edges_us
        end_ns = events.start_us * NS_PER_US if self._last_ns is None else self._last_ns
        if self._last_ns is not None:
            seen.end_us = max(seen.end_us, end_ns // NS_PER_US)
            seen.stop_us = max(seen.stop_us, end_ns // NS_PER_US + 1)
        if edges:
            self._close_windows(edges[-1])
            self._snap(seen.end_us)
        layers = [server.core.config.layer for server in self._servers]
        left = {
            layer: np.array(times, np.int64).reshape(-1, 2)
            for layer, times, server in zip(layers, self._left, self._servers, strict=True)
            if self._chip.is_output(server.core)
        }
        timing = TimingTrace(
            latency_ns={layer: times[:, 0] - times[:, 1] for layer, times in left.items()},
            output_ns={layer: times[:, 0] for layer, times in left.items()},
            load={layer: server.load() for layer, server in zip(layers, self._servers, strict=True)},
            input_load=CoreLoad(stalls=self._input.stalls, stalled_ns=self._input.stalled_ns),
            end_ns=end_ns,
        )
        counters = [s.core.counters(dropped=s.dropped, fifo_peak=s.fifo_peak) for s in self._servers]
        return seen.trace(counters, timing=timing)
