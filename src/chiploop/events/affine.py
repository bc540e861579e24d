"""Rotating, scaling and shifting the addresses of events, for augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chiploop.errors import DataError
from chiploop.events.types import Events


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomAffine:
    """A random small map of addresses: rotation within +-degrees, scale in 1 +- stretch, shift within +-shift_px.

    About the centre of the sensor, (y, x) <- round(scale * R (y, x) + shift). Time, channel and order stay; events that
    leave the sensor are dropped.

    >>> e = Events.from_columns([0], [0], [3], [4], (1, 8, 8))
    >>> RandomAffine(degrees=0, stretch=0, shift_px=0)(e, np.random.default_rng(0)) == e
    True
    """

    degrees: float = 10.0
    stretch: float = 0.1
    shift_px: float = 1.5

    def __post_init__(self) -> None:
        if not (self.degrees >= 0 and 0 <= self.stretch < 1 and self.shift_px >= 0):
            raise DataError(f"{self}: degrees and shift_px must be at least 0, stretch in [0, 1)")

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the events under one random map."""
        angle = math.radians(rng.uniform(-self.degrees, self.degrees))
        scale = 1 + rng.uniform(-self.stretch, self.stretch)
        dx, dy = rng.uniform(-self.shift_px, self.shift_px, 2)
        return affine(events, angle=angle, scale=scale, dx=float(dx), dy=float(dy))


def affine(events: Events, *, angle: float = 0.0, scale: float = 1.0, dx: float = 0.0, dy: float = 0.0) -> Events:
    """Rotate by `angle` (radians, x towards y), scale and shift all addresses about the sensor's centre.

    A table of where each pixel goes is made once, so the cost for each event is one look-up.
    """
    _, height, width = events.shape
    y, x = np.indices((height, width), np.float64)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    to_x = np.rint(cos * x - sin * y + dx + (width - 1) / 2).astype(np.int64)
    to_y = np.rint(sin * x + cos * y + dy + (height - 1) / 2).astype(np.int64)
    inside = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height)
    pixel = events.y.astype(np.int64) * width + events.x
    kept = inside.reshape(-1)[pixel]
    pixel = pixel[kept]
    return Events.from_columns(
        events.t_us[kept],
        events.channel[kept],
        to_y.reshape(-1)[pixel],
        to_x.reshape(-1)[pixel],
        events.shape,
        start_us=events.start_us,
        stop_us=events.stop_us,
    )
