"""Placement: which core carries which layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chiploop.chip.plan import CorePlan
from chiploop.chip.profile import ChipProfile, CoreProfile
from chiploop.errors import DesignRuleError, DeviceError


@dataclass(frozen=True, kw_only=True)
class CoreUsage:
    """What a layer takes of its core's memories; the limits are absent on a chip without limits."""

    layer: str
    core: int
    kernel_words: int
    neuron_words: int
    kernel_limit: int | None
    neuron_limit: int | None
    bias_words: int = 0
    bias_limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One core for each layer."""

    cores: Mapping[str, int]
    usage: tuple[CoreUsage, ...]


def place(plans: Sequence[CorePlan], profile: ChipProfile) -> Placement:
    """Return the placement in which each layer, in order, has the lowest core that leaves room for all others.

    Layers and cores are matched by augmenting paths (an edge where all memories suffice), so a placement is found
    whenever there is one. Raises DesignRuleError that names the layers that compete for too few cores.
    """
    if profile.unlimited_cores:
        return placement_on({plan.layer: i for i, plan in enumerate(plans)}, plans, profile)
    allowed = {plan.layer: cores_that_fit(plan, profile) for plan in plans}
    _match(allowed, plans)
    for plan in plans:
        for core in allowed[plan.layer]:
            narrowed = {name: [c for c in cores if c != core] for name, cores in allowed.items()} | {plan.layer: [core]}
            if _is_matchable(narrowed):
                allowed = narrowed
                break
    return placement_on({name: cores[0] for name, cores in allowed.items()}, plans, profile)


def placement_on(cores: Mapping[str, int], plans: Sequence[CorePlan], profile: ChipProfile) -> Placement:
    """Return a placement chosen by hand, checked: every layer on a core of its own that holds it.

    Raises DeviceError that names the layer, the core and the memory that lacks.
    """
    if sorted(cores) != sorted(plan.layer for plan in plans):
        raise DeviceError(f"placement of {sorted(cores)} does not match the layers {sorted(p.layer for p in plans)}")
    if len(set(cores.values())) != len(cores):
        raise DeviceError(f"placement {dict(cores)} puts two layers on one core; a core carries one")
    return Placement(cores=dict(cores), usage=tuple(_usage(plan, cores[plan.layer], profile) for plan in plans))


def cores_that_fit(plan: CorePlan, profile: ChipProfile) -> list[int]:
    """Return the numbers of the cores that hold a layer by itself, ascending."""
    return [
        number
        for number, core in enumerate(profile.cores)
        if plan.kernel_words <= core.kernel_words
        and plan.neuron_words <= core.neuron_words
        and plan.bias_words <= core.bias_words
    ]


def _usage(plan: CorePlan, core: int, profile: ChipProfile) -> CoreUsage:
    if profile.unlimited_cores:
        limits = None
    elif not 0 <= core < len(profile.cores):
        last = len(profile.cores) - 1
        raise DeviceError(f"layer {plan.layer!r}: no core {core} on {profile.name!r}; cores: 0..{last}")
    else:
        limits = profile.cores[core]
        if core not in (fitting := cores_that_fit(plan, profile)):
            raise DeviceError(
                f"layer {plan.layer!r} needs {_words(plan)}; core {core} has {_words(limits)}; "
                f"cores that fit: {fitting}"
            )
    return CoreUsage(
        layer=plan.layer,
        core=core,
        kernel_words=plan.kernel_words,
        neuron_words=plan.neuron_words,
        kernel_limit=None if limits is None else limits.kernel_words,
        neuron_limit=None if limits is None else limits.neuron_words,
        bias_words=plan.bias_words,
        bias_limit=None if limits is None else limits.bias_words,
    )


def _words(memory: CorePlan | CoreProfile) -> str:
    bias = f" and {memory.bias_words} bias" if memory.bias_words else ""
    return f"{memory.kernel_words} kernel{',' if bias else ' and'} {memory.neuron_words} neuron{bias} words"


def _match(allowed: Mapping[str, list[int]], plans: Sequence[CorePlan]) -> None:
    holder: dict[int, str] = {}
    for name in allowed:
        seen: set[int] = set()
        if _augment(name, allowed, holder, seen):
            continue
        # By Hall's theorem: the layers an augmenting search meets share the cores it saw, and are one too many.
        rivals = {name} | {holder[core] for core in seen}
        needs = ", ".join(f"{plan.layer!r} ({_words(plan)})" for plan in plans if plan.layer in rivals)
        raise DesignRuleError(
            f"no placement: layers {needs} compete for {len(seen)} core(s) {sorted(seen)}; "
            "make one of them small enough for another core, or drop one"
        )


def _is_matchable(allowed: Mapping[str, list[int]]) -> bool:
    holder: dict[int, str] = {}
    return all(_augment(name, allowed, holder, set()) for name in allowed)


def _augment(name: str, allowed: Mapping[str, list[int]], holder: dict[int, str], seen: set[int]) -> bool:
    for core in allowed[name]:
        if core in seen:
            continue
        seen.add(core)
        if core not in holder or _augment(holder[core], allowed, holder, seen):
            holder[core] = name
            return True
    return False
