"""Fit the saccade camera to real N-MNIST recordings of known images, and report how well it agrees.

python -m chiploop.encode.calibrate --data DIR            compare the default camera with held-out recordings
python -m chiploop.encode.calibrate --data DIR --fit 150  fit on 150 recordings first
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop.encode.raster import rasterize_batch
from chiploop.encode.saccade import SaccadeCamera
from chiploop.encode.saccade_delay import align, estimate_delays
from chiploop.encode.saccade_fit import Pair, correct_path
from chiploop.events.types import Events
from chiploop.rng import stream

FIT_WINDOW_US = 10_000
REPORT_WINDOW_US = 30_000
SACCADES_US = (0, 95_000, 220_000, 320_000)
"""Bounds of the three movements: the mean rate over 1,000 recordings is lowest near 90 and 223 ms."""
HELD_OUT = 200
PATH_ROUNDS = 3

FIRST_STEPS: dict[str, float] = {
    "threshold_on": 0.1,
    "threshold_off": 0.1,
    "refractory_us": 0.2,
    "ambient": 0.2,
    "gamma": 0.15,
    "blur_px": 0.15,
}
"""Relative steps with which the search begins; each is halved when neither direction helps."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Agreement:
    """Real against simulated recordings of the same images; each pair is (real, simulated).

    Correlations are over the pixels of one recording, averaged over recordings: of whole-recording counts per
    polarity, of counts per polarity and saccade, and of counts per polarity in windows of REPORT_WINDOW_US. `ceiling`
    holds the same three between two simulations of the same image: more than that no simulation could reach if real
    recordings scatter as simulated ones do.
    """

    n: int
    events: tuple[float, float]
    events_spread: tuple[float, float]
    on_share: tuple[float, float]
    per_saccade: tuple[tuple[float, ...], tuple[float, ...]]
    rate_error: float
    correlation: tuple[float, float, float]
    ceiling: tuple[float, float, float]

    def __str__(self) -> str:
        lines = [
            f"recordings compared              {self.n}",
            f"events a recording               real {self.events[0]:.0f}, simulated {self.events[1]:.0f}",
            f"  standard deviation             real {self.events_spread[0]:.0f}, simulated {self.events_spread[1]:.0f}",
            f"share of ON                      real {self.on_share[0]:.4f}, simulated {self.on_share[1]:.4f}",
            "events a saccade                 "
            + "; ".join(f"real {r:.0f}, simulated {s:.0f}" for r, s in zip(*self.per_saccade, strict=True)),
            f"rate in 10 ms bins, rms error    {self.rate_error:.3f} of the mean rate",
        ]
        names = ("whole recording", "each saccade", f"{REPORT_WINDOW_US // 1000} ms windows")
        for name, value, ceiling in zip(names, self.correlation, self.ceiling, strict=True):
            lines.append(f"correlation, {name:<20s}{value:.3f} (between two simulations {ceiling:.3f})")
        return "\n".join(lines)


def simulate(camera: SaccadeCamera, pairs: Sequence[Pair], *, seed: int, pass_: int) -> list[Events]:
    """Record the images of the pairs."""
    rngs = [stream(seed, "calibrate", pass_, k) for k in range(len(pairs))]
    return camera.record_batch([pair.image for pair in pairs], rngs)


def compare(camera: SaccadeCamera, pairs: Sequence[Pair], *, seed: int = 0) -> Agreement:
    """Return how recordings of the camera agree with the real ones."""
    real = [pair.events for pair in pairs]
    one, two = (simulate(camera, pairs, seed=seed, pass_=k) for k in (1, 2))
    whole = np.array([0, camera.duration_us])
    windows = np.arange(0, camera.duration_us + REPORT_WINDOW_US, REPORT_WINDOW_US)
    bins = np.arange(0, camera.duration_us + FIT_WINDOW_US, FIT_WINDOW_US)
    cuts = [whole, np.array(SACCADES_US), windows]
    fine = [rasterize_batch(recordings, bins).counts for recordings in (real, one)]
    rates = [counts.sum(axis=(1, 3, 4)) / len(pairs) for counts in fine]
    numbers = [np.array([len(events) for events in recordings]) for recordings in (real, one)]
    saccades = [rasterize_batch(r, cuts[1]).counts.sum(axis=(1, 2, 3, 4)) / len(pairs) for r in (real, one)]
    return Agreement(
        n=len(pairs),
        events=(float(numbers[0].mean()), float(numbers[1].mean())),
        events_spread=(float(numbers[0].std()), float(numbers[1].std())),
        on_share=(_on_share(rates[0]), _on_share(rates[1])),
        per_saccade=(tuple(saccades[0].tolist()), tuple(saccades[1].tolist())),
        rate_error=float(np.sqrt(np.mean((rates[0] - rates[1]) ** 2)) / rates[0].mean()),
        correlation=_three([_correlation(real, one, cut) for cut in cuts]),
        ceiling=_three([_correlation(one, two, cut) for cut in cuts]),
    )


