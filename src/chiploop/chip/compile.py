"""From a network in integers to a program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.dvs import DvsLayer
from chiploop.chip.place import Placement, place, placement_on
from chiploop.chip.plan import CorePlan, Design, PlanTarget, as_map, design
from chiploop.chip.profile import ChipProfile
from chiploop.chip.program import STATE_MIN, CoreConfig, Program, Target
from chiploop.chip.rules import require_rules
from chiploop.errors import DeviceError
from chiploop.quantize.scheme import QuantLayer, QuantSpec


def compile(
    quant: QuantSpec,
    profile: ChipProfile,
    placement: Placement | None = None,
    *,
    spikes_per_update: Literal["one", "all"] | None = None,
    dvs: DvsLayer | None = None,
) -> Program:
    """Return the program that carries a network; the same inputs give the same bytes.

    Pools fold into the core before them (sizes multiply), a Linear layer becomes a convolution that covers its map.
    `spikes_per_update` overrides the profile's rule, so that its effect can be measured; `dvs` says what the chip does
    to the sensor's events before its cores hear them. Raises DesignRuleError that
    lists every broken rule, or the layers for which no placement exists.
    """
    require_rules(quant, profile)
    folded = design(quant)
    plans = folded.plans
    chosen = place(plans, profile) if placement is None else placement_on(placement.cores, plans, profile)
    rule = spikes_per_update or profile.spikes_per_update
    return Program(
        profile_hash=profile.digest,
        quant_hash=quant.digest,
        cores=tuple(_core(plan, quant, chosen, rule) for plan in plans),
        input_shape=as_map(quant.base.input_shape) if dvs is None else dvs.in_shape,
        inputs=tuple(_target(target, 1, chosen.cores) for target in folded.inputs),
        outputs=tuple(chosen.cores[layer] for layer in folded.outputs),
        clock_us=quant.base.clock_us,
        dvs=dvs,
    )


def with_weights(program: Program, quant: QuantSpec) -> Program:
    """Return the program with another network's integers: what `compile` would give, without rules and placement.

    For training loops, where only weights, thresholds and floors change from step to step. Raises DeviceError when
    the network's shape is not the one the program was compiled from.
    """
    folded = design(quant)
    plans = folded.plans
    if [plan.layer for plan in plans] != [core.layer for core in program.cores]:
        raise DeviceError(
            f"the program carries layers {[core.layer for core in program.cores]}, the network has "
            f"{[plan.layer for plan in plans]}; compile it anew"
        )
    _require_same_ways(program, folded)
    cores = tuple(_refill(core, plan, quant.layer(plan.layer)) for core, plan in zip(program.cores, plans, strict=True))
    return dataclasses.replace(program, cores=cores, quant_hash=quant.digest)


def _require_same_ways(program: Program, folded: Design) -> None:
    """Raise DeviceError unless events take the same ways through the network as through the program, on one clock."""
    places = {core.layer: core.core for core in program.cores}

    def ways(targets: tuple[PlanTarget, ...], pooled: int) -> tuple[Target, ...]:
        return tuple(_target(target, pooled, places) for target in targets)

    was = (program.inputs, program.outputs, program.clock_us, *(core.targets for core in program.cores))
    outputs = tuple(places[layer] for layer in folded.outputs)
    links = (ways(plan.targets, plan.pool) for plan in folded.plans)
    if was != (ways(folded.inputs, 1), outputs, folded.network.clock_us, *links):
        raise DeviceError(
            "the network joins its layers in another way than the program, or has another clock; compile it"
        )


def core_weight(weight: NDArray[np.int8], plan: CorePlan) -> NDArray[np.int8]:
    """Return the weight as a core stores it, [C, kh, kw, F], from [F, C, kh, kw] or [F, C * kh * kw]."""
    four = weight.reshape(weight.shape[0], plan.in_shape.channels, *plan.kernel)  # [F, C, kh, kw], channel slowest
    return np.ascontiguousarray(four.transpose(1, 2, 3, 0))


def _core(plan: CorePlan, quant: QuantSpec, placement: Placement, rule: Literal["one", "all"]) -> CoreConfig:
    layer = quant.layer(plan.layer)
    assert plan.neuron is not None  # a design rule
    return CoreConfig(
        core=placement.cores[plan.layer],
        layer=plan.layer,
        weight=core_weight(layer.weight, plan),
        threshold=layer.threshold,
        floor=STATE_MIN if layer.floor is None else layer.floor,
        reset=plan.neuron.reset,
        spikes_per_update=rule,
        stride=plan.stride,
        padding=plan.padding,
        pool=plan.pool.bit_length() - 1,
        in_shape=plan.in_shape,
        neuron_shape=plan.neuron_shape,
        targets=tuple(_target(target, plan.pool, placement.cores) for target in plan.targets),
        bias=layer.bias,
        tau_us=plan.neuron.tau_us,
    )


def _target(target: PlanTarget, pooled: int, cores: Mapping[str, int]) -> Target:
    return Target(cores[target.layer], (target.pool // pooled).bit_length() - 1, target.shift)


def _refill(core: CoreConfig, plan: CorePlan, layer: QuantLayer) -> CoreConfig:
    assert plan.neuron is not None  # a quantised layer has one
    was = (core.in_shape, core.neuron_shape, core.stride, core.padding, 1 << core.pool, core.weight.shape[1:3])
    now = (plan.in_shape, plan.neuron_shape, plan.stride, plan.padding, plan.pool, plan.kernel)
    if was != now or core.tau_us != plan.neuron.tau_us:
        raise DeviceError(f"layer {plan.layer!r} changed its shape from {was} to {now}, or its neuron; compile it anew")
    return dataclasses.replace(
        core,
        weight=core_weight(layer.weight, plan),
        threshold=layer.threshold,
        floor=STATE_MIN if layer.floor is None else layer.floor,
        reset=plan.neuron.reset,
        bias=layer.bias,
    )
