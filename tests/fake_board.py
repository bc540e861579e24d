"""A board like a Speck development kit, as samna would hand it over: it computes what its configuration says.

It shares no code with the library and reads the vendor's fields in the vendor's order (weights [f][c][x][y], states
[f][x][y]), so that a transposition on the way out cannot be undone by the same one on the way in.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

READOUT = 12


@dataclass
class Spike:
    layer: int = 0
    feature: int = 0
    y: int = 0
    x: int = 0
    timestamp: int = 0


@dataclass
class ReadNeuronValue:
    layer: int = 0
    address: int = 0


@dataclass
class WriteNeuronValue:
    layer: int = 0
    address: int = 0
    neuron_state: int = 0


@dataclass
class NeuronValue:
    layer: int = 0
    address: int = 0
    neuron_state: int = 0


@dataclass
class ReadoutPinValue:
    index: int = 0
    timestamp: int = 0


@dataclass
class DvsEvent:
    x: int = 0


class Core:
    """One core of the board, made of the vendor's fields."""

    def __init__(self, config: Any, initial: list[list[list[int]]]) -> None:
        self.config = config
        size = config.dimensions.output_shape
        self.features, self.width, self.height = size.feature_count, size.size.x, size.size.y
        self.v = [[list(column) for column in plane] for plane in initial]  # [f][x][y]
        f_bits, x_bits = (self.features - 1).bit_length(), (self.width - 1).bit_length()
        self.at = {
            y * 2 ** (x_bits + f_bits) + x * 2**f_bits + f: (f, x, y)
            for f in range(self.features)
            for x in range(self.width)
            for y in range(self.height)
        }

    def hear(self, feature: int, y: int, x: int) -> list[tuple[int, int, int]]:
        """Scatter one event; returns the spikes (f, y, x) in order."""
        c, d = self.config, self.config.dimensions
        spikes = []
        for oy in range(self.height):
            ky = y + d.padding.y - oy * d.stride.y
            if 0 <= ky < d.kernel_size:
                for ox in range(self.width):
                    kx = x + d.padding.x - ox * d.stride.x
                    if 0 <= kx < d.kernel_size:
                        for f in range(self.features):
                            if self.add(f, ox, oy, c.weights[f][feature][kx][ky]):
                                spikes.append((f, oy, ox))
        return spikes

    def tick(self) -> list[tuple[int, int, int]]:
        return [
            (f, y, x)
            for y in range(self.height)
            for x in range(self.width)
            for f in range(self.features)
            if self.add(f, x, y, self.config.biases[f])
        ]

    def add(self, f: int, x: int, y: int, w: int) -> bool:
        v = min(32767, max(-32768, self.v[f][x][y] + w))
        v = max(v, self.config.threshold_low)
        fires = v >= self.config.threshold_high
        if fires:
            v = 0 if self.config.return_to_zero else v - self.config.threshold_high
        self.v[f][x][y] = v
        return fires


