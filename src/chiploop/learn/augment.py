"""Random changes of recordings that keep their class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiploop.events.compiled import Motion, move_compiled
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
        drawn = self.draw(events, rng)
        moved = move_compiled(events, *drawn)
        return move_plain(events, *drawn) if moved is None else moved

    def draw(self, events: Events, rng: np.random.Generator) -> tuple[Motion, NDArray[np.float64] | None, int, int]:
        """Draw a recording's motion, a number for each event where some are lost, and the times that are kept."""
        draw = rng.uniform(-1.0, 1.0, 8).tolist()
        _, height, width = events.shape
        angle = math.radians(self.rotate_deg * draw[0])
        motion = Motion(
            cy=(height - 1) / 2,
            cx=(width - 1) / 2,
            sin=math.sin(angle),
            cos=math.cos(angle),
            sy=1.0 + self.scale * draw[1],
            sx=1.0 + self.scale * draw[2],
            shear=self.shear * draw[4],
            shift_y=self.shift_px * draw[3],
            shift_x=self.shift_px * draw[5],
            drop=self.drop * abs(draw[6]),
        )
        draws = rng.random(len(events)) if self.drop else None
        cut = round(events.duration_us * self.crop * draw[7])
        return motion, draws, events.start_us + max(cut, 0), events.stop_us + min(cut, 0)


def move_plain(
    events: Events, motion: Motion, draws: NDArray[np.float64] | None, first_us: int, stop_us: int
) -> Events:
    """Move events with NumPy; the compiled core must round each operation as these lines do."""
    m = motion
    dy, dx = events.y - m.cy, events.x - m.cx
    y = np.rint(m.sy * (m.cos * dy - m.sin * dx) + m.cy + m.shift_y).astype(np.int64)
    x = np.rint(m.sx * (m.sin * dy + m.cos * dx + m.shear * dy) + m.cx + m.shift_x).astype(np.int64)
    keep = (y >= 0) & (y < events.shape.height) & (x >= 0) & (x < events.shape.width)
    keep &= (events.t_us >= first_us) & (events.t_us < stop_us)
    if draws is not None:
        keep &= draws >= m.drop
    return Events.from_columns(
        events.t_us[keep],
        events.channel[keep],
        y[keep],
        x[keep],
        events.shape,
        start_us=events.start_us,
        stop_us=events.stop_us,
    )
