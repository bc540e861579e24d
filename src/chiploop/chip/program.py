"""What is loaded onto a chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chiploop.digest import ByContent, read_only
from chiploop.errors import DeviceError
from chiploop.events.types import SensorShape

STATE_MIN, STATE_MAX = -32768, 32767


@dataclass(frozen=True, eq=False, kw_only=True)
class CoreConfig(ByContent):
    """One core: synapses, neurons, sum pooling, destinations.

    `weight` int8[C, kh, kw, F], `threshold` in 1..32767, `floor` in -32768..0 (-32768: no floor). Shapes are
    (channels, height, width): `in_shape` of the events it hears, `neuron_shape` of its neurons, `out_shape` of the
    events it sends (neuron map >> pool, rows and columns that fill no pooling window left out). `pool` is the shift
    p: windows of 2^p. `targets` are core numbers, empty for an output core.
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
    targets: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", read_only(self.weight, np.int8))
        object.__setattr__(self, "in_shape", SensorShape(*self.in_shape))
        object.__setattr__(self, "neuron_shape", SensorShape(*self.neuron_shape))
        where = f"core {self.core} ({self.layer!r})"
        if self.weight.ndim != 4:
            raise DeviceError(f"{where}: weight must be [C, kh, kw, F], not {self.weight.shape}")
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

    @property
    def out_shape(self) -> SensorShape:
        """Shape of the events that the core sends on."""
        channels, height, width = self.neuron_shape
        return SensorShape(channels, height >> self.pool, width >> self.pool)


@dataclass(frozen=True, eq=False, kw_only=True)
class Program(ByContent):
    """What is loaded: cores in data-flow order, the core that hears the input, the cores whose events come out.

    The same inputs give the same bytes; `chiploop.tree` writes and reads it.
    """

    profile_hash: str
    quant_hash: str
    cores: tuple[CoreConfig, ...]
    input_core: int
    outputs: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = [core.core for core in self.cores]
        if len(set(numbers)) != len(numbers):
            raise DeviceError(f"a core carries two layers: {numbers}")
        layers = [core.layer for core in self.cores]
        if len(set(layers)) != len(layers):
            raise DeviceError(f"a layer lies on two cores: {layers}")
        by_number = {core.core: core for core in self.cores}
        for number in (self.input_core, *self.outputs, *(t for core in self.cores for t in core.targets)):
            if number not in by_number:
                raise DeviceError(f"core {number} is named as input, output or target, but carries no layer")
        for core in self.cores:
            for target in core.targets:
                if by_number[target].in_shape != core.out_shape:
                    raise DeviceError(
                        f"core {core.core} sends {tuple(core.out_shape)}, core {target} expects "
                        f"{tuple(by_number[target].in_shape)}"
                    )

    @property
    def input_shape(self) -> SensorShape:
        """Shape of the events that the program takes."""
        return self.core(self.input_core).in_shape

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
        """Whether each core hears only the one before it."""
        numbers = [core.core for core in self.cores]
        return (
            self.input_core == numbers[0]
            and self.outputs == (numbers[-1],)
            and all(core.targets == (after,) for core, after in zip(self.cores, numbers[1:], strict=False))
            and not self.cores[-1].targets
        )
