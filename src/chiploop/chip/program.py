"""What is loaded onto a chip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.dvs import DvsLayer
from chiploop.digest import ByContent, read_only
from chiploop.errors import DeviceError
from chiploop.events.types import SensorShape

STATE_MIN, STATE_MAX = -32768, 32767
MAX_CLOCK_EDGES = 1 << 24
"""Most edges of the slow clock in one run, each an update of whole maps: a recording with absolute times has more."""
MAX_TIME_US = 1 << 61
"""Farthest from 0 that a recording on a clocked chip may lie: the next edge must still be a number of 64 bits."""
MAX_SIZE = 1 << 16
"""Most channels, rows or columns: an address has 16 bits a part."""
DEAD = STATE_MAX + 1
"""A threshold that no 16-bit state reaches: its neuron never fires."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a core's events go: to a core, pooled by a further 2^pool on the way, their channels raised by `shift`."""

    core: int
    pool: int = 0
    shift: int = 0

    def __post_init__(self) -> None:
        if self.pool < 0 or self.shift < 0:
            raise DeviceError(f"target core {self.core}: pool {self.pool} and shift {self.shift} must be at least 0")

    def arriving(self, sent: SensorShape) -> SensorShape:
        """Return the part of the target's input map, from channel 0 on, that events of a map `sent` can reach."""
        return SensorShape(sent.channels + self.shift, sent.height >> self.pool, sent.width >> self.pool)


@dataclass(frozen=True, eq=False, kw_only=True)
class CoreConfig(ByContent):
    """One core: synapses, neurons, sum pooling, destinations.

    `weight` int8[C, kh, kw, F], `threshold` in 1..32767, `floor` in -32768..0 (-32768: no floor). Shapes are
    (channels, height, width): `in_shape` of the events it hears, `neuron_shape` of its neurons, `out_shape` of the
    events it sends (neuron map >> pool, rows and columns that fill no pooling window left out). `pool` is the shift
    p: windows of 2^p. `targets` may be empty for an output core.

    `bias` int16[F], where there is one, is added to every neuron at each edge of the slow clock. `tau_us` makes the
    neurons leaky (exact decay between updates). `thresholds` int32[F, H, W] replaces `threshold`, neuron by neuron
    (DEAD: never fires). `state_bits` 32 lifts the limit of 16-bit states, to measure what it costs.
    """

    core: int
    layer: str
    weight: NDArray[np.int8]
    threshold: int
    floor: int
    reset: Literal["subtract", "zero"]
    spikes_per_update: Literal["one", "all"]
    stride: int
    padding: int
    pool: int
    in_shape: SensorShape
    neuron_shape: SensorShape
    targets: tuple[Target, ...]
    bias: NDArray[np.int16] | None = None
    tau_us: float | None = None
    thresholds: NDArray[np.int32] | None = None
    state_bits: Literal[16, 32] = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", read_only(self.weight, np.int8))
        object.__setattr__(self, "in_shape", SensorShape(*self.in_shape))
        object.__setattr__(self, "neuron_shape", SensorShape(*self.neuron_shape))
        where = f"core {self.core} ({self.layer!r})"
        if self.weight.ndim != 4:
            raise DeviceError(f"{where}: weight must be [C, kh, kw, F], not {self.weight.shape}")
        self._check_choices(where)
        channels, kh, kw, features = self.weight.shape
        if channels != self.in_shape.channels or features != self.neuron_shape.channels:
            raise DeviceError(
                f"{where}: weight {self.weight.shape} does not join {self.in_shape} to {self.neuron_shape}"
            )
        want = tuple(
            (n + 2 * self.padding - k) // self.stride + 1 for n, k in zip(self.in_shape[1:], (kh, kw), strict=True)
        )
        if want != self.neuron_shape[1:]:
            raise DeviceError(f"{where}: neuron map {self.neuron_shape[1:]} should be {want}")
        if not 1 <= self.threshold <= STATE_MAX:
            raise DeviceError(f"{where}: threshold {self.threshold} must be in 1..{STATE_MAX}")
        if not STATE_MIN <= self.floor <= 0:
            raise DeviceError(f"{where}: floor {self.floor} must be in {STATE_MIN}..0")
        if min(self.out_shape) < 1:
            raise DeviceError(f"{where}: pooling by {1 << self.pool} leaves nothing of {self.neuron_shape}")
        self._check_neurons(where)

    def _check_choices(self, where: str) -> None:
        if self.reset not in ("subtract", "zero") or self.spikes_per_update not in ("one", "all"):
            raise DeviceError(
                f"{where}: reset {self.reset!r} must be 'subtract' or 'zero', "
                f"spikes_per_update {self.spikes_per_update!r} 'one' or 'all'"
            )
        least = {"stride": 1, "padding": 0, "pool": 0, "threshold": STATE_MIN, "floor": STATE_MIN}
        for name, lowest in least.items():
            given = getattr(self, name)
            if not isinstance(given, (int, np.integer)) or given < lowest:
                raise DeviceError(f"{where}: {name} {given!r} must be a whole number, at least {lowest}")
        for name in ("in_shape", "neuron_shape"):
            if not 1 <= min(getattr(self, name)) <= max(getattr(self, name)) <= MAX_SIZE:
                raise DeviceError(
                    f"{where}: every size of {name} {tuple(getattr(self, name))} must be in 1..{MAX_SIZE}"
                )

    def _check_neurons(self, where: str) -> None:
        if self.bias is not None:
            object.__setattr__(self, "bias", read_only(self.bias, np.int16))
            if self.bias.shape != self.neuron_shape[:1]:
                raise DeviceError(f"{where}: bias {self.bias.shape} must be one a channel, {self.neuron_shape[:1]}")
        if self.thresholds is not None:
            object.__setattr__(self, "thresholds", read_only(self.thresholds, np.int32))
            if self.thresholds.shape != tuple(self.neuron_shape):
                raise DeviceError(
                    f"{where}: thresholds {self.thresholds.shape} must be one a neuron, {tuple(self.neuron_shape)}"
                )
            if not (self.thresholds.min() >= 1 and self.thresholds.max() <= DEAD):
                raise DeviceError(f"{where}: thresholds must be in 1..{DEAD} ({DEAD}: never fires)")
        if self.tau_us is not None and not (math.isfinite(self.tau_us) and self.tau_us > 0):
            raise DeviceError(f"{where}: tau_us {self.tau_us} must be positive and finite, or absent")
        if self.state_bits not in (16, 32) or (self.state_bits == 32 and self.tau_us is not None):
            raise DeviceError(f"{where}: states have 16 bits, or 32 without a leak")

    @property
    def out_shape(self) -> SensorShape:
        """Shape of the events that the core sends on."""
        channels, height, width = self.neuron_shape
        return SensorShape(channels, height >> self.pool, width >> self.pool)


