"""Physical and statistical constants, and conversions between units."""

from __future__ import annotations

US_PER_S = 1_000_000
US_PER_MS = 1_000
Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""
