"""The oracle's sensor layer: every raw event by itself, step by step."""

from __future__ import annotations

from chiploop.chip.dvs import DvsLayer
from chiploop.chip.oracle_core import Spike


class OracleDvs:
    """A sensor layer with the time of the last event of every pixel."""

    def __init__(self, layer: DvsLayer) -> None:
        self._layer = layer
        self._last_us: dict[tuple[int, int], int] = {}
        self.dropped = 0

    def reset(self) -> None:
        """Forget every event."""
        self._last_us = {}
        self.dropped = 0

    def hear(self, t_us: int, event: Spike) -> Spike | None:
        """Return the event as the cores hear it, or None, and count it, where it is dropped."""
        passed = self._hear(t_us, event)
        self.dropped += passed is None
        return passed

    def _hear(self, t_us: int, event: Spike) -> Spike | None:
        layer = self._layer
        channel, y, x = event
        if (y, x) in layer.hot_pixels:
            return None
        passes = layer.noise is None or self._is_answered(t_us, y, x, layer.noise.window_us)
        self._last_us[y, x] = t_us
        if not passes:
            return None
        if layer.merge:
            channel = 0
        height, width = layer.in_shape.height >> layer.pool, layer.in_shape.width >> layer.pool
        y, x = y >> layer.pool, x >> layer.pool
        if y >= height or x >= width:
            return None
        if layer.cut is not None:
            top, left, bottom, right = layer.cut
            if not (top <= y <= bottom and left <= x <= right):
                return None
            y, x = y - top, x - left
            height, width = bottom - top + 1, right - left + 1
        if layer.mirror_x:
            x = width - 1 - x
        if layer.mirror_y:
            y = height - 1 - y
        if layer.mirror_diagonal:
            y, x = x, y
        return channel, y, x

    def _is_answered(self, t_us: int, y: int, x: int, window_us: int) -> bool:
        """Whether one of the eight neighbours had an event not too long ago."""
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                last = self._last_us.get((y + dy, x + dx))
                if (dy, dx) != (0, 0) and last is not None and t_us - last <= window_us:
                    return True
        return False
