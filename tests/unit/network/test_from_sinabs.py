"""Sequential models of sinabs as networks: the same spikes step by step, and nothing carried over in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sinabs_like as sl
from chiploop.errors import SpecError
from chiploop.network.from_sinabs import from_sinabs
from chiploop.network.network import Network
from chiploop.network.run import run_windows
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.ops import Conv, Flatten, Linear, SumPool

BATCH, STEPS, DT_US = 3, 12, 1_000
SHAPE = (2, 9, 9)


def model(neuron: Callable[[], nn.Module], *, average: bool = False, bias: bool = False) -> nn.Sequential:
    """Return convolutions, pools and a fully connected layer, nested, with random weights."""
    torch.manual_seed(1)
    pool = nn.AvgPool2d if average else sl.SumPool2d
    body = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=bias), neuron(), pool(2), nn.Dropout2d(0.5),
        nn.Conv2d(4, 5, 3, stride=(2, 2), padding="valid", bias=bias), neuron(),
    )  # fmt: skip
    head = nn.Sequential(nn.Flatten(), nn.Linear(5, 6, bias=bias), neuron())
    whole = nn.Sequential()
    whole.add_module("body", body)
    whole.add_module("head", head)
    for parameter in whole.parameters():
        parameter.data = 3 * parameter.data + (0.1 if parameter.dim() > 1 else 0.0)
    return whole.eval()


def counts(*shape: int) -> Tensor:
    return torch.poisson(torch.full((BATCH, STEPS, *shape), 0.7))


def require_same_spikes(network: NetworkSpec, module: nn.Module, x: Tensor, *, squeezed: bool = True) -> None:
    """Assert that the outputs are equal step by step, and that there are some."""
    with torch.no_grad():
        theirs = module(x.flatten(0, 1)).unflatten(0, (BATCH, STEPS)) if squeezed else module(x)
        ours = run_windows(Network(network), x.transpose(0, 1)).outputs
    assert theirs.sum() > 0
    assert torch.equal(ours.transpose(0, 1), theirs.flatten(2))


def iaf(**given: Any) -> Callable[[], nn.Module]:
    return lambda: sl.IAFSqueeze(batch_size=BATCH, **given)


def lif(tau: float, **given: Any) -> Callable[[], nn.Module]:
    return lambda: sl.LIFSqueeze(tau, batch_size=BATCH, **given)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize(
    "neuron",
    [
        iaf(),
        iaf(spike_threshold=0.75, min_v_mem=-1.0),
        iaf(min_v_mem=0.0, spike_fn=sl.SingleSpike),
        iaf(reset_fn=sl.MembraneReset()),
        lif(3.0, spike_threshold=0.25),
        lif(3.0, min_v_mem=-0.5, norm_input=False),
        lif(3.0, train_alphas=True, spike_threshold=0.25, spike_fn=sl.SingleSpike),
    ],
    ids=["plain", "floor", "single", "reset", "leak", "leak without norm", "alpha"],
)
def test_the_spikes_are_the_models(neuron: Callable[[], nn.Module], average: bool) -> None:
    module = model(neuron, average=average)
    network, notes = from_sinabs(module, SHAPE, dt_us=DT_US)
    require_same_spikes(network, module, counts(*SHAPE))
    assert "body.3: Dropout2d does nothing in evaluation and was left out" in notes
    assert ("body_2: average pooling by 2 became sum pooling" in notes) is average


def test_layers_are_named_by_their_modules() -> None:
    network, _ = from_sinabs(sl.Network(model(iaf(spike_threshold=0.5, min_v_mem=-1.0))), SHAPE, dt_us=DT_US)
    assert [(layer.name, layer.op) for layer in network.layers] == [
        ("body_0", Conv(channels=4, kernel=3, padding=1)),
        ("body_2", SumPool(size=2)),
        ("body_4", Conv(channels=5, kernel=3, stride=2)),
        ("head_0", Flatten()),
        ("head_1", Linear(features=6)),
    ]
    assert network.is_chain
    assert {layer.neuron for layer in network.spiking} == {NeuronSpec(v_th=0.5, v_min=-1.0)}
    assert (network.dt_us, network.clock_us) == (DT_US, None)


@pytest.mark.parametrize("neuron", [iaf(), lif(4.0, spike_threshold=0.25), lif(4.0, norm_input=False)])
def test_biases_go_to_the_slow_clock_when_it_is_given(neuron: Callable[[], nn.Module]) -> None:
    module = model(neuron, bias=True)
    with pytest.raises(SpecError, match=r"module 'body\.0' \(Conv2d\): its bias, up to .* give its period as clock_us"):
        from_sinabs(module, SHAPE, dt_us=DT_US)
    network, notes = from_sinabs(module, SHAPE, dt_us=DT_US, clock_us=DT_US)
    assert "body.0: its bias, a current at every step, is added every 1000 us" in notes
    x = counts(*SHAPE)
    with torch.no_grad():
        theirs = module(x.flatten(0, 1)).unflatten(0, (BATCH, STEPS)).flatten(2)
        ours = run_windows(Network(network), x.transpose(0, 1)).outputs.transpose(0, 1)
    assert theirs.sum() > 0
    assert torch.equal(ours, theirs)


def test_a_bias_of_zeros_is_no_bias() -> None:
    module = model(iaf(), bias=True)
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    network, _ = from_sinabs(module, SHAPE)
    assert all(layer.bias is None for layer in network.layers)
    require_same_spikes(from_sinabs(module, SHAPE, dt_us=DT_US)[0], module, counts(*SHAPE))


def test_padding_may_be_a_word_and_an_average_may_be_a_sum() -> None:
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding="same", bias=False), iaf()(), nn.AvgPool2d(2, divisor_override=1),
        nn.Conv2d(3, 4, 3, bias=False), iaf()(),
    ).eval()  # fmt: skip
    module[3].weight.data += 0.1
    network, notes = from_sinabs(module, SHAPE, dt_us=DT_US)
    assert network.layers[0].op == Conv(channels=3, kernel=3, padding=1)
    assert notes == ()
    require_same_spikes(network, module, counts(*SHAPE))


def test_time_may_be_an_axis_of_its_own() -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Flatten(2), nn.Linear(18, 5, bias=False), sl.IAF(min_v_mem=-1.0)).eval()
    module[1].weight.data += 0.2
    network, _ = from_sinabs(module, (2, 3, 3), dt_us=DT_US)
    require_same_spikes(network, module, counts(2, 3, 3), squeezed=False)


def test_present_potentials_are_said_to_stay_behind() -> None:
    module = model(iaf())
    module[0][1].v_mem = torch.ones(BATCH, 4, 9, 9)
    _, notes = from_sinabs(module, SHAPE)
    assert "body.1: its present potentials are not carried over; a network here begins at 0" in notes


CONV = lambda **given: nn.Conv2d(2, 2, **{"kernel_size": 3, "bias": False, **given})  # noqa: E731

REFUSED: dict[str, tuple[list[nn.Module], str]] = {
    "groups": ([CONV(groups=2)], r"module '0' \(Conv2d\): groups 2"),
    "dilation": ([CONV(dilation=2)], r"module '0' \(Conv2d\): groups 1, dilation \(2, 2\)"),
    "stride": ([CONV(stride=(1, 2))], r"module '0' \(Conv2d\): stride \(1, 2\) must be the same"),
    "kernel": ([CONV(kernel_size=(3, 1))], r"module '0' \(Conv2d\): kernel_size \(3, 1\)"),
    "padding mode": ([CONV(padding=1, padding_mode="circular")], r"module '0' \(Conv2d\): padding_mode 'circular'"),
    "uneven same": ([CONV(kernel_size=2, padding="same")], r"module '0' \(Conv2d\): padding 'same' with kernel 2"),
    "maximum": ([CONV(), iaf()(), nn.MaxPool2d(2)], r"module '2' \(MaxPool2d\): no event-driven chip takes a maximum"),
    "batch norm": ([CONV(), nn.BatchNorm2d(2), iaf()()], r"module '1' \(BatchNorm2d\): fold it into the weights first"),
    "ReLU": ([CONV(), nn.ReLU()], r"module '1' \(ReLU\): an activation of the analogue network"),
    "merge": ([sl.Merge()], r"module '0' \(Merge\): only sequential models are read"),
    "recurrence": ([CONV(), sl.IAFRecurrent()], r"module '1' \(IAFRecurrent\): networks here have no recurrence"),
    "unknown": ([nn.GELU()], r"module '0' \(GELU\): no such layer here; known: Conv2d, Linear"),
    "overlap": ([CONV(), iaf()(), sl.SumPool2d(3, stride=2)], r"module '2' \(SumPool2d\): kernel_size 3, stride 2"),
    "ceil": ([CONV(), iaf()(), sl.SumPool2d(2, ceil_mode=True)], r"module '2' \(SumPool2d\): .*ceil_mode True"),
    "divisor": ([CONV(), nn.AvgPool2d(2, divisor_override=3)], r"module '1' \(AvgPool2d\): divisor_override 3"),
    "average at the end": ([CONV(), iaf()(), nn.AvgPool2d(2)], "layer '2': no weights follow the average pooling"),
    "neuron first": ([iaf()()], r"module '0' \(IAFSqueeze\): it follows the input; a neuron here follows"),
    "neuron after a pool": ([CONV(), sl.SumPool2d(2), iaf()()], r"module '2' \(IAFSqueeze\): it follows '1'; a neuron"),
    "neuron twice": ([CONV(), iaf()(), iaf()()], r"module '2' \(IAFSqueeze\): it follows '0'"),
    "no flatten": ([CONV(), iaf()(), nn.Linear(7, 2, bias=False)], "layer '2': Linear needs an input of 1 axes"),
    "part of a flatten": ([CONV(), nn.Flatten(2)], r"module '1' \(Flatten\): it joins axes 2 to -1"),
    "two times": (
        [CONV(), iaf()(), CONV(), sl.IAF()],
        r"module '3' \(IAF\): time is an axis of its own in '3' and not in '1'",
    ),
    "two spikes": ([CONV(), iaf(spike_fn=sl.MaxSpike(2))()], r"module '1' \(IAFSqueeze\): spike_fn MaxSpike\(2\)"),
    "no spikes": ([CONV(), iaf(spike_fn=None)()], r"module '1' \(IAFSqueeze\): spike_fn NoneType"),
    "reset elsewhere": ([CONV(), iaf(reset_fn=sl.MembraneReset(0.5))()], r"'1' .*: reset_fn MembraneReset\(0\.5\)"),
    "another loss": ([CONV(), iaf(reset_fn=sl.MembraneSubtract(0.5))()], r"'1' .*: reset_fn MembraneSubtract\(0\.5\)"),
    "synapse": ([CONV(), iaf(tau_syn=5.0)()], r"module '1' \(IAFSqueeze\): tau_syn"),
    "thresholds": (
        [CONV(), iaf(spike_threshold=torch.tensor([1.0, 2.0]))()],
        r"module '1' \(IAFSqueeze\): spike_threshold runs from 1 to 2; the neurons of a layer here share one",
    ),
    "floor above": ([CONV(), iaf(min_v_mem=0.5)()], r"module '1' \(IAFSqueeze\): min_v_mem 0\.5 must be at most 0"),
    "no clock": ([CONV(), lif(5.0)()], r"module '1' \(LIFSqueeze\): tau_mem counts time steps: give .* dt_us"),
    "no model": ([sl.Network(None)], r"module '0' \(Network\): it has no spiking_model"),
    "nothing": ([], r"the model \(Sequential\) holds no layers"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_carried_over_is_refused_with_module_and_reason(what: str) -> None:
    modules, message = REFUSED[what]
    with pytest.raises(SpecError, match=message) as caught:
        from_sinabs(nn.Sequential(*modules), SHAPE)
    assert "\n" not in str(caught.value)


def test_spikes_without_a_limit_are_all_of_them() -> None:
    for fire, rule in ((sl.MaxSpike(None), "all"), (sl.MaxSpike(1), "one")):
        network, _ = from_sinabs(nn.Sequential(CONV(), iaf(spike_fn=fire)()), SHAPE)
        assert network.layers[0].neuron is not None
        assert network.layers[0].neuron.spikes_per_step == rule
