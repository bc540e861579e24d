"""Surrogate gradients: what stands for the derivative of a spike.

All are functions of x = (v - v_th) / v_th, the distance to the threshold in thresholds, so that scaling weights and
threshold together leaves the gradients' shape alone (Neftci et al. 2019 review the family).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from chiploop.registry import Registry


class Surrogate(Protocol):
    """The slope that stands for the derivative of the step: even, non-negative, 1 at x = 0."""

    def slope(self, x: Tensor) -> Tensor:
        """Return the slope at x thresholds from the threshold."""


SURROGATES: Registry[type[Surrogate]] = Registry("surrogate")


@SURROGATES.register("exponential")
@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """slope = exp(-sharpness |x|) (Shrestha and Orchard 2018, SLAYER's shape)."""

    sharpness: float = 1.0

    def slope(self, x: Tensor) -> Tensor:
        """Return the slope at x."""
        return torch.exp(-self.sharpness * x.abs())


@SURROGATES.register("fast-sigmoid")
@dataclass(frozen=True, slots=True, kw_only=True)
class FastSigmoid:
    """slope = 1 / (1 + sharpness |x|)^2 (Zenke and Ganguli 2018, SuperSpike)."""

    sharpness: float = 1.0

    def slope(self, x: Tensor) -> Tensor:
        """Return the slope at x."""
        return 1.0 / (1.0 + self.sharpness * x.abs()) ** 2


@SURROGATES.register("triangle")
@dataclass(frozen=True, slots=True, kw_only=True)
class Triangle:
    """slope = max(0, 1 - |x| / width) (Esser et al. 2016)."""

    width: float = 1.0

    def slope(self, x: Tensor) -> Tensor:
        """Return the slope at x."""
        return torch.clamp(1.0 - x.abs() / self.width, min=0.0)


@SURROGATES.register("rectangle")
@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """slope = 1 where |x| <= width, else 0 (Wu et al. 2018, STBP's window)."""

    width: float = 1.0

    def slope(self, x: Tensor) -> Tensor:
        """Return the slope at x."""
        return (x.abs() <= self.width).to(x.dtype)
