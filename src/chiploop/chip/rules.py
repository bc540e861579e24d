"""Design rules: what a chip asks of a network, one small function a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from chiploop.chip import cure as cures
from chiploop.chip.place import cores_that_fit
from chiploop.chip.plan import Design, design
from chiploop.chip.profile import ChipProfile, CoreProfile
from chiploop.errors import DesignRuleError
from chiploop.quantize.scheme import QuantSpec
from chiploop.registry import Registry
from chiploop.spec.graph import INPUT, NetworkSpec

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


@RULES.register("fan_out")
def rule_fan_out(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """The input and every core send their events to at most `fan_out` cores."""
    ways = {INPUT: design.inputs, **{plan.layer: plan.targets for plan in design.plans}}
    for name, targets in ways.items():
        heard_by = ", ".join(repr(target.layer) for target in targets)
        cure = f"send to {profile.fan_out} of {heard_by}"
        yield from _at_most("fan_out", name, len(targets), profile.fan_out, cure)


@RULES.register("merge")
def rule_merge(design: Design, profile: ChipProfile) -> Iterator[Violation]:  # noqa: ARG001 - every rule's signature
    """What arrives at one core has one height and width, and a shift is a whole number of channels."""
    for plan in design.plans:
        _, height, width = plan.in_shape
        for one in plan.heard:
            if (one.height, one.width) != (height, width):
                found, limit = f"{one.height}x{one.width} from {one.source!r}", f"{height}x{width}"
                cure = "pool its sources to one size before they meet"
                yield _found("merge", plan.layer, found, limit, cure)
            if one.shift is None:
                found, limit = f"a shift of {one.source!r} inside a channel", f"multiples of {height * width} features"
                cure = "join the maps before Flatten, or shift by whole channels"
                yield _found("merge", plan.layer, found, limit, cure)


@RULES.register("output")
def rule_output(design: Design, profile: ChipProfile) -> Iterator[Violation]:  # noqa: ARG001 - every rule's signature
    """The last weighted layer alone is the output, by one way and at its own channels; every other one is heard."""
    if not design.plans:
        return  # another rule's
    last = design.plans[-1].layer
    limit, cure = f"one output, {last!r}", f"lead it to a later layer, so that {last!r} alone is the output"
    for plan in design.plans[:-1]:
        if plan.layer in design.outputs or not plan.targets:
            found = "an output" if plan.layer in design.outputs else "heard by none"
            yield _found("output", plan.layer, found, limit, cure)
    own = [way for way in design.ends if way.source == last]
    if INPUT in design.outputs or not own:
        found, cure = "no end of the network" if not own else "an end beside the input", f"end the network in {last!r}"
        yield _found("output", last, found, limit, cure)
    elif len(own) > 1 or own[0].shift != 0:
        found = f"{len(own)} ways to the end" if len(own) > 1 else "a shift on the way to the end"
        cure = f"lead {last!r} to the end by one edge, without a shift"
        yield _found("output", last, found, "one way, no shift", cure)


@RULES.register("order")
def rule_order(design: Design, profile: ChipProfile) -> Iterator[Violation]:  # noqa: ARG001 - every rule's signature
    """A core computes weights, then neurons, then a pool; nothing stands before the first weights but Flatten."""
    first = next((plan.layer for plan in design.plans), None)
    if first is None:
        cure = "give the network a Conv or a Linear"
        yield _found("order", INPUT, "no weights", "at least 1", cure)
    if len(design.network.input_shape) not in MAP_RANKS:
        cure = "shape the input as (C, H, W)"
        yield _found("order", INPUT, f"input {design.network.input_shape}", "1 or 3 axes", cure)
    for name in design.early_pools:
        cure = f"put the pool after {first!r}, or give {first!r} a stride" if first else "put it after a Conv"
        yield _found("order", name, "a pool before any weights", "after", cure)


@RULES.register("neuron")
def rule_neuron(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Weights are followed by a neuron of a kind the chip has."""
    allowed = " or ".join(profile.neurons)
    for plan in design.plans:
        kind = "none" if plan.neuron is None else plan.neuron.kind
        if kind not in profile.neurons:
            leak = "; the chip's only leak is a clocked bias" if kind == "lif" else ""
            cure = f"use neuron kind {allowed!r}{leak}"
            yield _found("neuron", plan.layer, f"neuron {kind}", allowed, cure)


