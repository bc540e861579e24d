"""Output channels moved to where the chip's readout layer hears them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.place import cores_that_fit, place
from chiploop.chip.plan import CorePlan
from chiploop.chip.profile import ChipProfile
from chiploop.chip.program import DEAD, CoreConfig, Program, Target
from chiploop.errors import DesignRuleError, DeviceError


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """A program whose output channel c was moved to channel c * stride, and the way back for what is read of it."""

    program: Program
    layer: str
    stride: int

    def class_of(self, channel: int) -> int | None:
        """Return the class that a channel of the output core stands for; None for one in between."""
        known = self.program.layer(self.layer).neuron_shape.channels
        return channel // self.stride if 0 <= channel < known and channel % self.stride == 0 else None

    def gather(self, maps: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the classes' part of a map [F, H, W] of the output core."""
        return maps[:: self.stride]


def spread_readout(program: Program, profile: ChipProfile, *, stride: int | None = None) -> Spread:
    """Return the program with the output core's channels moved to 0, stride, 2 stride, ...

    On Speck 2e and 2f readout channel n (from 1) hears channel 4 (n - 1) of the output core, so that ten classes take
    37 channels; those in between have no weights and never spike. `stride` is the profile's where it is None. Layers
    keep their cores when the wider output fits its own, else all are placed anew. Raises DeviceError when the program
    has no single output core that ends it or too many classes, DesignRuleError when the wider core fits nowhere.

    >>> import numpy as np
    >>> from chiploop.chip.profile import read_profile
    >>> from chiploop.events.types import SensorShape
    >>> out = CoreConfig(core=0, layer="out", weight=np.ones((2, 1, 1, 10), np.int8), threshold=5, floor=-9,
    ...     reset="subtract", spikes_per_update="one", stride=1, padding=0, pool=0, in_shape=SensorShape(2, 1, 1),
    ...     neuron_shape=SensorShape(10, 1, 1), targets=())
    >>> program = Program(profile_hash="", quant_hash="", cores=(out,), input_shape=SensorShape(2, 1, 1),
    ...     inputs=(Target(0),), outputs=(0,))
    >>> spread = spread_readout(program, read_profile("speck2f"))
    >>> spread.program.core(0).neuron_shape.channels, spread.class_of(36), spread.class_of(35)
    (37, 9, None)
    """
    stride = stride or profile.readout_stride or 1
    if len(program.outputs) != 1:
        raise DeviceError(f"the readout hears one core, the program has outputs {list(program.outputs)}")
    core = program.core(program.outputs[0])
    if core.targets:
        raise DeviceError(
            f"core {core.core} ({core.layer!r}) also sends to cores; the readout needs an output of its own"
        )
    classes = core.neuron_shape.channels
    if profile.readout_classes is not None and classes > profile.readout_classes:
        raise DeviceError(
            f"{classes} classes in {core.layer!r}: the readout of {profile.name} has {profile.readout_classes}"
        )
    wide = _widened(core, stride)
    spread = dataclasses.replace(program, cores=tuple(wide if one is core else one for one in program.cores))
    return Spread(program=_placed(spread, wide, profile), layer=core.layer, stride=stride)


def plan_of(core: CoreConfig) -> CorePlan:
    """Return the plan of a core that exists already: what it takes of the memories."""
    _, kh, kw, _ = core.weight.shape
    return CorePlan(
        layer=core.layer,
        fully_connected=(kh, kw) == core.in_shape[1:],
        in_shape=core.in_shape,
        kernel=(kh, kw),
        stride=core.stride,
        padding=core.padding,
        neuron_shape=core.neuron_shape,
        neuron=None,
        has_bias=core.bias is not None,
        targets=(),
        pools=(1 << core.pool,),
        heard=(),
    )


def _widened(core: CoreConfig, stride: int) -> CoreConfig:
    *sizes, classes = core.weight.shape
    channels = stride * (classes - 1) + 1
    weight = np.zeros((*sizes, channels), np.int8)
    weight[..., ::stride] = core.weight
    shape = core.neuron_shape._replace(channels=channels)
    bias, thresholds = core.bias, core.thresholds
    if core.bias is not None:
        bias = np.zeros(channels, np.int16)
        bias[::stride] = core.bias
    if core.thresholds is not None:
        thresholds = np.full(shape, DEAD, np.int32)
        thresholds[::stride] = core.thresholds
    return dataclasses.replace(core, weight=weight, bias=bias, thresholds=thresholds, neuron_shape=shape)


def _placed(program: Program, wide: CoreConfig, profile: ChipProfile) -> Program:
    """Return the program as it is when the widened core fits where it lies, else with every layer placed anew."""
    if profile.max_channels is not None and wide.neuron_shape.channels > profile.max_channels:
        raise DesignRuleError(
            f"layer {wide.layer!r}: {wide.neuron_shape.channels} channels after spreading, at most "
            f"{profile.max_channels}; use fewer classes"
        )
    if profile.unlimited_cores or wide.core in cores_that_fit(plan_of(wide), profile):
        return program
    chosen = place([plan_of(core) for core in program.cores], profile).cores
    moved = {core.core: chosen[core.layer] for core in program.cores}

    def to(targets: tuple[Target, ...]) -> tuple[Target, ...]:
        return tuple(dataclasses.replace(target, core=moved[target.core]) for target in targets)

    return dataclasses.replace(
        program,
        cores=tuple(
            dataclasses.replace(core, core=moved[core.core], targets=to(core.targets)) for core in program.cores
        ),
        inputs=to(program.inputs),
        outputs=tuple(moved[number] for number in program.outputs),
    )