@dataclass
class Board:
    """The board: orders wait in line for their time, cores work them off, monitored spikes come out."""

    name: str = "Speck2fDevKit"
    now_us: int = 0
    latency_us: int = 0
    keeps_states: bool = False  # a configuration leaves the states as they are
    sticky: tuple[int, int] | None = None  # a core and an address that writing does not change
    is_mute: bool = False
    is_unplugged: bool = False
    says: list[Any] = field(default_factory=list)  # on top of the next answers
    applied: int = 0

    def __post_init__(self) -> None:
        self.cores: dict[int, Core] = {}
        self.queue: list[Any] = []
        self.out: list[Any] = []
        self.zero_us = 0
        self.clock_us: int | None = None
        self.next_tick_us = 0
        self.rate_hz = 0
        self.noise = random.Random(0)
        self.log: list[str] = []

    def check(self) -> None:
        if self.is_unplugged:
            raise RuntimeError("USB device not found")

    def apply(self, config: Any) -> None:
        self.check()
        self.applied += 1
        old, self.cores = self.cores, {}
        for number, layer in enumerate(config.cnn_layers):
            if layer.weights:
                initial = layer.neurons_initial_value
                if self.keeps_states:  # what the memory held: noise, at power-up
                    initial = [[[self.noise.randint(-99, 0) for _ in line] for line in plane] for plane in initial]
                    same = number in old and old[number].at == Core(layer, initial).at
                    initial = old[number].v if same else initial
                self.cores[number] = Core(layer, initial)

    def write(self, orders: list[Any]) -> None:
        self.check()
        self.queue.extend(orders)
        self.out.extend(self.says)
        self.says = []

    def read(self, timeout_ms: int) -> list[Any]:
        self.check()
        self.work()
        if not self.out:
            self.now_us += 1_000 * timeout_ms
            self.work()
        out, self.out = self.out, []
        return [] if self.is_mute else out

    @property
    def time_us(self) -> int:
        return self.now_us - self.zero_us

    def work(self) -> None:
        """Let in what is due, in order: spikes wait for their time, and what stands behind them waits too."""
        batch: list[Spike] = []
        while self.queue and not (isinstance(self.queue[0], Spike) and self.queue[0].timestamp >= self.time_us):
            order = self.queue.pop(0)
            if isinstance(order, Spike):
                batch.append(order)
                continue
            self.carry(batch)
            batch = []
            self.obey(order)
        self.carry(batch)

    def obey(self, order: ReadNeuronValue | WriteNeuronValue) -> None:
        core = self.cores[order.layer]
        f, x, y = core.at[order.address]
        if isinstance(order, ReadNeuronValue):
            self.out.append(NeuronValue(order.layer, order.address, core.v[f][x][y]))
        elif (order.layer, order.address) != self.sticky:
            core.v[f][x][y] = order.neuron_state

    def carry(self, batch: list[Spike]) -> None:
        """Work off spikes core by core in data-flow order; a merge hears its sources by time, then by their place."""
        ticks = self.ticks()
        inbox: dict[int, list[tuple[int, int, tuple[int, int, int]]]] = {number: [] for number in self.cores}
        for spike in batch:
            inbox[spike.layer].append((spike.timestamp, -1, (spike.feature, spike.y, spike.x)))
        found: list[tuple[int, int, Spike]] = []
        for place, number in enumerate(self.order()):
            core = self.cores[number]
            due: list[tuple[int, int, Any]] = [(t, -2, None) for t in ticks if core.config.leak_enable]
            for t, _, event in sorted([*due, *inbox[number]], key=lambda one: one[:2]):
                for f, y, x in core.tick() if event is None else core.hear(*event):
                    self.send(core, place, (t, f, y, x), inbox)
                    if core.config.monitor_enable:
                        found.append((t, place, Spike(number, f, y, x, t + self.latency_us)))
        self.out.extend(spike for _, _, spike in sorted(found, key=lambda one: one[:2]))

    def send(self, core: Core, place: int, spike: tuple[int, int, int, int], inbox: dict[int, list[Any]]) -> None:
        t, f, y, x = spike
        for way in core.config.destinations:
            if way.enable and way.layer != READOUT:
                size = self.cores[way.layer].config.dimensions.input_shape.size
                py, px = y // way.pooling, x // way.pooling
                if py < size.y and px < size.x:
                    inbox[way.layer].append((t, place, (f + way.feature_shift, py, px)))

    def order(self) -> list[int]:
        """Core numbers, each after its sources; among those that could come next, the lowest number first."""
        left, done = set(self.cores), []
        while left:
            heard = {way.layer for n in left for way in self.cores[n].config.destinations if way.enable}
            done.append(min(left - heard))
            left.remove(done[-1])
        return done

    def ticks(self) -> list[int]:
        found = []
        while self.clock_us is not None and self.next_tick_us < self.time_us:
            found.append(self.next_tick_us)
            self.next_tick_us += self.clock_us
        return found

    # What a board's handle offers.

    def get_model(self) -> Any:
        return SimpleNamespace(
            apply_configuration=self.apply, get_sink_node=lambda: ("in", self), get_source_node=lambda: ("out", self)
        )

    def get_stop_watch(self) -> Any:
        def reset() -> None:
            self.check()
            self.zero_us = self.now_us

        return SimpleNamespace(set_enable_value=lambda on: self.log.append(f"stopwatch {on}"), reset=reset)

    def get_io_module(self) -> Any:
        def rate(hz: int) -> None:
            self.rate_hz = hz

        def switch(on: bool) -> None:
            self.check()
            self.work()
            self.clock_us, self.next_tick_us = (1_000_000 // self.rate_hz if on else None), 0

        return SimpleNamespace(set_slow_clk_rate=rate, set_slow_clk=switch)