@dataclass(frozen=True, eq=False, kw_only=True)
class Program(ByContent):
    """What is loaded: cores in data-flow order, where the input goes, the cores whose events come out.

    `input_shape` is that of the events a device takes; a `dvs` layer, where there is one, treats them first. `clock_us`
    is the period of the slow clock that adds biases. The same inputs give the same bytes; `chiploop.tree` writes and
    reads it.
    """

    profile_hash: str
    quant_hash: str
    cores: tuple[CoreConfig, ...]
    input_shape: SensorShape
    inputs: tuple[Target, ...]
    outputs: tuple[int, ...]
    clock_us: int | None = None
    dvs: DvsLayer | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", SensorShape(*self.input_shape))
        numbers = [core.core for core in self.cores]
        if not numbers or not self.inputs or not self.outputs:
            raise DeviceError("a program needs a core, a target of its input, and an output")
        if len(set(numbers)) != len(numbers):
            raise DeviceError(f"a core carries two layers: {numbers}")
        layers = [core.layer for core in self.cores]
        if len(set(layers)) != len(layers):
            raise DeviceError(f"a layer lies on two cores: {layers}")
        self._check_links()
        if self.clock_us is not None and not 1 <= self.clock_us <= MAX_TIME_US:
            raise DeviceError(f"clock_us = {self.clock_us} must be in 1..{MAX_TIME_US}, or absent")
        if self.clock_us is None and any(core.bias is not None for core in self.cores):
            raise DeviceError("a core has a bias, which a slow clock adds: give the program a clock_us")
        if self.dvs is not None and self.dvs.in_shape != self.input_shape:
            raise DeviceError(f"the DVS layer takes {self.dvs.in_shape}, the program {self.input_shape}")

    def _check_links(self) -> None:
        place = {core.core: i for i, core in enumerate(self.cores)}
        for number in (*self.outputs, *(target.core for _, target in self.links())):
            if number not in place:
                raise DeviceError(f"core {number} is named as output or target, but carries no layer")
        filled = dict.fromkeys(place, 0)
        for source, target in self.links():
            sender = "the input" if source is None else f"core {source}"
            if source is not None and place[source] >= place[target.core]:
                raise DeviceError(f"core {source} sends to core {target.core}: order the cores by data flow")
            sent = self.heard_shape if source is None else self.core(source).out_shape
            arriving, expected = target.arriving(sent), self.core(target.core).in_shape
            if arriving.channels > expected.channels or arriving[1:] != expected[1:]:
                raise DeviceError(f"{sender} sends {tuple(arriving)}, core {target.core} expects {tuple(expected)}")
            filled[target.core] = max(filled[target.core], arriving.channels)
        for number, channels in filled.items():
            if channels != self.core(number).in_shape.channels:
                raise DeviceError(
                    f"core {number} expects {self.core(number).in_shape.channels} channels, its sources fill {channels}"
                )

    def links(self) -> Iterator[tuple[int | None, Target]]:
        """Yield every way that events take, (source core or None for the input, target)."""
        for target in self.inputs:
            yield None, target
        for core in self.cores:
            for target in core.targets:
                yield core.core, target

    @property
    def heard_shape(self) -> SensorShape:
        """Shape of the events that leave for the cores: those of the DVS layer, or the input's own."""
        return self.input_shape if self.dvs is None else self.dvs.out_shape

    def n_clock_edges(self, start_us: int, stop_us: int) -> int:
        """Return how many edges of the slow clock fall into [start_us, stop_us)."""
        if self.clock_us is None or stop_us <= start_us:
            return 0
        return -(-stop_us // self.clock_us) + (-start_us // self.clock_us)

    @property
    def output_layer(self) -> str:
        """Name of the (first) output layer."""
        return self.core(self.outputs[0]).layer

    def core(self, number: int) -> CoreConfig:
        """Return the configuration of one core."""
        for core in self.cores:
            if core.core == number:
                return core
        raise DeviceError(f"no core {number} in this program")

    def layer(self, name: str) -> CoreConfig:
        """Return the configuration that carries a layer."""
        for core in self.cores:
            if core.layer == name:
                return core
        raise DeviceError(f"no layer {name!r} in this program")

    @property
    def is_chain(self) -> bool:
        """Whether each core hears only the one before it, and nothing changes on the way."""
        numbers = [core.core for core in self.cores]
        return (
            self.inputs == (Target(numbers[0]),)
            and self.outputs == (numbers[-1],)
            and all(core.targets == (Target(n),) for core, n in zip(self.cores, numbers[1:], strict=False))
            and not self.cores[-1].targets
        )
