"""Programs, run by a few lines of numpy, against torch convolutions on the network they came from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from chiploop import tree
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.compile import with_weights
from chiploop.chip.place import place, placement_on
from chiploop.chip.plan import fold
from chiploop.chip.profile import read_profile
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.errors import DesignRuleError, DeviceError
from chiploop.quantize import QuantSpec, dequantize, quantize
from chiploop.rng import stream
from chiploop.spec import Conv, Linear, NetworkSpec, NeuronSpec, SumPool
from chiploop.spec.notation import parse_notation

SPECK = read_profile("speck2f")
Address = tuple[int, int, int]


def net(notation: str, shape: tuple[int, ...], *, seed: int = 0, v_min: float | None = None) -> NetworkSpec:
    return parse_notation(notation, shape, NeuronSpec(v_th=0.4, v_min=v_min), stream(seed, "weights"))


def run_core(core: CoreConfig, events: list[Address]) -> tuple[list[Address], np.ndarray]:
    """Run one core as the chip contract words it, one update after the other."""
    _, kh, kw, features = core.weight.shape
    _, height, width = core.neuron_shape
    v = np.zeros(core.neuron_shape, np.int64)
    out: list[Address] = []
    for c, y, x in events:
        for oy in range(height):
            for ox in range(width):
                ky, kx = y + core.padding - oy * core.stride, x + core.padding - ox * core.stride
                if not (0 <= ky < kh and 0 <= kx < kw):
                    continue
                for f in range(features):
                    v[f, oy, ox] = max(v[f, oy, ox] + core.weight[c, ky, kx, f], core.floor)
                    if v[f, oy, ox] >= core.threshold:
                        v[f, oy, ox] -= core.threshold
                        out.append((f, oy >> core.pool, ox >> core.pool))
    _, oh, ow = core.out_shape
    return [(f, y, x) for f, y, x in out if y < oh and x < ow], v


def run_program(program: Program, events: list[Address]) -> tuple[list[Address], dict[str, np.ndarray]]:
    states = {}
    for core in program.cores:
        events, states[core.layer] = run_core(core, events)
    return events, states


def run_network(quant: QuantSpec, events: list[Address]) -> tuple[list[Address], dict[str, np.ndarray]]:
    """Run the network in torch, one-hot map by one-hot map, from its own layers and weights."""
    maps = [_one_hot(quant.base.input_shape, event) for event in events]
    states = {}
    for layer in quant.base.layers:
        if isinstance(layer.op, SumPool):
            k = layer.op.size
            maps = [torch.nn.functional.avg_pool2d(m[None], k)[0] * k * k for m in maps]
            maps = [m for m in maps if m.sum() > 0]  # an event in a cut-off row or column is gone
        elif not isinstance(layer.op, Conv | Linear):
            maps = [m.reshape(layer.out_shape) for m in maps]
        else:
            maps, states[layer.name] = _run_layer(quant, layer.name, maps)
    return [tuple(int(i) for i in np.argwhere(m.numpy().reshape(-1, 1, 1) > 0)[0]) for m in maps], states  # type: ignore[misc]


def _run_layer(quant: QuantSpec, name: str, maps: list[torch.Tensor]) -> tuple[list[torch.Tensor], np.ndarray]:
    layer, q = quant.base.layer(name), quant.layer(name)
    weight = torch.from_numpy(q.weight.astype(np.float64))
    v = torch.zeros(layer.out_shape, dtype=torch.float64)
    spikes_out: list[torch.Tensor] = []
    for m in maps:
        if isinstance(layer.op, Conv):
            s, p = layer.op.stride, layer.op.padding
            z = torch.nn.functional.conv2d(m[None], weight, stride=s, padding=p)[0]
            reached = torch.nn.functional.conv2d(m[None], torch.ones_like(weight), stride=s, padding=p)[0] > 0
        else:
            z, reached = weight @ m, torch.ones(layer.out_shape, dtype=torch.bool)
        v = v + z
        v = torch.where(reached, v.clamp(min=-32768 if q.floor is None else q.floor), v)
        fired = reached & (v >= q.threshold)
        v = v - fired * q.threshold
        indices = [tuple(int(i) for i in at) for at in fired.nonzero()]
        spikes_out += [_one_hot(layer.out_shape, at) for at in sorted(indices, key=lambda at: (*at[1:], at[0]))]
    return spikes_out, v.numpy()


def _one_hot(shape: tuple[int, ...], at: tuple[int, ...]) -> torch.Tensor:
    one = torch.zeros(shape, dtype=torch.float64)
    one[at] = 1
    return one


@pytest.mark.parametrize(
    ("notation", "shape", "v_min"),
    [
        ("3c3p1-P2-4c2-P2-5", (2, 9, 9), None),
        ("3c3s2p2-6-4", (2, 7, 7), -0.2),
        ("2c2-P2-P2-3c1-3", (1, 9, 9), None),
        ("6-5", (2, 3, 3), -0.1),
        ("5-4", (7,), None),
    ],
)
def test_a_program_computes_what_its_network_says(notation: str, shape: tuple[int, ...], v_min: float | None) -> None:
    quant = quantize(net(notation, shape, v_min=v_min))
    program = compile_program(quant, SPECK)
    rng = stream(1, "events")
    addresses = [tuple(int(rng.integers(n)) for n in shape) for _ in range(80)]
    spikes, states = run_network(quant, addresses)
    outputs, potentials = run_program(program, [(*at, 0, 0)[:3] for at in addresses])  # type: ignore[misc]
    assert len(spikes) > 5
    assert outputs == spikes
    assert set(states) == set(potentials)
    for name, state in states.items():
        assert np.array_equal(potentials[name].ravel(), state.ravel()), name


def test_fields_by_hand() -> None:
    base = net("3c3p1-P2-P2-5", (2, 9, 9), v_min=-0.2)
    quant = quantize(base, scales={"conv1": 1 / 256, "fc1": 1 / 128})
    program = compile_program(quant, SPECK)
    conv, fc = program.cores
    assert (conv.threshold, conv.floor, fc.threshold, fc.floor) == (102, -51, 51, -26)  # 0.4 and -0.2 over the scales
    assert (conv.pool, conv.stride, conv.padding, conv.targets, fc.targets) == (2, 1, 1, (Target(1),), ())
    assert (conv.out_shape, fc.in_shape, fc.weight.shape) == ((3, 2, 2), (3, 2, 2), (3, 2, 2, 5))
    assert conv.weight[1, 0, 2, 2] == quant.layer("conv1").weight[2, 1, 0, 2]
    assert fc.weight[2, 1, 0, 4] == quant.layer("fc1").weight[4, 2 * 4 + 1 * 2 + 0]
    assert (program.inputs, program.outputs) == ((Target(0),), (1,))
    assert (program.profile_hash, program.quant_hash) == (SPECK.digest, quant.digest)
    without = compile_program(quantize(net("3c3-5", (2, 9, 9))), SPECK)
    assert [core.floor for core in without.cores] == [-32768, -32768]


def test_the_same_inputs_give_the_same_bytes_and_come_back() -> None:
    one, two = (compile_program(quantize(net("3c3p1-P2-5", (2, 9, 9))), SPECK) for _ in range(2))
    content = tree.to_bytes(one)
    assert content == tree.to_bytes(two)
    assert tree.from_bytes(content, Program) == one


def test_the_fast_path_gives_the_bytes_of_compile() -> None:
    first, second = (quantize(net("3c3p1-P2-5", (2, 9, 9), seed=seed, v_min=-0.1 * seed or None)) for seed in (0, 1))
    placement = placement_on({"conv1": 7, "fc1": 2}, fold(first.base), SPECK)
    for given in (None, placement):
        program = compile_program(first, SPECK, given, spikes_per_update="all")
        fresh = compile_program(second, SPECK, given, spikes_per_update="all")
        assert tree.to_bytes(with_weights(program, second)) == tree.to_bytes(fresh)
        assert fresh != program


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (net("3c3p1-P2-5-5", (2, 9, 9)), "carries layers .*compile it anew"),
        (net("3c3-P2-5", (2, 9, 9)), "'conv1' changed its shape"),
        (net("3c3p1-5", (2, 9, 9)), "'conv1' changed its shape"),
        (net("3c3p1-P2-6", (2, 9, 9)), "'fc1' changed its shape"),
    ],
)
def test_the_fast_path_refuses_another_network(other: NetworkSpec, message: str) -> None:
    program = compile_program(quantize(net("3c3p1-P2-5", (2, 9, 9))), SPECK)
    with pytest.raises(DeviceError, match=message):
        with_weights(program, quantize(other))


def test_a_network_that_breaks_rules_has_no_program() -> None:
    quant = quantize(net("16", (4,)))
    with pytest.raises(DesignRuleError, match=r"readout_classes\] layer 'fc1': 16, allowed: 15 \(1 too many\)"):
        compile_program(quant, SPECK)


def test_options_reach_the_cores() -> None:
    base = net("4c1-3", (2, 4, 4))
    zero = dataclasses.replace(
        base,
        layers=tuple(
            layer if layer.neuron is None
            else dataclasses.replace(layer, neuron=dataclasses.replace(layer.neuron, reset="zero"))
            for layer in base.layers
        ),
    )  # fmt: skip
    program = compile_program(quantize(zero), SPECK, spikes_per_update="all")
    assert {core.reset for core in program.cores} == {"zero"}
    assert {core.spikes_per_update for core in program.cores} == {"all"}
    assert {core.spikes_per_update for core in compile_program(quantize(zero), SPECK).cores} == {"one"}


def test_quantising_the_dequantised_network_compiles_to_the_same_cores() -> None:
    quant = quantize(net("3c3p1-P2-5", (2, 9, 9), v_min=-0.3))
    again = quantize(dequantize(quant))
    assert compile_program(again, SPECK).cores == compile_program(quant, SPECK, place(fold(quant.base), SPECK)).cores
