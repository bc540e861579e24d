"""Random changes of recordings that keep their class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chiploop.events.types import Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """Shifts, small turns and stretches, lost events and cropped time; each drawn uniformly for each recording.

    `shift_px`: up to so many pixels each way (fractions too); `rotate_deg`, `scale`, `shear`: up to so much each way,
    about the sensor's middle; `drop`: up to this share of events lost; `crop`: up to this share of the time cut off at
    the start or the end. Events keep their order; those that leave the sensor are gone.
    """

    shift_px: float = 0.0
    rotate_deg: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    drop: float = 0.0
    crop: float = 0.0

    def __call__(self, events: Events, rng: np.random.Generator) -> Events:
        """Return the changed recording; it has the bounds of the old one."""
        draw = rng.uniform(-1.0, 1.0, 8)
        _, height, width = events.shape
        cy, cx = (height - 1) / 2, (width - 1) / 2
        angle = math.radians(self.rotate_deg * draw[0])
        sy, sx = 1.0 + self.scale * draw[1], 1.0 + self.scale * draw[2]
        dy, dx = events.y - cy, events.x - cx
        sin, cos = math.sin(angle), math.cos(angle)
        y = np.rint(sy * (cos * dy - sin * dx) + cy + self.shift_px * draw[3]).astype(np.int64)
        x = np.rint(sx * (sin * dy + cos * dx + self.shear * draw[4] * dy) + cx + self.shift_px * draw[5]).astype(
            np.int64
        )
        keep = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        if self.drop:
            keep &= rng.random(len(events)) >= self.drop * abs(draw[6])
        if self.crop:
            cut = round(events.duration_us * self.crop * draw[7])
            keep &= (events.t_us >= events.start_us + max(cut, 0)) & (events.t_us < events.stop_us + min(cut, 0))
        return Events.from_columns(
            events.t_us[keep],
            events.channel[keep],
            y[keep],
            x[keep],
            events.shape,
            start_us=events.start_us,
            stop_us=events.stop_us,
        )
