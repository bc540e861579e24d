"""A small store of records: seven methods, three seeds, every kind of figure; made from a seeded generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.events.types import Events, SensorShape
from chiploop.measure.accuracy import Decisions, accuracy_metrics, decide
from chiploop.measure.figure import Figure, layer_correlation, raster, weight_distribution
from chiploop.measure.gap import gap_table
from chiploop.measure.metric import Metric, Where
from chiploop.measure.record import Code, Host, RunRecord, StageRecord
from chiploop.rng import stream

SHARES: dict[str, dict[Where, float]] = {
    "cnn": {"software": 0.96, "int-sync": 0.94, "accelerator": 0.95, "chip": 0.62},
    "cnn-qat": {"software": 0.95, "int-sync": 0.945, "accelerator": 0.94, "chip": 0.70},
    "cnn-norm": {"software": 0.96, "int-sync": 0.93, "accelerator": 0.95, "chip": 0.82},
    "bptt": {"software": 0.97, "int-sync": 0.96, "chip": 0.88},
    "cil-ann": {"software": 0.80, "int-sync": 0.80, "chip": 0.91},
    "cil-bptt": {"software": 0.93, "int-sync": 0.93, "chip": 0.95},
    "cil-qat": {"software": 0.90, "int-sync": 0.90, "chip": 0.94},
}
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc")
N = 300


@dataclass(frozen=True)
class Made:
    """The parts of one method's run."""

    metrics: tuple[Metric, ...]
    figures: tuple[Figure, ...]


def make_record(
    seed: int, *, methods: tuple[str, ...] = tuple(SHARES), name: str = "nmnist-table", n_events: int = 4_000
) -> RunRecord:
    """Return the record of one seed."""
    made = [_make(method, seed, n_events) for method in methods]
    return RunRecord(
        id=f"{name}-s{seed}",
        recipe={"name": name, "seed": seed, "data": {"name": "nmnist", "n_train": 800}},
        recipe_hash=f"{seed:064x}",
        seed=seed,
        code=Code(commit="0123456789abcdef" * 2 + "01234567", dirty=False),
        versions={"python": "3.11.7", "numpy": "2.0.0"},
        host=Host(cpu="Example CPU", cores=2),
        stages=tuple(StageRecord(name="train", method=method, seconds=61.5) for method in methods),
        metrics=tuple(metric for part in made for metric in part.metrics),
        figures=(_if_response(), *(figure for part in made for figure in part.figures)),
        created_utc=f"2026-01-0{seed + 1}T00:00:00+00:00",
        command=f"chiploop run {name} --seed {seed}",
    )


def _make(method: str, seed: int, n_events: int) -> Made:
    rng = stream(seed, "store", method)
    labels = rng.integers(10, size=N)
    decisions = {where: _decisions(rng, labels, share) for where, share in SHARES[method].items()}
    metrics: list[Metric] = []
    for where, decision in decisions.items():
        metrics += accuracy_metrics(decision, labels, method=method, where=where, seed=seed)
    metrics += gap_table(decisions, labels, method=method, seed=seed).metrics()
    activity = {"spikes_per_sample": ("spikes", 5e3), "synops_per_sample": ("synops", 4.1e5)}
    for name, (unit, scale) in activity.items():
        value = float(scale * rng.uniform(0.8, 1.2))
        metrics.append(
            Metric(name=name, value=value, unit=unit, how="counted", method=method, where="chip", n=N, seed=seed)
        )
    seconds = float(rng.uniform(40, 90))
    metrics.append(Metric(name="train_seconds", value=seconds, unit="s", how="measured", method=method, seed=seed))
    return Made(tuple(metrics), _figures(method, rng, n_events))


def _decisions(rng: np.random.Generator, labels: np.ndarray, share: float) -> Decisions:
    right = rng.random(labels.size) < share
    counts = np.zeros((labels.size, 10), np.int64)
    counts[np.arange(labels.size), np.where(right, labels, (labels + 1) % 10)] = 4
    counts[0] = 0  # one silent output
    counts[1] = 1  # one tied output
    return decide(counts)


def _figures(method: str, rng: np.random.Generator, n_events: int) -> tuple[Figure, ...]:
    spread = rng.laplace(scale=0.1, size=640) if method == "bptt" else rng.uniform(-0.4, 0.4, size=640)
    epochs = np.arange(1, 9)
    n_out = 60
    inputs = Events.from_columns(
        np.sort(rng.integers(300_000, size=n_events)),
        rng.integers(2, size=n_events),
        *rng.normal(17, 5, size=(2, n_events)).clip(0, 33).astype(int),
        SensorShape(2, 34, 34),
    )
    classes = np.where(rng.random(n_out) < 0.7, 3, rng.integers(10, size=n_out))
    outputs = Events.from_columns(
        np.sort(rng.integers(300_000, size=n_out)),
        classes,
        *np.zeros((2, n_out), int),
        SensorShape(10, 1, 1),
    )
    modelled = {layer: rng.poisson(4, size=400).astype(float) for layer in LAYERS}
    noise = 0.3 if method.startswith("cil") else 1.2
    observed = {
        layer: counts + rng.normal(scale=noise * (i + 1), size=400) + 0.2 * i
        for i, (layer, counts) in enumerate(modelled.items())
    }
    return (
        weight_distribution(spread, method=method, layer="fc"),
        raster(inputs, outputs, method=method, label=3, decision=3),
        layer_correlation(modelled, observed, method=method),
        Figure(
            kind="learning-curve",
            method=method,
            data={
                "epoch": epochs,
                "train_loss": 2.3 * np.exp(-epochs / 3),
                "validation": {
                    "software": 1 - 0.9 * np.exp(-epochs / 2),
                    "chip": [None, *(0.9 - 0.8 * np.exp(-epochs[1:] / 3))],
                },
            },
        ),
        Figure(
            kind="rates",
            method=method,
            data={
                "layers": LAYERS,
                "spikes_per_sample": rng.uniform(20, 3_000, size=6),
                "synops_per_sample": rng.uniform(2e3, 3e5, size=6),
            },
        ),
        Figure(
            kind="quantisation",
            method=method,
            data={
                "layers": LAYERS,
                "scale": rng.uniform(1e-3, 1e-2, size=6),
                "snr_db": rng.uniform(25, 40, size=6),
                "clipped": rng.uniform(0, 0.01, size=6),
                "zeroed": rng.uniform(0, 0.05, size=6),
            },
        ),
    )


def _if_response() -> Figure:
    x = np.linspace(-3, 8, 111)
    return Figure(kind="if-response", data={"x": x, "relu": np.maximum(x, 0), "if_counts": np.floor(np.maximum(x, 0))})
