"""Design rules: what a chip asks of a network, one small function a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from chiploop.chip.plan import Design, ceil_log2, design
from chiploop.chip.profile import ChipProfile
from chiploop.errors import DesignRuleError
from chiploop.quantize.scheme import QuantSpec
from chiploop.registry import Registry
from chiploop.spec.graph import INPUT, NetworkSpec
from chiploop.spec.ops import SumPool

MAP_RANKS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One broken rule: where, what was found, what is allowed, by how much it is over, the nearest change that fits."""

    rule: str
    layer: str
    value: int | str
    limit: int | str
    excess: int | None
    cure: str

    def __str__(self) -> str:
        over = "" if self.excess is None else f" ({self.excess} too many)"
        return f"[{self.rule}] layer {self.layer!r}: {self.value}, allowed: {self.limit}{over}; {self.cure}"


Rule = Callable[[Design, ChipProfile], Iterable[Violation]]
RULES: Registry[Rule] = Registry("design rule")
"""Every design rule by name; a rule yields one violation for each place that breaks it."""


def check_rules(network: NetworkSpec | QuantSpec, profile: ChipProfile) -> tuple[Violation, ...]:
    """Return every violation of every rule; a network in integers is checked for its bits as well."""
    folded = design(network)
    return tuple(violation for name in RULES.names() for violation in RULES.get(name)(folded, profile))


def require_rules(network: NetworkSpec | QuantSpec, profile: ChipProfile) -> None:
    """Raise DesignRuleError that lists every violation, if there is any."""
    if violations := check_rules(network, profile):
        listed = "\n".join(f"  {violation}" for violation in violations)
        raise DesignRuleError(
            f"the network breaks {len(violations)} design rule(s) of chip {profile.name!r}:\n{listed}", violations
        )


