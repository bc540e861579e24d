"""A program read as an integer convolutional network: the arithmetic of a synchronous accelerator.

An integrate-and-fire neuron that is driven by counts sends about relu(W a) / theta spikes, so the same integers are a
network of rectified units whose activations are spike counts. Each activation is an integer with `fraction` fraction
bits (value = integer / 2^fraction); the bits are chosen a layer, so that the range is used and no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.program import CoreConfig, Program
from chiploop.errors import DeviceError, nearest
from chiploop.spec.graph import INPUT

INT32_MAX = (1 << 31) - 1
INT32_MIN = -(1 << 31)
EXACT_FLOAT32, EXACT_FLOAT64 = 1 << 24, 1 << 53
"""Below these bounds every partial sum of integers is exact, in whatever order a matrix product adds them."""
MAX_FRACTION = 15

Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerLayer:
    """One layer: integer weights as a matrix, what becomes of its accumulators, and bounds known beforehand.

    `matrix` [C kh kw, F] holds integers in the smallest float type that adds them exactly. `highest` and `lowest`
    bound every accumulator, `highest_pooled` every pooled sum, whatever the input.
    """

    name: str
    matrix: NDArray[np.floating[Any]]
    kernel: tuple[int, int]
    stride: int
    padding: int
    window: int
    threshold: int
    fraction_in: int
    fraction_out: int
    highest: int
    lowest: int

    @property
    def highest_pooled(self) -> int:
        """Bound of a sum over one pooling window, after rectifying."""
        return self.highest * self.window * self.window

    @property
    def may_overflow(self) -> bool:
        """Whether some input could drive an accumulator or a pooled sum out of 32 bits."""
        return self.highest_pooled > INT32_MAX or self.lowest < INT32_MIN


def integer_layers(program: Program, *, a_max: int, fractions: Mapping[str, int]) -> tuple[IntegerLayer, ...]:
    """Return the program's layers for activations in 0..a_max; fraction bits that are not given are 0.

    Raises DeviceError for programs that are no chain, have biases or leaks, pool their outputs, or have sums past 2^53.
    """
    names = [core.layer for core in program.cores]
    if not program.is_chain:
        raise DeviceError(f"the accelerator runs chains of layers; cores of {names} branch or merge")
    for core in program.cores:
        if core.bias is not None or core.tau_us is not None or core.thresholds is not None:
            raise DeviceError(
                f"layer {core.layer!r} has a clocked bias, a leak or a threshold a neuron, which take time or spikes; "
                "the accelerator has frames and neither"
            )
    if program.cores[-1].pool:
        raise DeviceError(f"layer {names[-1]!r} pools its outputs; the accelerator gives its accumulators as logits")
    known = {INPUT, *names[:-1]}
    for name, bits in fractions.items():
        if name not in known:
            raise DeviceError(f"fractions[{name!r}]: no such activations; {nearest(name, known)}")
        if abs(bits) > MAX_FRACTION:
            raise DeviceError(f"fractions[{name!r}] = {bits} must be in {-MAX_FRACTION}..{MAX_FRACTION}")
    before = [INPUT, *names[:-1]]
    return tuple(
        _layer(core, a_max, fractions.get(source, 0), fractions.get(core.layer, 0))
        for core, source in zip(program.cores, before, strict=True)
    )


def _layer(core: CoreConfig, a_max: int, fraction_in: int, fraction_out: int) -> IntegerLayer:
    channels, kh, kw, features = core.weight.shape
    matrix = core.weight.reshape(channels * kh * kw, features).astype(np.int64)
    bound = int(np.abs(matrix).sum(axis=0).max()) * a_max
    if bound >= EXACT_FLOAT64:
        raise DeviceError(f"layer {core.layer!r}: sums up to {bound} are past 2^53; use fewer inputs")
    return IntegerLayer(
        name=core.layer,
        matrix=matrix.astype(np.float32 if bound < EXACT_FLOAT32 else np.float64),
        kernel=(kh, kw),
        stride=core.stride,
        padding=core.padding,
        window=1 << core.pool,
        threshold=core.threshold,
        fraction_in=fraction_in,
        fraction_out=fraction_out,
        highest=int(np.maximum(matrix, 0).sum(axis=0).max()) * a_max,
        lowest=int(np.minimum(matrix, 0).sum(axis=0).min()) * a_max,
    )


def accumulate(layer: IntegerLayer, activations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the accumulators [B, F, H', W'] of activations [B, C, H, W]: a cross-correlation, exact."""
    columns, (n, height, width) = _columns(activations.astype(layer.matrix.dtype), layer)
    sums = (columns @ layer.matrix).reshape(n, height, width, -1)
    maps: NDArray[np.int64] = np.ascontiguousarray(sums.transpose(0, 3, 1, 2)).astype(np.int64)
    return maps


