"""The path of the saccades from recordings of known images, by Gauss-Newton."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiploop.encode.raster import rasterize_batch
from chiploop.encode.saccade import SaccadeCamera, luminance, view
from chiploop.events.types import Events

SMOOTHNESS = 1e-3
"""Weight of the squared second difference of the path, relative to the mean curvature of the error."""
PROBE_PX = 0.5
"""Half the distance over which spatial gradients are taken: about the blur of the scene."""
LONGEST_MOVE_PX = 0.5
"""Of a knot in one iteration: beyond it the linearisation of the scene does not hold."""


class Pair(NamedTuple):
    """A recording and the image it was made of."""

    events: Events
    image: NDArray[np.uint8]


def fit_path(camera: SaccadeCamera, pairs: Sequence[Pair], *, iterations: int = 8) -> SaccadeCamera:
    """Return the camera with offset and path moved to where the images explain the recordings' signed counts best.

    With S the ON less the OFF counts of the interval k of the path, and L_k the luminance seen at knot k,

        minimise sum_k |S_k - leak - gain (L_{k+1} - L_k)|^2

    over the positions of all knots; gain and leak are solved for in every iteration.
    """
    knots = np.array(camera.path) + camera.offset
    edges = camera.knot_us * np.arange(len(knots), dtype=np.int64)
    counts = rasterize_batch([pair.events for pair in pairs], edges).counts
    signed = (counts[:, :, 1].astype(np.float32) - counts[:, :, 0]).reshape(len(knots) - 1, -1)
    margin = math.ceil(np.abs(knots).max()) + max(camera.shape.height, camera.shape.width) + 1
    scene = np.stack([luminance(camera, pair.image, margin) for pair in pairs])
    for _ in range(iterations):
        knots = knots - _newton_step(camera, scene, margin, knots, signed)
    return _on_path(camera, knots)


def correct_path(camera: SaccadeCamera, pairs: Sequence[Pair], rngs: Sequence[np.random.Generator]) -> SaccadeCamera:
    """Return the camera with its path moved by what `fit_path` finds in the recordings more than in simulated ones.

    Events come after the change that causes them, and a pixel that turns round is silent for two thresholds, so the
    path that explains signed counts lags by up to 0.3 px. Simulated recordings show the same lag, and it cancels.
    """
    images = [pair.image for pair in pairs]
    simulated = [Pair(events, image) for events, image in zip(camera.record_batch(images, rngs), images, strict=True)]
    real, known = (np.array(c.path) + c.offset for c in (fit_path(camera, pairs), fit_path(camera, simulated)))
    return _on_path(camera, np.array(camera.path) + camera.offset + real - known)


def _on_path(camera: SaccadeCamera, knots: NDArray[np.float64]) -> SaccadeCamera:
    start = knots[0]
    path = tuple((round(float(x), 3), round(float(y), 3)) for x, y in knots - start)
    return dataclasses.replace(camera, path=path, offset=(round(float(start[0]), 3), round(float(start[1]), 3)))


def _newton_step(
    camera: SaccadeCamera,
    scene: NDArray[np.float32],
    margin: int,
    knots: NDArray[np.float64],
    signed: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return the step [knots, 2] to subtract; the normal matrix couples neighbouring knots only."""
    n = len(knots)
    seen, slope = zip(*(_seen_with_slope(camera, scene, margin - knot) for knot in knots), strict=True)
    change = np.stack(seen[1:]) - np.stack(seen[:-1])
    gain = float(np.vdot(change - change.mean(), signed) / np.vdot(change - change.mean(), change))
    error = signed - signed.mean() - gain * (change - change.mean())
    normal, pull = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)
    for k in range(n):
        own = slice(2 * k, 2 * k + 2)
        # A knot enters the interval that ends at it with +gain and the one that starts at it with -gain.
        ends, starts = float(k > 0), float(k < n - 1)
        square = slope[k] @ slope[k].T * gain**2
        normal[own, own] += square * (ends + starts)
        if k > 0:
            pull[own] -= gain * slope[k] @ error[k - 1]
            cross = slope[k - 1] @ slope[k].T * gain**2
            normal[2 * k - 2 : 2 * k, own] -= cross
            normal[own, 2 * k - 2 : 2 * k] -= cross.T
        if k < n - 1:
            pull[own] += gain * slope[k] @ error[k]
    bend = np.kron(np.diff(np.eye(n), 2, axis=0), np.eye(2))
    stiffness = SMOOTHNESS * np.trace(normal) / (2 * n)
    normal += stiffness * bend.T @ bend + 1e-6 * stiffness * np.eye(2 * n)
    pull += stiffness * bend.T @ bend @ knots.reshape(-1)
    step = np.linalg.solve(normal, pull).reshape(n, 2)
    return np.clip(step, -LONGEST_MOVE_PX, LONGEST_MOVE_PX)


def _seen_with_slope(
    camera: SaccadeCamera, scene: NDArray[np.float32], corner: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the view, flat, and its derivatives [2, pixels] with respect to the image's position (x, y)."""
    _, height, width = camera.shape
    seen = view(scene, corner, height, width).reshape(-1)
    slopes = []
    for axis in (0, 1):
        probe = PROBE_PX * np.eye(2)[axis]
        # Moving the image right is moving the view's corner left.
        apart = view(scene, corner - probe, height, width) - view(scene, corner + probe, height, width)
        slopes.append(apart.reshape(-1) / np.float32(2 * PROBE_PX))
    return seen, np.stack(slopes)
