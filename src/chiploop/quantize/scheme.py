"""The network in integers, and the scheme that brought it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chiploop.digest import ByContent, read_only
from chiploop.errors import QuantizeError
from chiploop.spec.graph import NetworkSpec

MIN_BITS, MAX_WEIGHT_BITS, MAX_STATE_BITS = 2, 8, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class IntScheme:
    """How weights become integers: one scale a layer, symmetric, round half to even.

    `search`: "mse" (least squared error among candidate scales), "max" (largest weight), "percentile".
    """

    bits: int = 8
    state_bits: int = 16
    search: Literal["mse", "max", "percentile"] = "mse"
    percentile: float = 99.9

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_WEIGHT_BITS:
            raise QuantizeError(
                f"scheme.bits = {self.bits} must be in {MIN_BITS}..{MAX_WEIGHT_BITS}; weights are stored as int8"
            )
        if not self.bits <= self.state_bits <= MAX_STATE_BITS:
            raise QuantizeError(f"scheme.state_bits = {self.state_bits} must be in {self.bits}..{MAX_STATE_BITS}")
        if not 0.0 < self.percentile <= 100.0:
            raise QuantizeError(f"scheme.percentile = {self.percentile} must be above 0 and at most 100")

    @property
    def q_max(self) -> int:
        """Largest magnitude of an integer weight (127 for 8 bits; -128 is unused: the range is symmetric)."""
        return (1 << (self.bits - 1)) - 1

    @property
    def v_max(self) -> int:
        """Largest state."""
        return (1 << (self.state_bits - 1)) - 1

    @property
    def v_lowest(self) -> int:
        """Lowest state."""
        return -(1 << (self.state_bits - 1))


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantLayer(ByContent):
    """One spiking layer in integers; weight, bias, threshold and floor share `scale` (real value = integer * scale).

    `floor` is None where the layer has no lower bound; it never enters the choice of the scale.
    `clipped`, `zeroed`: shares of the weights (a weight that was zero before does not count as zeroed); `rms_error` in
    units of the real weight; `snr_db` of the weights; `threshold_error`: |theta scale - v_th| / v_th. `bias_zeroed`:
    share of the biases that became zero in integers, a leak that has vanished.
    """

    name: str
    weight: NDArray[np.int8]
    threshold: int
    floor: int | None
    scale: float
    clipped: float
    zeroed: float
    rms_error: float
    snr_db: float
    threshold_error: float = 0.0
    bias: NDArray[np.int16] | None = None
    bias_zeroed: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", read_only(self.weight, np.int8))
        if not 1 <= self.threshold <= 32767:
            raise QuantizeError(f"layer {self.name!r}: threshold {self.threshold} must be in 1..32767")
        if self.bias is not None:
            object.__setattr__(self, "bias", read_only(self.bias, np.int16))
        if not np.any(self.weight):
            raise QuantizeError(f"layer {self.name!r}: every weight became zero; the layer is dead")


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantSpec(ByContent):
    """The network in integers: one QuantLayer for each spiking layer of `base`.

    `base` keeps the topology and the neurons.
    """

    base: NetworkSpec
    layers: tuple[QuantLayer, ...]
    scheme: IntScheme

    def __post_init__(self) -> None:
        want = [layer.name for layer in self.base.spiking]
        if [layer.name for layer in self.layers] != want:
            names = [layer.name for layer in self.layers]
            raise QuantizeError(f"quantised layers {names} are not the spiking layers {want}")

    @property
    def base_hash(self) -> str:
        """Digest of the network that was quantised."""
        return self.base.digest

    def layer(self, name: str) -> QuantLayer:
        """Return the integer layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise QuantizeError(f"no quantised layer {name!r}")