@RULES.register("bias_bits")
def rule_bias_bits(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """A bias has no more bits than the chip's."""
    for layer, bias in (design.biases or {}).items():
        cure = "quantise with a larger scale, or train with smaller biases"
        yield from _at_most("bias_bits", layer, bias, (1 << (profile.bias_bits - 1)) - 1, cure)


@RULES.register("kernel_square")
def rule_kernel_square(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Kernels are square where the profile says so; a Linear layer's kernel is the map it hears."""
    for plan in design.plans if profile.square_kernels else ():
        height, width = plan.kernel
        if height != width:
            side = min(plan.kernel)
            cure = f"make the map before it square, for instance {side}x{side}"
            yield _found("kernel_square", plan.layer, f"kernel {height}x{width}", "square", cure)


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
        cure = cures.smaller_padding(plan, profile.max_padding or 0)
        yield from _at_most("padding", plan.layer, plan.padding, profile.max_padding, cure)


@RULES.register("pool")
def rule_pool(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """The pools on every way out of a layer multiply to a size the chip has, always a power of two (a shift)."""
    for plan in design.plans:
        for pool in sorted(set(plan.pools)):
            powers = tuple(1 << p for p in range(pool.bit_length() + 1))
            yield from _one_of("pool", plan.layer, pool, profile.pools or powers, most=min(plan.neuron_shape[1:]))


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
        cure = "" if limit is None else cures.smaller_output(plan, profile, limit)
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
        cure = "" if limit is None else cures.fewer_kernel_words(plan, limit)
        yield from _at_most("kernel_memory", plan.layer, plan.kernel_words, limit, cure)


@RULES.register("neuron_memory")
def rule_neuron_memory(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Some core's neuron memory holds f 2^(ceil log2 fy + ceil log2 fx) words."""
    limit = None if profile.unlimited_cores else max(core.neuron_words for core in profile.cores)
    for plan in design.plans:
        cure = "" if limit is None else cures.fewer_neurons(plan, profile, limit)
        yield from _at_most("neuron_memory", plan.layer, plan.neuron_words, limit, cure)


@RULES.register("bias_memory")
def rule_bias_memory(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """Some core's bias memory holds a word for each channel of a layer with a bias."""
    limit = None if profile.unlimited_cores else max(core.bias_words for core in profile.cores)
    for plan in design.plans:
        cure = f"use {limit} output channel(s), or no bias" if limit else "train without biases"
        yield from _at_most("bias_memory", plan.layer, plan.bias_words, limit, cure)


@RULES.register("core_memory")
def rule_core_memory(design: Design, profile: ChipProfile) -> Iterator[Violation]:
    """One core holds all (a layer that no core's kernel, neuron or bias memory holds breaks those rules instead)."""
    for plan in design.plans if not profile.unlimited_cores else ():
        needs = {"kernel": plan.kernel_words, "neuron": plan.neuron_words, "bias": plan.bias_words}
        if any(words > max(_words(core, memory) for core in profile.cores) for memory, words in needs.items()):
            continue
        if cores_that_fit(plan, profile):
            continue
        roomy = [core for core in profile.cores if core.kernel_words >= plan.kernel_words]
        most = max(roomy, key=lambda core: (min(core.neuron_words, plan.neuron_words), core.bias_words))
        lacks = max(0, plan.neuron_words - most.neuron_words) or max(0, plan.bias_words - most.bias_words)
        yield Violation(
            rule="core_memory",
            layer=plan.layer,
            value=" with ".join(f"{words} {memory} words" for memory, words in needs.items() if words),
            limit=f"{most.neuron_words} neuron and {most.bias_words} bias words where the kernel fits",
            excess=lacks or None,
            cure=cures.one_core(plan, profile.cores),
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
        cure = cures.fewer_classes(plan, profile.readout_classes or 0)
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


def _words(core: CoreProfile, memory: str) -> int:
    return int(getattr(core, f"{memory}_words"))


def _found(rule: str, layer: str, value: int | str, limit: str, cure: str) -> Violation:
    return Violation(rule=rule, layer=layer, value=value, limit=limit, excess=None, cure=cure)


def _at_most(rule: str, layer: str, value: int, limit: int | None, cure: str) -> Iterator[Violation]:
    if limit is not None and value > limit:
        yield Violation(rule=rule, layer=layer, value=value, limit=limit, excess=value - limit, cure=cure)


def _one_of(
    rule: str, layer: str, value: int, allowed: tuple[int, ...] | None, *, most: int | None = None
) -> Iterator[Violation]:
    """Yield a violation unless the value is allowed; its cure is the closest that is, up to `most`."""
    if allowed is not None and value not in allowed:
        possible = [choice for choice in allowed if most is None or choice <= most] or [min(allowed)]
        listed, cure = ", ".join(str(choice) for choice in allowed), f"use {cures.closest(value, possible)}"
        yield _found(rule, layer, value, listed, cure)
