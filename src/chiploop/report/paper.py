"""The paper's own results, quoted: shown beside ours, never mixed with them."""

from __future__ import annotations

from chiploop.measure.metric import Metric, Where

SOURCE = "Liu et al. 2024, Front. Neurosci. 17:1323121, Table 1"
N_TEST = 10_000
"""Test samples of N-MNIST; the paper gives one run and no interval."""

_TABLE_1: tuple[tuple[str, float, float | None, float], ...] = (
    # method, software, hardware ANN, hardware SNN; per cent
    ("cnn", 97.39, 96.89, 91.75),
    ("cnn-qat", 95.98, 93.33, 92.15),
    ("bptt", 97.56, None, 95.24),
    ("cil-bptt", 96.66, None, 95.71),
)


def _quoted(method: str, where: Where, per_cent: float) -> Metric:
    return Metric(
        name="accuracy",
        value=per_cent / 100,
        unit="share",
        how="quoted",
        method=method,
        where=where,
        n=N_TEST,
        source=SOURCE,
    )


def _row(method: str, software: float, accelerator: float | None, chip: float) -> tuple[Metric, ...]:
    gap = Metric(
        name="gap",
        value=(chip - software) / 100,
        unit="share",
        how="quoted",
        method=method,
        where="chip",
        versus="software",
        n=N_TEST,
        source=SOURCE,
    )
    ann = () if accelerator is None else (_quoted(method, "accelerator", accelerator),)
    return (_quoted(method, "software", software), *ann, _quoted(method, "chip", chip), gap)


PAPER: tuple[Metric, ...] = tuple(metric for line in _TABLE_1 for metric in _row(*line))
"""Accuracy by method and place, and the gap software -> chip."""
