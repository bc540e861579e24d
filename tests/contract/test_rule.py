"""Every design rule: a network that just passes, one that breaks only it, and the cure that leads from this to that."""

from __future__ import annotations

import dataclasses
import re
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


def joined(n: int, *edges: tuple[str, str] | tuple[str, str, int]) -> NetworkSpec:
    """Return single-channel layers conv1 to conv<n>, joined as told."""
    base = net("-".join(["1c1"] * n), (1, 2, 2))
    return dataclasses.replace(base, edges=tuple(Edge(*edge) for edge in edges))


def fan(n: int) -> NetworkSpec:
    """Return a network whose first layer is heard by `n` layers, which the last one hears."""
    heard = [f"conv{i}" for i in range(2, n + 2)]
    last = f"conv{n + 2}"
    return joined(n + 2, (INPUT, "conv1"), *(("conv1", name) for name in heard), *((name, last) for name in heard))


def biased(features: int) -> NetworkSpec:
    base = net(f"{features}c1-3")
    first = dataclasses.replace(base.layers[0], bias=np.full(features, 0.5, np.float32))
    return dataclasses.replace(base, layers=(first, *base.layers[1:]), clock_us=1_000)


def skipping(side: int) -> NetworkSpec:
    """Return a network whose last layer hears 4 / side^2 flattened maps together with the layer between."""
    base = net("4-4-3", (4 // side**2, side, side))
    return dataclasses.replace(base, edges=(*base.edges, Edge(base.layers[0].name, "fc3")))


def integers(bits: int, *, v_th: float = 10.0, bias: float | None = None) -> QuantSpec:
    base = net("4-3", (6,), NeuronSpec(v_th=v_th))
    if bias is not None:
        first = dataclasses.replace(base.layers[0], bias=np.full(4, bias, np.float32))
        base = dataclasses.replace(base, layers=(first, *base.layers[1:]), clock_us=1_000)
    return quantize(base, IntScheme(bits=bits), scales={"fc1": 0.5, "fc2": 0.5})


@dataclass(frozen=True)
class Case:
    passes: Callable[[], Network]
    breaks: Callable[[], Network]
    cure: str  # found in the violation
    excess: int | None = None
    changes: dict[str, object] = field(default_factory=dict)  # to the profile
    cured: Callable[[int], Network] | None = None  # by the first number of the cure

    @property
    def profile(self) -> ChipProfile:
        return SPECK.model_copy(update=self.changes)


def at_most(most: int, build: Callable[[int], Network], cure: str, *, excess: int = 1, **changes: object) -> Case:
    """Return the case of a rule that passes a number up to `most`, which its cure names."""
    return Case(lambda: build(most), lambda: build(most + 1), cure, excess, changes, build)


CASES = {
    "fan_out": at_most(2, fan, "send to 2 of 'conv2', 'conv3', 'conv4'"),
    "merge": Case(lambda: skipping(1), lambda: skipping(2), "pool its sources to one size"),
    "output": Case(
        lambda: joined(3, (INPUT, "conv1"), ("conv1", "conv2"), ("conv2", "conv3")),
        lambda: joined(3, (INPUT, "conv1"), ("conv1", "conv2"), ("conv1", "conv3")),
        "lead it to a later layer",
    ),
    "order": Case(lambda: net("3c3-P2-10"), lambda: net("P2-3c3-10"), "put the pool after 'conv1'"),
    "neuron": Case(lambda: net("3"), lambda: net("3", neuron=NeuronSpec(kind="lif", tau_us=1e4)), "clocked bias"),
    # scale 0.5, so that 3.5 is 7, the largest number of four bits
    "bias_bits": Case(
        lambda: integers(4, bias=3.5), lambda: integers(4, bias=4.0), "larger scale", 1, {"bias_bits": 4}
    ),
    "kernel_square": Case(
        lambda: net("3", (2, 6, 6)), lambda: net("3", (2, 6, 5)), "5x5", cured=lambda n: net("3", (2, n, n))
    ),
    "kernel_size": at_most(16, lambda n: net(f"1c{n}-3", (1, 17, 17)), "use a kernel of 16"),
    "stride": Case(lambda: net("1c2s4-3"), lambda: net("1c2s3-3"), "use 2", cured=lambda n: net(f"1c2s{n}-3")),
    "padding": at_most(7, lambda n: net(f"1c8p{n}-P2-3"), "use a padding of 7"),
    "pool": Case(lambda: net("1c1-P2-P2-3"), lambda: net("1c1-P8-3"), "use 4", cured=lambda n: net(f"1c1-P{n}-3")),
    "input_side": at_most(128, lambda n: net("1c2s2-P4-3", (1, n, n)), "128 pixels a side"),
    "output_side": Case(
        lambda: net("1c1-P4-3", (1, 64, 64)),
        lambda: net("1c1-P4-3", (1, 65, 65)),
        "use a stride of 2",
        1,
        cured=lambda n: net(f"1c1s{n}-P4-3", (1, 65, 65)),
    ),
    "channels": at_most(1024, lambda n: net("4", (n, 1, 1)), "use 1024 channels"),
    # 512 inputs: 512 * 2^7 = 64 Ki words; a 129th feature takes an eighth address bit
    "kernel_memory": at_most(128, lambda n: net(f"{n}-3", (512,)), "use 128 output channel(s)", excess=65536),
    # 64 * 64 = 4,096 neurons a channel; 16 of them fill the largest core
    "neuron_memory": at_most(
        16,
        lambda n: net(f"{n}c1-P4-4c2s2-3", (1, 64, 64)),
        "use 16 output channel(s), or use a stride of 2",
        excess=4096,
    ),
    "bias_memory": at_most(
        2,
        biased,
        "use 2 output channel(s), or no bias",
        cores=tuple(core.model_copy(update={"bias_words": 2}) for core in SPECK.cores),
    ),
    # 64 channels, 3x3, 32x32: 32 features take 32 Ki of both (cores 3 and 4); 33 take 64 Ki and 33 Ki
    "core_memory": at_most(
        32,
        lambda n: net(f"{n}c3p1-P4-4c2s2-3", (64, 32, 32)),
        "use 32 output channel(s), so that one core holds all",
        excess=33 * 1024 - 16 * 1024,
    ),
    "core_count": Case(
        lambda: net("-".join("3" * 9)),
        lambda: net("-".join("3" * 10)),
        "drop 1 weighted",
        1,
        cured=lambda n: net("-".join("3" * (10 - n))),
    ),
    "readout_classes": at_most(15, lambda n: net(f"{n}"), "use 15 classes"),
    "weight_bits": at_most(4, integers, "quantise with bits = 4", weight_bits=4),
    "state_bits": Case(
        lambda: integers(4, v_th=63.5),
        lambda: integers(4, v_th=64.0),
        "quantise with state_bits = 8",
        1,
        {"state_bits": 8},
        lambda n: quantize(net("4-3", (6,), NeuronSpec(v_th=64.0)), IntScheme(bits=4, state_bits=n)),
    ),
}
NO_NUMBER = {"merge", "output", "order", "neuron", "bias_bits"}


def test_every_rule_has_its_case() -> None:
    assert RULES.names()
    assert sorted(CASES) == RULES.names()
    assert {name for name, case in CASES.items() if case.cured is None} == NO_NUMBER


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


@pytest.mark.parametrize("name", sorted(set(CASES) - NO_NUMBER))
def test_the_number_that_a_cure_names_makes_the_network_pass(name: str) -> None:
    case = CASES[name]
    assert case.cured is not None
    number = re.search(r"\d+", check_rules(case.breaks(), case.profile)[0].cure)
    assert number is not None
    cured = case.cured(int(number[0]))
    assert cured != case.breaks()
    assert check_rules(cured, case.profile) == ()


@pytest.mark.parametrize(
    "name", sorted(set(CASES) - {"fan_out", "merge", "output", "order", "neuron", "bias_bits", "weight_bits"})
)
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


def test_branches_merges_and_a_split_input_are_taken() -> None:
    chain = ((INPUT, "conv1"), ("conv1", "conv2"), ("conv2", "conv3"), ("conv3", "conv4"))
    assert check_rules(joined(4, *chain, ("conv1", "conv4")), SPECK) == ()
    split = joined(4, (INPUT, "conv1"), (INPUT, "conv2"), ("conv1", "conv3"), ("conv2", "conv3"), ("conv3", "conv4"))
    assert check_rules(split, SPECK) == ()


def test_the_input_has_as_many_destinations_as_a_core() -> None:
    split = joined(4, *((INPUT, f"conv{i}") for i in (1, 2, 3)), *((f"conv{i}", "conv4") for i in (1, 2, 3)))
    assert [(v.rule, v.layer, v.excess) for v in check_rules(split, SPECK)] == [("fan_out", INPUT, 1)]


def test_a_shift_inside_a_channel_is_refused_and_one_by_whole_channels_is_not() -> None:
    def shifted(by: int) -> NetworkSpec:
        """Return a network whose last layer hears a flattened 2 x 2 map twice, the second time `by` features on."""
        base = net("1c1-3", (1, 2, 2))
        wide = net("3", (4 + by,)).layers[-1]
        last = dataclasses.replace(wide, name="fc1")
        flat = base.layers[1].name
        edges = (*base.edges, Edge(flat, "fc1", by))
        return dataclasses.replace(base, layers=(*base.layers[:-1], last), edges=edges)

    assert check_rules(shifted(4), SPECK) == ()
    (violation,) = check_rules(shifted(3), SPECK)
    assert (violation.rule, violation.layer, violation.limit) == ("merge", "fc1", "multiples of 4 features")


def test_an_end_that_no_core_can_make_is_refused() -> None:
    base = net("1c1-1c1-P2", (1, 4, 4))
    pool = base.layers[-1].name
    twice = dataclasses.replace(base, edges=(*base.edges, Edge("conv2", pool)))
    assert [(v.rule, v.value) for v in check_rules(twice, SPECK)] == [("output", "2 ways to the end")]
    wide = dataclasses.replace(base.layers[-1], in_shape=(3, 4, 4))
    shifted = dataclasses.replace(
        base, layers=(*base.layers[:-1], wide), edges=(*base.edges[:-1], Edge("conv2", pool, 2))
    )
    assert [(v.rule, v.value) for v in check_rules(shifted, SPECK)] == [("output", "a shift on the way to the end")]
    beside = dataclasses.replace(base, edges=(*base.edges, Edge(INPUT, pool)))
    found = {(v.rule, v.value) for v in check_rules(beside, SPECK)}
    assert found == {("order", "a pool before any weights"), ("output", "an end beside the input")}


def test_pools_that_no_shift_can_say_are_refused_even_by_an_ideal_chip() -> None:
    found = check_rules(net("1c1-P3-3", (1, 9, 9)), read_profile("ideal"))
    assert [(violation.rule, violation.cure) for violation in found] == [("pool", "use 2")]


def test_every_way_out_of_a_layer_is_held_against_the_pools() -> None:
    # conv2 hears conv1 through 2 x 2; the skip lets conv3 hear it through 2 x 2 and then 4 x 4.
    base = net("1c1-P2-1c1-P4-1c1", (1, 16, 16))
    _, half, _, quarter, _ = (layer.name for layer in base.layers)
    (violation,) = check_rules(dataclasses.replace(base, edges=(*base.edges, Edge(half, quarter))), SPECK)
    assert (violation.rule, violation.layer, violation.value, violation.cure) == ("pool", "conv1", 8, "use 4")
