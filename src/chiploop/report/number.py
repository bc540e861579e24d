"""How numbers are written: percentages with their interval, counts with a thousands mark, times in fitting units."""

from __future__ import annotations

from chiploop.measure.metric import Metric
from chiploop.report.table import Cell

MINUS = "−"
_S_PER_MIN, _S_PER_H = 60, 3600
_PER_THOUSAND = 1_000


def percent(value: float, *, digits: int = 1, signed: bool = False) -> str:
    """Return a share as percent without the sign %; differences carry their sign.

    >>> percent(0.9539), percent(-0.0564, digits=2, signed=True)
    ('95.4', '−5.64')
    """
    text = f"{100 * value:+.{digits}f}" if signed else f"{100 * value:.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"  # no "-0.0"
    return text.replace("-", MINUS)


def count(value: float) -> str:
    """Return a number of things with three significant digits at least and thousands apart.

    >>> count(1234567.8), count(3.14159), count(0)
    ('1,234,568', '3.14', '0')
    """
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}".replace("-", MINUS)
    return f"{value:.3g}".replace("-", MINUS)


def real(value: float, digits: int = 2) -> str:
    """Return a number with fixed digits and a true minus sign.

    >>> real(-1.234)
    '−1.23'
    """
    return f"{value:.{digits}f}".replace("-", MINUS)


def seconds(value: float) -> str:
    """Return a duration in ms, s, min or h.

    >>> seconds(0.0123), seconds(75), seconds(8000)
    ('12.3 ms', '1.2 min', '2.2 h')
    """
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < _S_PER_MIN:
        return f"{value:.3g} s"
    if value < _S_PER_H:
        return f"{value / _S_PER_MIN:.1f} min"
    return f"{value / _S_PER_H:.1f} h"


def energy(value_uj: float) -> str:
    """Return an energy given in microjoules in nJ, µJ or mJ, with three significant digits.

    >>> energy(0.00123), energy(126), energy(4000)
    ('1.23 nJ', '126 µJ', '4 mJ')
    """
    return _scaled(value_uj, ("nJ", "µJ", "mJ"))


def microseconds(value_us: float) -> str:
    """Return a time given in microseconds in ns, µs or ms, with three significant digits.

    >>> microseconds(0.373), microseconds(3.36), microseconds(41300)
    ('373 ns', '3.36 µs', '41.3 ms')
    """
    return _scaled(value_us, ("ns", "µs", "ms"))


def energy_cell(metric: Metric | None) -> Cell:
    """Return an energy; as detail the range that a model's constants leave open, or the half interval over seeds."""
    if metric is None:
        return Cell()
    low, high = metric.low, metric.high
    if low is None or high is None:
        return Cell(energy(metric.value))
    detail = f"{energy(low)} to {energy(high)}" if metric.interval == "range" else f"± {energy((high - low) / 2)}"
    return Cell(energy(metric.value), detail)


def _scaled(value: float, units: tuple[str, str, str]) -> str:
    """Thousandths, ones or thousands of a unit; beyond them, thousands apart."""
    if abs(value) < 1:
        return f"{value * _PER_THOUSAND:.3g} {units[0]}"
    if abs(value) < _PER_THOUSAND:
        return f"{value:.3g} {units[1]}"
    value /= _PER_THOUSAND
    return f"{value:.3g} {units[2]}" if abs(value) < _PER_THOUSAND else f"{value:,.0f} {units[2]}"


def share_cell(metric: Metric | None) -> Cell:
    """Return a share or a difference of shares in percent, its interval as detail; quoted numbers keep two digits."""
    if metric is None:
        return Cell()
    signed = metric.versus is not None
    if metric.how == "quoted":
        return Cell(percent(metric.value, digits=2, signed=signed))
    mark = "*" if metric.ties == "potential" else ""  # the table's caption says what the mark means
    return Cell(percent(metric.value, signed=signed) + mark, interval(metric, signed=signed))


def interval(metric: Metric, *, signed: bool = False) -> str:
    """Return the interval of a share in percent, or nothing."""
    if metric.low is None or metric.high is None:
        return ""
    return f"[{percent(metric.low, signed=signed)}, {percent(metric.high, signed=signed)}]"


def count_cell(metric: Metric | None) -> Cell:
    """Return a count; its half interval over seeds as detail."""
    if metric is None:
        return Cell()
    spread = f"± {count((metric.high - metric.low) / 2)}" if metric.low is not None and metric.high is not None else ""
    return Cell(count(metric.value), spread)


def seconds_cell(metric: Metric | None) -> Cell:
    """Return a duration."""
    return Cell() if metric is None else Cell(seconds(metric.value))
