"""Faults of a chip's memory and neurons: the same at every load, since it is the same chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.faults.fault import FAULTS, require_at_least_0, require_share
from chiploop.chip.program import DEAD, STATE_MAX, CoreConfig, Program
from chiploop.errors import DeviceError
from chiploop.rng import stream

WEIGHT_BITS = 8


@FAULTS.register("dead")
@dataclass(frozen=True, slots=True)
class DeadNeurons:
    """A `share` of the neurons never fires."""

    share: float

    def __post_init__(self) -> None:
        require_share(self, self.share)

    def apply(self, program: Program, seed: int) -> Program:
        """Return the program with those neurons' thresholds out of reach."""

        def changed(core: CoreConfig) -> CoreConfig:
            dead = _generator(seed, "dead", core).random(tuple(core.neuron_shape)) < self.share
            return (
                dataclasses.replace(core, thresholds=np.where(dead, DEAD, thresholds_of(core))) if dead.any() else core
            )

        return _each_core(program, changed)


@FAULTS.register("mismatch")
@dataclass(frozen=True, slots=True)
class ThresholdMismatch:
    """Every neuron has a threshold of its own: theta (1 + sd g), g normal, at least 1 and at most the largest state."""

    sd: float

    def __post_init__(self) -> None:
        require_at_least_0(self, "sd", self.sd)

    def apply(self, program: Program, seed: int) -> Program:
        """Return the program with a threshold a neuron."""

        def changed(core: CoreConfig) -> CoreConfig:
            if self.sd == 0:
                return core
            deviate = _generator(seed, "mismatch", core).standard_normal(tuple(core.neuron_shape))
            given = thresholds_of(core)
            moved = np.clip(np.rint(given * (1.0 + self.sd * deviate)), 1, STATE_MAX).astype(np.int32)
            return dataclasses.replace(core, thresholds=np.where(given == DEAD, DEAD, moved))

        return _each_core(program, changed)


@FAULTS.register("stuck")
@dataclass(frozen=True, slots=True)
class StuckWeights:
    """A `share` of the weights has the value `at`, whatever was loaded."""

    share: float
    at: int = 0

    def __post_init__(self) -> None:
        require_share(self, self.share)
        if not -(1 << (WEIGHT_BITS - 1)) <= self.at < 1 << (WEIGHT_BITS - 1):
            raise DeviceError(f"StuckWeights: at = {self.at} must be in -128..127")

    def apply(self, program: Program, seed: int) -> Program:
        """Return the program with those weights replaced."""

        def changed(core: CoreConfig) -> CoreConfig:
            stuck = _generator(seed, "stuck", core).random(core.weight.shape) < self.share
            return dataclasses.replace(core, weight=np.where(stuck, np.int8(self.at), core.weight))

        return _each_core(program, changed)


@FAULTS.register("flipped")
@dataclass(frozen=True, slots=True)
class FlippedBits:
    """Each bit of each weight (two's complement) is flipped with probability `share`."""

    share: float

    def __post_init__(self) -> None:
        require_share(self, self.share)

    def apply(self, program: Program, seed: int) -> Program:
        """Return the program with those bits flipped."""

        def changed(core: CoreConfig) -> CoreConfig:
            rng = _generator(seed, "flipped", core)
            mask = np.zeros(core.weight.shape, np.uint8)
            for bit in range(WEIGHT_BITS):
                mask |= (rng.random(core.weight.shape) < self.share).astype(np.uint8) << np.uint8(bit)
            return dataclasses.replace(core, weight=(core.weight.view(np.uint8) ^ mask).view(np.int8))

        return _each_core(program, changed)


def thresholds_of(core: CoreConfig) -> NDArray[np.int32]:
    """Return the threshold of every neuron, int32[F, H, W]."""
    if core.thresholds is not None:
        return core.thresholds
    return np.full(tuple(core.neuron_shape), core.threshold, np.int32)


def _each_core(program: Program, change: Callable[[CoreConfig], CoreConfig]) -> Program:
    cores = tuple(change(core) for core in program.cores)
    if all(new is old for new, old in zip(cores, program.cores, strict=True)):
        return program
    return dataclasses.replace(program, cores=cores)


def _generator(seed: int, fault: str, core: CoreConfig) -> np.random.Generator:
    """Return the generator of one core's defects: a place on the chip, not a layer that happens to lie there."""
    return stream(seed, "fault", fault, core.core)
