"""Our own network, through the same door as the others."""

from __future__ import annotations

import torch
from torch import Tensor

from chiploop.bench.benchmark import OURS
from chiploop.bench.peers.contender import CONTENDERS, Contender, Work
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.rng import stream
from chiploop.spec.graph import NeuronSpec
from chiploop.spec.notation import parse_notation


@CONTENDERS.register(OURS)
def build(work: Work) -> Contender:
    """Return the network as recipes train it."""
    convolutions = "-P2-".join(f"{weight.shape[0]}c3p1" for weight in work.convolutions)
    classes = work.linear.shape[0]
    neuron = NeuronSpec(reset="zero", spikes_per_step="one")
    shape = (work.x.shape[2], work.x.shape[3], work.x.shape[4])
    spec = parse_notation(f"{convolutions}-{classes}", shape, neuron, stream(0, "weights"), dt_us=1)
    network = Network(spec)
    with torch.no_grad():
        for parameter, weight in zip(network.weights.values(), (*work.convolutions, work.linear), strict=True):
            parameter.copy_(weight.reshape(parameter.shape))

    def counts(x: Tensor) -> Tensor:
        return run_windows(network, x, keep="output").totals

    return Contender(counts=counts, parameters=list(network.weights.values()))
