"""Is a NIR file the network that it was written from: the structure, the weights, and what both compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.rng import stream
from chiploop.spec.compare import compare
from chiploop.spec.graph import NetworkSpec
from chiploop.spec.nir import Assume, NirReport, read_nir

DT_US = 1_000
"""Step of the clock for networks that know none."""


@dataclass(frozen=True, kw_only=True)
class NirCheck:
    """What a comparison of a network with its file found.

    `differences`: a line for each thing in which structure, neurons or weights differ. `n_spikes`: by layer, spikes of
    the network on the random input. `n_unequal`: by layer, windows of a neuron in which the two counts differ.
    """

    differences: tuple[str, ...]
    n_spikes: Mapping[str, int]
    n_unequal: Mapping[str, int]
    report: NirReport

    @property
    def equal(self) -> bool:
        """Whether nothing differs, neither in what the file says nor in what it computes."""
        return not self.differences and not any(self.n_unequal.values())


def verify_nir(
    network: NetworkSpec,
    path: Path,
    *,
    assume: Assume | None = None,
    n_windows: int = 8,
    n_samples: int = 4,
    seed: int = 0,
) -> NirCheck:
    """Read a NIR file back, compare it with the network, and run both on the same random event counts.

    Counts of every pixel and window are Poisson with mean 1; the same seed gives the same ones. Layers are compared in
    their order; those without a neuron are seen through the ones that follow. Raises DataError for a file that cannot
    be read.
    """
    again, report = read_nir(path, assume=assume)
    differences = compare(network, again)
    shape = (n_windows, n_samples, *network.input_shape)
    spikes: dict[str, int] = {}
    unequal: dict[str, int] = {}
    if network.spiking and again.input_shape == network.input_shape:
        x = torch.from_numpy(stream(seed, "verify-nir").poisson(1.0, shape)).float()
        ours, theirs = _counts(network, x), _counts(again, x)
        for (name, a), b in zip(ours.items(), theirs.values(), strict=False):
            spikes[name] = int(a.sum())
            unequal[name] = int((a != b).sum()) if a.shape == b.shape else a.numel()
    return NirCheck(differences=differences, n_spikes=spikes, n_unequal=unequal, report=report)


def _counts(spec: NetworkSpec, x: torch.Tensor) -> dict[str, torch.Tensor]:
    clocked = spec if spec.dt_us is not None else dataclasses.replace(spec, dt_us=DT_US)
    with torch.no_grad():
        counts = run_windows(Network(clocked), x).counts
    return {layer.name: counts[layer.name] for layer in spec.spiking}