def mismatch_loss(camera: SaccadeCamera, pairs: Sequence[Pair], *, seed: int = 0) -> float:
    """Return the squared distance of real counts from the simulated mean, in FIT_WINDOW_US windows, over that of zero.

    Two independent simulations a, b of each image estimate it without bias as the mean of (real - a)(real - b): the
    square of one simulation's error would reward a camera that emits too few events, since those scatter less.
    """
    edges = np.arange(0, camera.duration_us + FIT_WINDOW_US, FIT_WINDOW_US)
    real = rasterize_batch([pair.events for pair in pairs], edges).counts.astype(np.float32)
    one, two = (rasterize_batch(simulate(camera, pairs, seed=seed, pass_=k), edges).counts for k in (1, 2))
    return float(np.mean((real - one) * (real - two)) / np.mean(real**2))


def search(
    camera: SaccadeCamera,
    loss: Callable[[SaccadeCamera], float],
    steps: dict[str, float],
    *,
    rounds: int,
    tell: Callable[[str], None] = lambda _: None,
) -> SaccadeCamera:
    """Minimise by coordinate search: each parameter a relative step up, else down; a step that fails is halved."""
    best, steps = loss(camera), dict(steps)
    for turn in range(rounds):
        for name, step in steps.items():
            for factor in (1 + step, 1 / (1 + step)):
                trial = dataclasses.replace(camera, **{name: getattr(camera, name) * factor})
                value = loss(trial)
                if value < best:
                    best, camera = value, trial
                    break
            else:
                steps[name] = step / 2
        settings = ", ".join(f"{name} {getattr(camera, name):.4g}" for name in steps)
        tell(f"round {turn + 1}: loss {best:.4f}; {settings}")
    return camera


def fit(
    camera: SaccadeCamera, pairs: Sequence[Pair], *, rounds: int, tell: Callable[[str], None] = lambda _: None
) -> SaccadeCamera:
    """Return the camera with path, onsets, optics and thresholds fitted to the pairs.

    Recordings are brought to one clock first; otherwise their onsets' scatter would pass for a slower movement.
    """
    still = (0.0,) * len(camera.pauses_us)
    for turn in range(PATH_ROUNDS):
        delays = estimate_delays(camera, pairs)
        tell(f"delays of movements in us: mean {delays.mean(0).round()}, standard deviation {delays.std(0).round()}")
        aligned = align(camera, pairs, delays - delays.mean(0))
        rngs = [stream(0, "calibrate", "path", turn, k) for k in range(len(pairs))]
        camera = correct_path(dataclasses.replace(camera, onset_spread_us=still), aligned, rngs)
    # A uniform spread of half-width w has the standard deviation w / sqrt(3).
    spread = tuple(round(float(s) * 3**0.5) for s in delays[:, 1:].std(0))
    found = search(camera, lambda c: mismatch_loss(c, aligned), FIRST_STEPS, rounds=rounds, tell=tell)
    return dataclasses.replace(found, onset_spread_us=spread)


def load_pairs(data: Path | None, n: int | None = None) -> list[Pair]:
    """Return real recordings with the images behind them, in an order that mixes the digits."""
    from chiploop.datasets.mnist import open_mnist
    from chiploop.datasets.nmnist import open_nmnist

    recordings, images = open_nmnist(data), open_mnist(data).images[..., 0]
    order = stream(0, "calibrate", "order").permutation(len(recordings))[:n]
    return [Pair(s.events, images[int(s.key) - 1]) for s in (recordings.sample(int(i)) for i in order)]


def _on_share(rates: NDArray[np.float64]) -> float:
    return float(rates[:, 1].sum() / rates.sum())


def _correlation(left: Sequence[Events], right: Sequence[Events], edges: NDArray[np.int64]) -> float:
    """Return the mean over recordings of the correlation over windows, polarities and pixels."""
    a, b = (
        rasterize_batch(recordings, edges).counts.swapaxes(0, 1).reshape(len(recordings), -1).astype(np.float64)
        for recordings in (left, right)
    )
    a, b = (m - m.mean(axis=1, keepdims=True) for m in (a, b))
    return float(np.mean((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))))


def _three(values: list[float]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report; fit first where asked."""
    parser = argparse.ArgumentParser(description="Compare the saccade camera with real N-MNIST recordings, or fit it.")
    parser.add_argument("--data", type=Path, default=None, help="data root with N-MNIST and MNIST")
    parser.add_argument("--fit", type=int, default=0, metavar="N", help="fit on N recordings before comparing")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of the parameter search")
    parser.add_argument("--picture", type=Path, default=None, help="write a picture, real beside simulated")
    options = parser.parse_args(arguments)
    pairs = load_pairs(options.data)
    held_out, rest = pairs[:HELD_OUT], pairs[HELD_OUT:]
    camera = SaccadeCamera()
    if options.fit:
        camera = fit(camera, rest[: options.fit], rounds=options.rounds, tell=print)
        print(camera)
    print(compare(camera, held_out))
    if options.picture is not None:
        from chiploop.encode.saccade_picture import write_picture

        write_picture(options.picture, camera, held_out[:4])


if __name__ == "__main__":
    main()
