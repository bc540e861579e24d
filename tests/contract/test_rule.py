"""Every design rule: a network that just passes, and one that breaks only it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from chiploop.chip.profile import ChipProfile, read_profile
from chiploop.chip.rules import RULES, check_rules, require_rules
from chiploop.errors import DesignRuleError
from chiploop.quantize import IntScheme, QuantSpec, quantize
from chiploop.spec import INPUT, Edge, NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation

Network = NetworkSpec | QuantSpec
SPECK = read_profile("speck2f")


def net(notation: str, shape: tuple[int, ...] = (1, 8, 8), neuron: NeuronSpec | None = None) -> NetworkSpec:
    return parse_notation(notation, shape, neuron or NeuronSpec(), np.random.default_rng(0))


def with_edges(*edges: tuple[str, str]) -> NetworkSpec:
    """Return four single-channel layers, conv1 to conv4, joined as told."""
    base = net("1c1-1c1-1c1-1c1", (1, 2, 2))
    return dataclasses.replace(base, edges=tuple(Edge(a, b) for a, b in edges))


def with_bias(base: NetworkSpec) -> NetworkSpec:
    first = dataclasses.replace(base.layers[0], bias=np.float32([0.5]))
    return dataclasses.replace(base, layers=(first, *base.layers[1:]))


def integers(bits: int, state_bits: int, v_th: float) -> QuantSpec:
    base = net("4-3", (6,), NeuronSpec(v_th=v_th))
    return quantize(base, IntScheme(bits=bits, state_bits=state_bits), scales={"fc1": 0.5, "fc2": 0.5})


def branch() -> NetworkSpec:
    return with_edges((INPUT, "conv1"), ("conv1", "conv2"), ("conv1", "conv3"), ("conv3", "conv4"))


def three_targets() -> NetworkSpec:
    return with_edges((INPUT, "conv1"), ("conv1", "conv2"), ("conv1", "conv3"), ("conv1", "conv4"))


@dataclass(frozen=True)
class Case:
    passes: Callable[[], Network]
    breaks: Callable[[], Network]
    cure: str  # found in the violation
    excess: int | None = None
    changes: dict[str, object] = field(default_factory=dict)  # to the profile

    @property
    def profile(self) -> ChipProfile:
        return SPECK.model_copy(update=self.changes)


CASES = {
    "chain": Case(lambda: net("1c1-1c1-1c1-1c1", (1, 2, 2)), branch, "keep one target", 1),
    "fan_out": Case(lambda: net("1c1-3"), three_targets, "fewer layers", 1),
    "order": Case(lambda: net("3c3-P2-10"), lambda: net("P2-3c3-10"), "put the pool after 'conv1'"),
    "neuron": Case(lambda: net("3"), lambda: net("3", neuron=NeuronSpec(kind="lif", tau_us=1e4)), "clocked bias"),
    "bias": Case(lambda: net("1c1-3"), lambda: with_bias(net("1c1-3")), "train without"),
    "kernel_square": Case(lambda: net("3", (2, 6, 6)), lambda: net("3", (2, 6, 5)), "for instance 5x5"),
    "kernel_size": Case(lambda: net("1c16-3", (1, 17, 17)), lambda: net("1c17-3", (1, 17, 17)), "kernel of 16", 1),
    "stride": Case(lambda: net("1c2s4-3"), lambda: net("1c2s3-3"), "use 2"),
    "padding": Case(lambda: net("1c8p7-P2-3"), lambda: net("1c8p8-P2-3"), "padding of 7", 1),
    "pool": Case(lambda: net("1c1-P2-P2-3"), lambda: net("1c1-P8-3"), "use 4"),
    "input_side": Case(
        lambda: net("1c2s2-P4-3", (1, 128, 128)), lambda: net("1c2s2-P4-3", (1, 129, 129)), "128 pixels", 1
    ),
    "output_side": Case(lambda: net("1c1-P4-3", (1, 64, 64)), lambda: net("1c1-P4-3", (1, 65, 65)), "stride of 2", 1),
    "channels": Case(lambda: net("4", (1024, 1, 1)), lambda: net("4", (1025, 1, 1)), "1024 channels", 1),
    # 512 inputs: 512 * 2^7 = 64 Ki words; a 129th feature takes an eighth address bit
    "kernel_memory": Case(lambda: net("128-3", (512,)), lambda: net("129-3", (512,)), "use 128 output channels", 65536),
    # 64 * 64 = 4,096 neurons a channel; 16 of them fill the largest core
    "neuron_memory": Case(
        lambda: net("16c1-P4-4c2s2-3", (1, 64, 64)),
        lambda: net("17c1-P4-4c2s2-3", (1, 64, 64)),
        "use 16 output channels",
        4096,
    ),
    # 64 channels, 3x3, 32x32: 32 features take 32 Ki of both (cores 3 and 4); 33 take 64 Ki and 33 Ki
    "core_memory": Case(
        lambda: net("32c3p1-P4-4c2s2-3", (64, 32, 32)),
        lambda: net("33c3p1-P4-4c2s2-3", (64, 32, 32)),
        "one core holds both",
        33 * 1024 - 16 * 1024,
    ),
    "core_count": Case(lambda: net("-".join("3" * 9)), lambda: net("-".join("3" * 10)), "drop 1 weighted", 1),
    "readout_classes": Case(lambda: net("15"), lambda: net("16"), "15 classes", 1),
    "weight_bits": Case(
        lambda: integers(4, 16, 10.0), lambda: integers(5, 16, 10.0), "bits = 4", 1, {"weight_bits": 4}
    ),
    "state_bits": Case(
        lambda: integers(4, 16, 63.5), lambda: integers(4, 16, 64.0), "state_bits = 8", 1, {"state_bits": 8}
    ),
}


def test_every_rule_has_its_case() -> None:
    assert RULES.names()
    assert sorted(CASES) == RULES.names()


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_network_just_passes(name: str) -> None:
    case = CASES[name]
    assert check_rules(case.passes(), case.profile) == ()
    require_rules(case.passes(), case.profile)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_network_breaks_only_this_rule(name: str) -> None:
    case = CASES[name]
    violations = check_rules(case.breaks(), case.profile)
    assert {violation.rule for violation in violations} == {name}
    first = violations[0]
    assert case.cure in first.cure
    assert first.excess == case.excess
    with pytest.raises(DesignRuleError) as caught:
        require_rules(case.breaks(), case.profile)
    assert caught.value.violations == violations
    for part in (f"[{name}]", repr(first.layer), str(first.value), str(first.limit), first.cure):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"chain", "fan_out", "order", "neuron", "bias", "weight_bits"}))
def test_an_ideal_chip_binds_only_what_no_program_can_say(name: str) -> None:
    assert check_rules(CASES[name].breaks(), read_profile("ideal")) == ()


def test_every_violation_is_listed_at_once() -> None:
    broken = net("1c17s3p8-P3-16", (1, 200, 200), NeuronSpec(kind="lif", tau_us=1e4))
    rules = [violation.rule for violation in check_rules(broken, SPECK)]
    assert set(rules) == {
        "input_side", "kernel_size", "neuron", "output_side", "padding", "pool", "readout_classes",
        "stride",
    }  # fmt: skip
    with pytest.raises(DesignRuleError, match=f"breaks {len(rules)} design rule"):
        require_rules(broken, SPECK)


def test_a_merge_and_a_split_input_are_refused() -> None:
    chain = ((INPUT, "conv1"), ("conv1", "conv2"), ("conv2", "conv3"), ("conv3", "conv4"))
    merged = with_edges(*chain, ("conv1", "conv4"))
    found = {(violation.layer, violation.value) for violation in check_rules(merged, SPECK)}
    assert found == {("conv1", "2 targets"), ("conv4", "2 sources")}
    split = with_edges((INPUT, "conv1"), (INPUT, "conv2"), (INPUT, "conv3"), ("conv3", "conv4"))
    assert [(v.rule, v.layer, v.excess) for v in check_rules(split, SPECK)] == [("chain", INPUT, 2)]


def test_pools_that_no_shift_can_say_are_refused_even_by_an_ideal_chip() -> None:
    found = check_rules(net("1c1-P3-3", (1, 9, 9)), read_profile("ideal"))
    assert [(violation.rule, violation.cure) for violation in found] == [("pool", "use 2")]
