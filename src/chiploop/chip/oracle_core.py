"""The oracle's core: one update after the other, in Python's integers, as the chip's contract says it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache

from chiploop.chip.device import Counters
from chiploop.chip.program import DEAD, STATE_MAX, STATE_MIN, CoreConfig

Spike = tuple[int, int, int]
"""Channel, y, x of a neuron (or of an event that a core hears)."""

FRACTION_BITS = 16
"""Bits after the point in the state of a leaky neuron."""
FACTOR_BITS = 31
"""Bits after the point in a factor of decay."""
FINE_BITS = 10
"""The decay over dt is that over dt mod 1024 times that over the whole multiples of 1024 us."""
DIGITS = 60
"""Decimal digits of the exponentials: exp of a fraction is irrational, so so many settle the last bit of 31."""
WIDE_MIN, WIDE_MAX = -(1 << 31), (1 << 31) - 1


@lru_cache(maxsize=1 << 16)
def rounded_exp(tau_us: float, dt_us: int) -> int:
    """Return round(2^31 exp(-dt / tau)), exact in the last bit.

    >>> rounded_exp(1000.0, 0) == 2**31, rounded_exp(1000.0, 1000)
    (True, 790015084)
    """
    with localcontext(Context(prec=DIGITS)):
        scaled = Decimal(1 << FACTOR_BITS) * (-Decimal(dt_us) / Decimal(tau_us)).exp()
        return int(scaled.to_integral_value(rounding=ROUND_HALF_EVEN))


@lru_cache(maxsize=1 << 16)
def decay_factor(tau_us: float, dt_us: int) -> int:
    """Return the decay over dt with 31 bits after the point: a rounded product of two rounded exponentials.

    Time that goes back, as it may from run to run, decays nothing.
    """
    dt_us = max(0, dt_us)
    fine = rounded_exp(tau_us, dt_us & ((1 << FINE_BITS) - 1))
    coarse = rounded_exp(tau_us, (dt_us >> FINE_BITS) << FINE_BITS)
    return _rounded_shift(fine * coarse, FACTOR_BITS)


def decayed(v: int, tau_us: float, dt_us: int) -> int:
    """Return a leaky neuron's state after dt without an update."""
    return _rounded_shift(v * decay_factor(tau_us, dt_us), FACTOR_BITS)


def _rounded_shift(value: int, bits: int) -> int:
    """Divide by 2^bits; halves go up, below zero as well."""
    return (value + (1 << (bits - 1))) >> bits