@RULES.register("chain")
def rule_chain(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Each layer hears one source and is heard by one layer (more than `fan_out` targets break that rule instead)."""
    for name in (INPUT, *(layer.name for layer in design.network.layers)):
        sources = sum(edge.target == name for edge in design.network.edges)
        targets = sum(edge.source == name for edge in design.network.edges)
        if sources > 1:
            cure = "merges are not compiled yet; keep one source"
            found = f"{sources} sources"
            yield Violation(rule="chain", layer=name, value=found, limit=1, excess=sources - 1, cure=cure)
        over_fan_out = name != INPUT and profile.fan_out is not None and targets > profile.fan_out
        if targets > 1 and not over_fan_out:
            cure = "branches are not compiled yet; keep one target"
            found = f"{targets} targets"
            yield Violation(rule="chain", layer=name, value=found, limit=1, excess=targets - 1, cure=cure)


@RULES.register("fan_out")
def rule_fan_out(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """A core sends its events to at most `fan_out` cores."""
    for layer in design.network.layers:
        targets = sum(edge.source == layer.name for edge in design.network.edges)
        yield from _at_most("fan_out", layer.name, targets, profile.fan_out, "send to fewer layers")


@RULES.register("order")
def rule_order(design: Design, profile: ChipProfile) -> Iterator[Violation]:  # noqa: ARG001 - every rule's signature
    """A core computes weights, then neurons, then a pool; nothing stands before the first weights but Flatten."""
    first = next((plan.layer for plan in design.plans), None)
    if first is None:
        cure = "give the network a Conv or a Linear"
        yield Violation(rule="order", layer=INPUT, value="no weights", limit="at least 1", excess=None, cure=cure)
    if len(design.network.input_shape) not in MAP_RANKS:
        cure = "shape the input as (C, H, W)"
        shape = f"input {design.network.input_shape}"
        yield Violation(rule="order", layer=INPUT, value=shape, limit="1 or 3 axes", excess=None, cure=cure)
    for layer in design.network.layers:
        if layer.name == first:
            return
        if isinstance(layer.op, SumPool):
            cure = f"put the pool after {first!r}, or give {first!r} a stride" if first else "put it after a Conv"
            yield Violation(
                rule="order", layer=layer.name, value="a pool before any weights", limit="after", excess=None, cure=cure
            )


@RULES.register("neuron")
def rule_neuron(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Weights are followed by a neuron of a kind the chip has."""
    allowed = " or ".join(profile.neurons)
    for plan in design.plans:
        kind = "none" if plan.neuron is None else plan.neuron.kind
        if kind not in profile.neurons:
            leak = "; the chip's only leak is a clocked bias" if kind == "lif" else ""
            cure = f"use neuron kind {allowed!r}{leak}"
            found = f"neuron {kind}"
            yield Violation(rule="neuron", layer=plan.layer, value=found, limit=allowed, excess=None, cure=cure)


@RULES.register("bias")
def rule_bias(design: Design, profile: ChipProfile) -> Iterator[Violation]:  # noqa: ARG001 - every rule's signature
    """No biases: the chip adds one at clock edges, not at events, and programs carry none."""
    for plan in design.plans:
        if plan.has_bias:
            cure = "train without biases"
            yield Violation(rule="bias", layer=plan.layer, value="a bias", limit="none", excess=None, cure=cure)


@RULES.register("kernel_square")
def rule_kernel_square(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Kernels are square where the profile says so; a Linear layer's kernel is the map it hears."""
    for plan in design.plans if profile.square_kernels else ():
        height, width = plan.kernel
        if height != width:
            side = min(plan.kernel)
            cure = f"make the map before it square, for instance {side}x{side}"
            found = f"kernel {height}x{width}"
            yield Violation(rule="kernel_square", layer=plan.layer, value=found, limit="square", excess=None, cure=cure)


@RULES.register("kernel_size")
def rule_kernel_size(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Kernels are at most `max_kernel` a side."""
    for plan in design.plans:
        limit = profile.max_kernel
        cure = f"pool the map before it to {limit}x{limit}" if plan.fully_connected else f"use a kernel of {limit}"
        yield from _at_most("kernel_size", plan.layer, max(plan.kernel), limit, cure)


@RULES.register("stride")
def rule_stride(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """The stride is one the chip has."""
    for plan in design.plans:
        yield from _one_of("stride", plan.layer, plan.stride, profile.strides)


@RULES.register("padding")
def rule_padding(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """The padding is at most `max_padding`."""
    for plan in design.plans:
        cure = f"use a padding of {profile.max_padding}"
        yield from _at_most("padding", plan.layer, plan.padding, profile.max_padding, cure)


@RULES.register("pool")
def rule_pool(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """The pools after a layer multiply to a size the chip has, in any case a power of two (addresses are shifted)."""
    for plan in design.plans:
        allowed = profile.pools
        if allowed is None:
            below = 1 << (plan.pool.bit_length() - 1)
            allowed = (plan.pool,) if plan.pool == below else (below, 2 * below)
        yield from _one_of("pool", plan.layer, plan.pool, allowed)


@RULES.register("input_side")
def rule_input_side(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """The map a core hears is at most `max_input_side` a side."""
    for plan in design.plans:
        cure = f"crop or pool what it hears to {profile.max_input_side} pixels a side"
        yield from _at_most("input_side", plan.layer, max(plan.in_shape[1:]), profile.max_input_side, cure)


@RULES.register("output_side")
def rule_output_side(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """The neuron map, before pooling, is at most `max_output_side` a side."""
    for plan in design.plans:
        side, limit = max(plan.neuron_shape[1:]), profile.max_output_side
        cure = "" if limit is None else f"use a stride of {plan.stride * _power_of_two_over(side, limit)}"
        yield from _at_most("output_side", plan.layer, side, limit, cure)


@RULES.register("channels")
def rule_channels(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """A core hears and has at most `max_channels` channels."""
    for plan in design.plans:
        most = max(plan.in_shape.channels, plan.neuron_shape.channels)
        cure = f"use {profile.max_channels} channels"
        yield from _at_most("channels", plan.layer, most, profile.max_channels, cure)


@RULES.register("kernel_memory")
def rule_kernel_memory(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Some core's kernel memory holds c 2^(ceil log2(kx ky) + ceil log2 f) words."""
    limit = None if profile.unlimited_cores else max(core.kernel_words for core in profile.cores)
    for plan in design.plans:
        per_feature = plan.in_shape.channels << ceil_log2(plan.kernel[0] * plan.kernel[1])
        cure = _channels_that_fit(0 if limit is None else limit // per_feature, "kernel")
        yield from _at_most("kernel_memory", plan.layer, plan.kernel_words, limit, cure)


@RULES.register("neuron_memory")
def rule_neuron_memory(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Some core's neuron memory holds f 2^(ceil log2 fy + ceil log2 fx) words."""
    limit = None if profile.unlimited_cores else max(core.neuron_words for core in profile.cores)
    for plan in design.plans:
        fits = 0 if limit is None else limit * plan.neuron_shape.channels // plan.neuron_words
        cure = f"use {fits} output channels" if fits else "use a larger stride"
        yield from _at_most("neuron_memory", plan.layer, plan.neuron_words, limit, cure)


@RULES.register("core_memory")
def rule_core_memory(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """One core holds both (a layer that no core's kernel or neuron memory holds breaks those rules instead)."""
    for plan in design.plans if not profile.unlimited_cores else ():
        roomy = [core for core in profile.cores if core.kernel_words >= plan.kernel_words]
        most = max((core.neuron_words for core in roomy), default=plan.neuron_words)
        if most < plan.neuron_words <= max(core.neuron_words for core in profile.cores):
            yield Violation(
                rule="core_memory",
                layer=plan.layer,
                value=f"{plan.kernel_words} kernel words with {plan.neuron_words} neuron words",
                limit=f"{most} neuron words where the kernel fits",
                excess=plan.neuron_words - most,
                cure="use fewer output channels or a larger stride, so that one core holds both",
            )


@RULES.register("core_count")
def rule_core_count(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """There are at most as many weighted layers as cores."""
    limit, count = len(profile.cores), len(design.plans)
    if not profile.unlimited_cores and count > limit:
        cure = f"drop {count - limit} weighted layer(s)"
        yield from _at_most("core_count", design.plans[limit].layer, count, limit, cure)


@RULES.register("readout_classes")
def rule_readout_classes(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """The last layer sends from at most `readout_classes` addresses."""
    for plan in design.plans[-1:]:
        cure = f"use {profile.readout_classes} classes"
        yield from _at_most("readout_classes", plan.layer, plan.out_features, profile.readout_classes, cure)


@RULES.register("weight_bits")
def rule_weight_bits(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Weights have no more bits than the chip's."""
    if design.weight_bits is not None and design.plans:
        cure = f"quantise with bits = {profile.weight_bits}"
        yield from _at_most("weight_bits", design.plans[0].layer, design.weight_bits, profile.weight_bits, cure)


@RULES.register("state_bits")
def rule_state_bits(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """A threshold is a state that the chip can reach."""
    for layer, threshold in (design.thresholds or {}).items():
        cure = f"quantise with state_bits = {profile.state_bits}"
        yield from _at_most("state_bits", layer, threshold, (1 << (profile.state_bits - 1)) - 1, cure)


def _at_most(rule: str, layer: str, value: int, limit: int | None, cure: str) -> Iterator[Violation]:
    if limit is not None and value > limit:
        yield Violation(rule=rule, layer=layer, value=value, limit=limit, excess=value - limit, cure=cure)


def _one_of(rule: str, layer: str, value: int, allowed: tuple[int, ...] | None) -> Iterator[Violation]:
    if allowed is not None and value not in allowed:
        closest = min(allowed, key=lambda choice: (abs(choice - value), choice))
        listed = ", ".join(str(choice) for choice in allowed)
        yield Violation(rule=rule, layer=layer, value=value, limit=listed, excess=None, cure=f"use {closest}")


def _power_of_two_over(side: int, limit: int) -> int:
    return 1 << ceil_log2(-(-side // limit))


def _channels_that_fit(features: int, memory: str) -> str:
    if features < 1:
        return f"no number of output channels fits the {memory} memory; hear fewer channels or use a smaller kernel"
    return f"use {1 << (features.bit_length() - 1)} output channels"  # the address takes whole bits
