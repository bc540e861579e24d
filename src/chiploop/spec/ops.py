"""Layer operations: what a layer computes, as plain data, with its shape law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from chiploop.errors import SpecError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """Two-dimensional cross-correlation; weight float32[F, C, kernel, kernel], no dilation, no groups.

    H_out = floor((H + 2 padding - kernel) / stride) + 1, and likewise for W.

    >>> Conv(channels=16, kernel=3, padding=1).out_shape((2, 34, 34))
    (16, 34, 34)
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    has_weight: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.channels, self.kernel, self.stride) < 1 or self.padding < 0:
            raise SpecError(f"{self}: channels, kernel and stride must be at least 1, padding at least 0")

    def out_shape(self, in_shape: Shape) -> Shape:
        """Return (F, H, W) for an input map (C, H, W)."""
        _require_rank(self, in_shape, 3)
        _, height, width = in_shape
        out = tuple((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in (height, width))
        if min(out) < 1:
            raise SpecError(f"{self} leaves nothing of a {height}x{width} map; use a smaller kernel or more padding")
        return (self.channels, *out)

    def weight_shape(self, in_shape: Shape) -> Shape:
        """Return the shape of the weight."""
        _require_rank(self, in_shape, 3)
        return (self.channels, in_shape[0], self.kernel, self.kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Matrix product; weight float32[features, inputs].

    >>> Linear(features=10).out_shape((64,))
    (10,)
    """

    features: int
    has_weight: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.features < 1:
            raise SpecError(f"{self}: features must be at least 1")

    def out_shape(self, in_shape: Shape) -> Shape:
        """Return (features,) for an input (inputs,)."""
        _require_rank(self, in_shape, 1)
        return (self.features,)

    def weight_shape(self, in_shape: Shape) -> Shape:
        """Return the shape of the weight."""
        _require_rank(self, in_shape, 1)
        return (self.features, in_shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPool:
    """Sum over size x size windows, stride = size; rows and columns that fill no window are left out.

    >>> SumPool(size=2).out_shape((16, 17, 17))
    (16, 8, 8)
    """

    size: int
    has_weight: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise SpecError(f"{self}: size must be at least 1")

    def out_shape(self, in_shape: Shape) -> Shape:
        """Return (C, H // size, W // size)."""
        _require_rank(self, in_shape, 3)
        channels, height, width = in_shape
        if min(height, width) < self.size:
            raise SpecError(f"{self} leaves nothing of a {height}x{width} map")
        return (channels, height // self.size, width // self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten:
    """(C, H, W) to one axis, channel slowest.

    >>> Flatten().out_shape((64, 2, 2))
    (256,)
    """

    has_weight: ClassVar[bool] = False

    def out_shape(self, in_shape: Shape) -> Shape:
        """Return (C * H * W,)."""
        return (math.prod(in_shape),)


Op = Conv | Linear | SumPool | Flatten


def _require_rank(op: Op, in_shape: Shape, rank: int) -> None:
    if len(in_shape) != rank:
        raise SpecError(f"{type(op).__name__} needs an input of {rank} axes, not {in_shape}")
