"""What the chip's integers cost: scale, signal to noise, clipped and zeroed weights by layer."""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.measure.record import RunRecord
from chiploop.report.number import percent, real
from chiploop.report.section import Block, first_figures, section, seeds_shown
from chiploop.report.table import Cell, Column, Table, row


@section("quantisation", title="Quantisation", order=90)
def quantisation(records: Sequence[RunRecord]) -> Sequence[Block]:
    """One row a layer and method."""
    shown = first_figures(records, "quantisation")
    rows = []
    for item in shown:
        data = item.figure.data
        name = item.title  # once a method: the eye finds the groups
        for layer, scale, snr, clipped, zeroed in zip(
            data["layers"], data["scale"], data["snr_db"], data["clipped"], data["zeroed"], strict=True
        ):
            shares = (percent(clipped, digits=2), percent(zeroed, digits=2))
            rows.append(row(name, layer, f"{scale:#.3g}", Cell() if snr is None else Cell(real(snr, 1)), *shares))
            name = ""
    columns = (
        Column("Method", align="left"),
        Column("Layer", align="left"),
        Column("Scale"),
        Column("SNR", "dB"),
        Column("Clipped", "% of weights"),
        Column("Zeroed", "% of weights"),
    )
    caption = f"One scale a layer for weights, thresholds and floor. {seeds_shown(shown)}" if shown else ""
    return [Table(columns, tuple(rows), caption)] if rows else []
