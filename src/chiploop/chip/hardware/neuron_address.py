"""Where a neuron's state lies in the memory of its core."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.plan import ceil_log2
from chiploop.events.types import SensorShape


def neuron_addresses(shape: SensorShape) -> NDArray[np.int64]:
    """Return the address of every neuron of a map (F, H, W), as int64[F, H, W].

        address = y << (b_f + b_x) | x << b_f | f        b_n = ceil log2 n

    The fields are whole bits, those of x wide enough for the map's width, so that no two neurons share an address.

    >>> int(neuron_addresses(SensorShape(4, 16, 64))[3, 15, 63])
    4095
    """
    f_bits, x_bits = ceil_log2(shape.channels), ceil_log2(shape.width)
    f, y, x = np.ogrid[: shape.channels, : shape.height, : shape.width]
    addresses: NDArray[np.int64] = (y << (f_bits + x_bits) | x << f_bits | f).astype(np.int64)
    return addresses


def neuron_at(address: int, shape: SensorShape) -> tuple[int, int, int] | None:
    """Return (f, y, x) of the neuron at an address, or None where the map has none.

    >>> neuron_at(4095, SensorShape(4, 16, 64)), neuron_at(3, SensorShape(3, 1, 1))
    ((3, 15, 63), None)
    """
    f_bits, x_bits = ceil_log2(shape.channels), ceil_log2(shape.width)
    f, x, y = address & ((1 << f_bits) - 1), address >> f_bits & ((1 << x_bits) - 1), address >> (f_bits + x_bits)
    return (f, y, x) if address >= 0 and f < shape.channels and y < shape.height and x < shape.width else None
