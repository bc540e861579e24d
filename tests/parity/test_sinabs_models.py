"""Models of the real sinabs: their networks here spike as they do, and files of NIR pass both ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiploop.network.from_sinabs import from_sinabs
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.rng import stream
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.nir import Assume, from_nir, write_nir
from chiploop.spec.notation import parse_notation

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]

BATCH, STEPS, SHAPE = 3, 15, (2, 9, 9)


@pytest.fixture(scope="module")
def sinabs() -> Any:
    pytest.importorskip("sinabs", reason="sinabs is not installed")
    import sinabs.activation
    import sinabs.from_torch
    import sinabs.layers
    import sinabs.nir

    return sinabs


def model(sinabs: Any, neuron: Callable[..., nn.Module], *, average: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    whole = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), neuron(),
        nn.AvgPool2d(2) if average else sinabs.layers.SumPool2d(2), nn.Dropout2d(0.5),
        nn.Conv2d(4, 5, 3, stride=2, bias=False), neuron(),
        nn.Flatten(), nn.Linear(5, 6, bias=False), neuron(),
    )  # fmt: skip
    for parameter in whole.parameters():
        if parameter.dim() > 1:
            parameter.data = 3 * parameter.data + 0.1
    return whole.eval()


def inputs() -> Tensor:
    return torch.poisson(torch.full((BATCH, STEPS, *SHAPE), 0.7))


def require_same_spikes(network: NetworkSpec, module: Callable[[Tensor], Tensor]) -> None:
    x = inputs()
    with torch.no_grad():
        theirs = module(x.flatten(0, 1)).unflatten(0, (BATCH, STEPS)).flatten(2)
        ours = run_windows(Network(network), x.transpose(0, 1)).outputs.transpose(0, 1)
    assert theirs.sum() > 0
    assert torch.equal(ours, theirs)


def neurons(sinabs: Any) -> dict[str, Callable[[], nn.Module]]:
    sl, act = sinabs.layers, sinabs.activation
    size = {"batch_size": BATCH}
    return {
        "plain": lambda: sl.IAFSqueeze(**size),
        "floor": lambda: sl.IAFSqueeze(spike_threshold=torch.tensor(0.75), min_v_mem=-1.0, **size),
        "single": lambda: sl.IAFSqueeze(spike_fn=act.SingleSpike, min_v_mem=0.0, **size),
        "one at most": lambda: sl.IAFSqueeze(spike_fn=act.MaxSpike(1), **size),
        "reset": lambda: sl.IAFSqueeze(reset_fn=act.MembraneReset(), **size),
        "leak": lambda: sl.LIFSqueeze(tau_mem=3.0, spike_threshold=torch.tensor(0.25), **size),
        "without norm": lambda: sl.LIFSqueeze(tau_mem=3.0, norm_input=False, min_v_mem=-0.5, **size),
        "alpha": lambda: sl.LIFSqueeze(tau_mem=3.0, train_alphas=True, spike_threshold=torch.tensor(0.25), **size),
    }


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("kind", ["plain", "floor", "single", "one at most", "reset", "leak", "without norm", "alpha"])
def test_a_models_spikes_are_its_networks(sinabs: Any, kind: str, average: bool) -> None:
    module = model(sinabs, neurons(sinabs)[kind], average=average)
    network, _ = from_sinabs(module, SHAPE, dt_us=1_000)
    require_same_spikes(network, module)


def test_a_converted_model_is_read(sinabs: Any) -> None:
    """A CNN with ReLU goes through their own conversion; its present state is said to stay behind."""
    torch.manual_seed(0)
    cnn = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5, bias=False),
        nn.ReLU(),
    )
    cnn[0].weight.data += 0.1
    converted = sinabs.from_torch.from_model(cnn, batch_size=BATCH, input_shape=None)
    network, _ = from_sinabs(converted, SHAPE, dt_us=1_000)
    assert [layer.neuron for layer in network.spiking] == 2 * [NeuronSpec(v_min=-1.0)]
    require_same_spikes(network, converted)


@pytest.mark.parametrize("kind", ["plain", "floor"])
def test_graphs_that_sinabs_makes_are_read(sinabs: Any, kind: str) -> None:
    """Its graphs know neither floor nor reset: what is assumed makes up for the reset, and the floor is lost."""
    module = model(sinabs, neurons(sinabs)[kind])
    del module[3]  # Dropout, which its export does not know
    module(inputs().flatten(0, 1))
    graph = sinabs.nir.to_nir(module, inputs().flatten(0, 1))
    network, report = from_nir(graph, assume=Assume(reset="subtract", spikes_per_step="all", dt_us=1_000))
    direct, _ = from_sinabs(module, SHAPE, dt_us=1_000)
    for ours, theirs in zip(network.layers, direct.layers, strict=True):
        assert ours.op == theirs.op
        np.testing.assert_array_equal(ours.weight, theirs.weight)
    assert all(layer.neuron is not None and layer.neuron.v_min is None for layer in network.spiking)
    assert len(report.assumed) == 2 * 3 + 1
    if kind == "plain":
        for layer in module:
            if hasattr(layer, "reset_states"):
                layer.reset_states()
        require_same_spikes(network, module)


def test_sinabs_reads_our_files(sinabs: Any, tmp_path: Path) -> None:
    """It gives neurons a floor of minus their threshold and resets by subtraction: such a network is the same there."""
    import nir

    neuron = NeuronSpec(v_th=0.5, v_min=-0.5)
    spec = parse_notation("4c3p1-P2-5c3-6", SHAPE, neuron, stream(0, "weights"), dt_us=1_000)
    write_nir(tmp_path / "net.nir", spec)
    module = sinabs.nir.from_nir(nir.read(tmp_path / "net.nir"), batch_size=BATCH)
    require_same_spikes(spec, lambda x: module(x)[0])