def sum_pool(x: NDArray[Number], window: int) -> NDArray[Number]:
    """Return sums over window x window pixels of [B, F, H, W]; rows and columns that fill no window are left out."""
    rows, columns = x.shape[2] // window * window, x.shape[3] // window * window
    pooled: NDArray[Number] = np.zeros((*x.shape[:2], rows // window, columns // window), x.dtype)
    for dy in range(window):
        for dx in range(window):
            pooled += x[:, :, dy:rows:window, dx:columns:window]
    return pooled


def requantize(sums: NDArray[np.int64], *, shift: int, divisor: int, a_max: int) -> NDArray[np.int64]:
    """Return clamp(round(sums 2^shift / divisor), 0, a_max) for sums >= 0, in integers, halves up.

    Halves go up, as in fixed-point hardware, which adds a half and cuts.

    >>> requantize(np.array([4, 5, 6, 10**6]), shift=0, divisor=4, a_max=127).tolist()
    [1, 1, 2, 127]
    """
    numerator, denominator = sums << max(shift, 0), divisor << max(-shift, 0)
    rounded: NDArray[np.int64] = (2 * numerator + denominator) // (2 * denominator)
    return np.minimum(rounded, a_max)


def choose_fractions(program: Program, counts: NDArray[np.int64], *, a_max: int) -> dict[str, int]:
    """Return the most fraction bits that keep the values of a calibration batch, counts [B, C, H, W], in range.

    The ranges are those of the real-valued network relu(W a) / theta, pooled.
    """
    layers = integer_layers(program, a_max=a_max, fractions={})
    fractions = {INPUT: min(_fraction_of(float(counts.max(initial=0)), a_max), 0)}  # counts are whole
    values: NDArray[np.float64] = counts.astype(np.float64)
    for layer in layers[:-1]:
        columns, (n, height, width) = _columns(values, layer)
        sums = (columns @ layer.matrix.astype(np.float64)).reshape(n, height, width, -1).transpose(0, 3, 1, 2)
        values = sum_pool(np.maximum(sums, 0.0) / layer.threshold, layer.window)
        fractions[layer.name] = _fraction_of(float(values.max(initial=0.0)), a_max)
    return fractions


def _fraction_of(peak: float, a_max: int) -> int:
    if peak <= 0.0:
        return 0
    return max(-MAX_FRACTION, min(MAX_FRACTION, math.floor(math.log2(a_max / peak))))


def _columns(
    x: NDArray[np.floating[Any]], layer: IntegerLayer
) -> tuple[NDArray[np.floating[Any]], tuple[int, int, int]]:
    """Return every kernel window as a row [B H' W', C kh kw], with (B, H', W')."""
    p, s = layer.padding, layer.stride
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel, axis=(2, 3))[:, :, ::s, ::s]
    n, channels, height, width = windows.shape[:4]
    rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, channels * layer.kernel[0] * layer.kernel[1])
    return rows, (n, height, width)
