"""Hypothesis strategies for event streams."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from chiploop.events.types import Events, SensorShape

LATEST_US = 1_000


@st.composite
def shapes(draw: st.DrawFn, *, channels: int = 2, side: int = 8) -> SensorShape:
    return SensorShape(draw(st.integers(1, channels)), draw(st.integers(1, side)), draw(st.integers(1, side)))


@st.composite
def events(
    draw: st.DrawFn,
    *,
    shape: SensorShape | None = None,
    max_size: int = 60,
    min_size: int = 0,
    start_us: int | None = None,
) -> Events:
    """Streams with ties, silence before and after, and empty ones."""
    sensor = shape or draw(shapes())
    start = draw(st.integers(-LATEST_US, LATEST_US)) if start_us is None else start_us
    times = sorted(draw(st.lists(st.integers(0, LATEST_US), min_size=min_size, max_size=max_size)))
    n = len(times)
    addresses = [draw(st.lists(st.integers(0, size - 1), min_size=n, max_size=n)) for size in sensor]
    stop = start + (times[-1] if times else 0) + 1 + draw(st.integers(0, LATEST_US))
    channel, y, x = (np.array(column, np.int64) for column in addresses)
    t_us = start + np.array(times, np.int64)
    return Events.from_columns(t_us, channel, y, x, sensor, start_us=start, stop_us=stop)