class OracleCore:
    """A core with its state and counters: plain lists, so that a step is the step of the contract and nothing else."""

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self.leaky = config.tau_us is not None
        self._weight: list[list[list[list[int]]]] = config.weight.tolist()  # [C][kh][kw][F]
        self._bias: list[int] | None = None if config.bias is None else config.bias.tolist()
        self._thresholds: list[list[list[int]]] | None = (
            None if config.thresholds is None else config.thresholds.tolist()
        )
        self._fraction = FRACTION_BITS if self.leaky else 0
        wide = self.leaky or config.state_bits == 32
        self._low, self._high = (WIDE_MIN, WIDE_MAX) if wide else (STATE_MIN, STATE_MAX)
        self._floor = self._low if config.floor == STATE_MIN else config.floor << self._fraction
        self.reset()

    def reset(self) -> None:
        """Bring every state to zero, at time zero, and forget what was counted."""
        features, height, width = self.config.neuron_shape
        self._v = [[[0] * width for _ in range(height)] for _ in range(features)]
        self._t = [[0] * width for _ in range(height)]  # of the last update at a position, all of whose features it met
        self.forget()

    def forget(self) -> None:
        """Empty what was counted, not the state."""
        self._events_in = self._synops = self._clocked = 0
        self._spikes = self._saturated_high = self._saturated_low = self._floored = 0

    @property
    def has_bias(self) -> bool:
        """Whether the clock updates this core."""
        return self._bias is not None

    @property
    def n_neurons(self) -> int:
        """Number of neurons: updates of one clock edge."""
        features, height, width = self.config.neuron_shape
        return features * height * width

    def n_updates(self, y: int, x: int) -> int:
        """Return the number of synaptic updates of an event at this place of the input map."""
        return self.config.neuron_shape.channels * sum(1 for _ in self._windows(y, x))

    def hear(self, t_us: int, event: Spike) -> list[Spike]:
        """Scatter one event; returns the spikes (f, y, x) in their order, before pooling."""
        channel, y, x = event
        spikes = []
        self._events_in += 1
        for oy, ox, ky, kx in self._windows(y, x):
            self._decay(oy, ox, t_us)
            for f, w in enumerate(self._weight[channel][ky][kx]):
                self._synops += 1
                spikes += [(f, oy, ox)] * self._update(f, oy, ox, w)
        return spikes

    def tick(self, t_us: int) -> list[Spike]:
        """Add the bias to every neuron; returns the spikes as `hear` does."""
        assert self._bias is not None
        _, height, width = self.config.neuron_shape
        spikes = []
        for y in range(height):
            for x in range(width):
                self._decay(y, x, t_us)
                for f, b in enumerate(self._bias):
                    self._clocked += 1
                    spikes += [(f, y, x)] * self._update(f, y, x, b)
        return spikes

    def potentials(self, at_us: int) -> list[list[list[int]]]:
        """Return the potentials [F][H][W] at a time, in 16 bits; the state stays as it is."""
        return [
            [
                [self._potential(v, at_us - t) for v, t in zip(*rows, strict=True)]
                for rows in zip(plane, self._t, strict=True)
            ]
            for plane in self._v
        ]

    def counters(self, *, dropped: int = 0, fifo_peak: int = 0) -> Counters:
        """Return what was counted since the last `forget`; a queue before the core counts for itself."""
        return Counters(
            events_in=self._events_in,
            synops=self._synops,
            spikes=self._spikes,
            saturated_high=self._saturated_high,
            saturated_low=self._saturated_low,
            floored=self._floored,
            dropped=dropped,
            fifo_peak=fifo_peak,
            clocked=self._clocked,
        )

    def _windows(self, y: int, x: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (oy, ox, ky, kx) of every output whose kernel window covers the place, in raster order."""
        config = self.config
        _, height, width = config.neuron_shape
        _, kh, kw, _ = config.weight.shape
        for oy in range(height):
            ky = y - (oy * config.stride - config.padding)
            if not 0 <= ky < kh:
                continue
            for ox in range(width):
                kx = x - (ox * config.stride - config.padding)
                if 0 <= kx < kw:
                    yield oy, ox, ky, kx

    def _decay(self, y: int, x: int, t_us: int) -> None:
        """Bring the neurons of a position to the present."""
        if self.config.tau_us is None:
            return
        for plane in self._v:
            plane[y][x] = decayed(plane[y][x], self.config.tau_us, t_us - self._t[y][x])
        self._t[y][x] = t_us

    def _update(self, f: int, y: int, x: int, w: int) -> int:
        """Add one weight to one state: saturate, clamp at the floor, fire; returns the number of spikes."""
        config = self.config
        v = self._v[f][y][x] + (w << self._fraction)
        if v > self._high:
            self._saturated_high += 1
            v = self._high
        if v < self._low:
            self._saturated_low += 1
            v = self._low
        if v < self._floor:
            self._floored += 1
            v = self._floor
        theta = config.threshold if self._thresholds is None else self._thresholds[f][y][x]
        spikes = 0
        while theta != DEAD and v >= theta << self._fraction:
            spikes += 1
            v = v - (theta << self._fraction) if config.reset == "subtract" else 0
            if config.spikes_per_update == "one":
                break
        self._v[f][y][x] = v
        self._spikes += spikes
        return spikes

    def _potential(self, v: int, dt_us: int) -> int:
        if self.config.tau_us is not None:
            v = _rounded_shift(decayed(v, self.config.tau_us, dt_us), FRACTION_BITS)
        return min(max(v, STATE_MIN), STATE_MAX)
