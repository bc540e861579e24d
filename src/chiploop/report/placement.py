"""A placement as text: what every core holds and where it sends; or which layers compete for which cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chiploop.chip.place import CoreUsage, Placement, cores_that_fit, place
from chiploop.chip.plan import CorePlan, Design, PlanTarget
from chiploop.chip.profile import ChipProfile
from chiploop.errors import DesignRuleError

BAR = 10
"""Signs of a bar in text."""
FREE = "free"


@dataclass(frozen=True)
class Memory:
    """One memory of a core: words taken, and words there are (absent on a chip without limits)."""

    name: str
    words: int
    limit: int | None

    @property
    def share(self) -> float | None:
        """Part of the memory that is taken; nothing taken of nothing is 0."""
        return None if self.limit is None else self.words / max(1, self.limit)


@dataclass(frozen=True)
class CoreRow:
    """A core of the chip, and the layer on it, if any."""

    core: int
    layer: str | None
    memories: tuple[Memory, ...]


@dataclass(frozen=True)
class Link:
    """A way of events: from a core (None: the input) to a core (None: out of the chip)."""

    source: int | None
    target: int | None
    pool: int = 1
    shift: int = 0

    @property
    def label(self) -> str:
        """What happens on the way: "pool 2, channels +16", or nothing."""
        pooled = [f"pool {self.pool}"] if self.pool > 1 else []
        return ", ".join([*pooled, *([f"channels +{self.shift}"] if self.shift else [])])


def core_rows(placement: Placement, profile: ChipProfile) -> tuple[CoreRow, ...]:
    """Return every core of the chip, by number; of a chip without limits those that are used."""
    taken = {one.core: CoreRow(one.core, one.layer, _memories(one)) for one in placement.usage}
    for number, core in enumerate(profile.cores):
        memories = (("kernel", core.kernel_words), ("neuron", core.neuron_words), ("bias", core.bias_words))
        taken.setdefault(number, CoreRow(number, None, tuple(Memory(name, 0, words) for name, words in memories)))
    return tuple(taken[number] for number in sorted(taken))


def links(design: Design, placement: Placement) -> tuple[Link, ...]:
    """Return every way of events: the input's, each core's in data-flow order, and the ways out."""
    cores = placement.cores
    ways = [_link(None, target, cores) for target in design.inputs]
    ways += [_link(cores[plan.layer], target, cores) for plan in design.plans for target in plan.targets]
    pools = {plan.layer: plan.pool for plan in design.plans}
    return tuple(ways + [Link(cores[layer], None, pools[layer]) for layer in design.outputs])


def rivals(plans: Sequence[CorePlan], profile: ChipProfile) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the layers that compete and the cores they compete for, one too few; nothing where a placement exists.

    By Hall's theorem the layers of a smallest set that has no placement fit, together, one core fewer than they are.
    """
    if _has_placement(plans, profile):
        return (), ()
    left = list(plans)
    for plan in reversed(plans):
        others = [other for other in left if other is not plan]
        if not _has_placement(others, profile):
            left = others
    cores = {core for plan in left for core in cores_that_fit(plan, profile)}
    return tuple(plan.layer for plan in left), tuple(sorted(cores))


def placement_text(design: Design, placement: Placement, profile: ChipProfile) -> str:
    """Return the cores with bars for their memories, each followed by its destinations.

    >>> import numpy as np
    >>> from chiploop.chip.plan import design
    >>> from chiploop.chip.profile import read_profile
    >>> from chiploop.spec import NeuronSpec
    >>> from chiploop.spec.notation import parse_notation
    >>> chip = read_profile("mini").model_copy(update={"cores": read_profile("mini").cores[:2]})
    >>> network = design(parse_notation("64c3-P2-10", (2, 10, 10), NeuronSpec(), np.random.default_rng(0)))
    >>> print(placement_text(network, place(network.plans, chip), chip))
    input -> core 0 (conv1)
    core  layer  kernel words                     neuron words
       0  conv1  [#.........]  2,048/16,384  12%  [#.........] 4,096/65,536   6%
                 -> core 1 (fc1), pool 2
       1  fc1    [#####.....] 16,384/32,768  50%  [#.........]    10/32,768   0%
                 -> out
    """
    rows, ways = core_rows(placement, profile), links(design, placement)
    names = {row.core: row.layer or FREE for row in rows}
    shown = [i for i in range(3) if i < 2 or any(row.memories[i].words for row in rows)]
    columns = [_memory_column([row.memories[i] for row in rows], bars=i < 2) for i in shown]
    layer = max(len("layer"), *(len(name) for name in names.values()))
    lines = [f"input -> {_place_name(way, names)}" for way in ways if way.source is None]
    lines.append(f"core  {'layer':<{layer}}  " + "  ".join(column[0] for column in columns))
    for number, row in enumerate(rows):
        cells = "  ".join(column[number + 1] for column in columns)
        lines.append(f"{row.core:>4}  {names[row.core]:<{layer}}  {cells}")
        margin = " " * (len("core") + layer + 4)
        lines += [f"{margin}-> {_place_name(way, names)}" for way in ways if way.source == row.core]
    return "\n".join(line.rstrip() for line in lines)


def contest_text(plans: Sequence[CorePlan], profile: ChipProfile) -> str:
    """Return which cores hold each layer by itself; the layers that compete are marked with the cores they share.

    >>> import numpy as np
    >>> from chiploop.chip.plan import fold
    >>> from chiploop.chip.profile import read_profile
    >>> from chiploop.spec import NeuronSpec
    >>> from chiploop.spec.notation import parse_notation
    >>> plans = fold(parse_notation("16c1-12c1-P4-4c2s2", (1, 64, 64), NeuronSpec(), np.random.default_rng(0)))
    >>> print(contest_text(plans, read_profile("mini")))
    x: the core holds the layer by itself; #: so it does, but 2 layers compete for 1 core(s)
    core   0 1 2 3 4
    conv1  # . . . .  16 kernel, 65,536 neuron words
    conv2  # . . . .  256 kernel, 49,152 neuron words
    conv3  x x x x x  192 kernel, 256 neuron words
    """
    competing, contested = rivals(plans, profile)
    width = max(len("core"), *(len(plan.layer) for plan in plans))
    digits = len(str(len(profile.cores) - 1))
    numbers = " ".join(f"{core:>{digits}}" for core in range(len(profile.cores)))
    legend = ["x: the core holds the layer by itself"]
    legend += [f"#: so it does, but {len(competing)} layers compete for {len(contested)} core(s)"] if competing else []
    lines = ["; ".join(legend), f"{'core':<{width}}  {numbers}"]
    for plan in plans:
        fitting = cores_that_fit(plan, profile)
        mark = "#" if plan.layer in competing else "x"
        signs = " ".join(f"{mark if core in fitting else '.':>{digits}}" for core in range(len(profile.cores)))
        lines.append(f"{plan.layer:<{width}}  {signs}  {needs(plan)}{'' if fitting else ': no core'}")
    return "\n".join(lines)


def needs(plan: CorePlan) -> str:
    """Return what a layer asks of a core's memories, in words."""
    parts = [f"{plan.kernel_words:,} kernel", f"{plan.neuron_words:,} neuron"]
    return ", ".join([*parts, *([f"{plan.bias_words:,} bias"] if plan.bias_words else [])]) + " words"


def placement_plain(design: Design, placement: Placement, profile: ChipProfile) -> dict[str, Any]:
    """Return destinations and free cores as plain data: `targets` by layer, `inputs`, `outputs`, `free_cores`."""
    names = {core: layer for layer, core in placement.cores.items()}
    targets: dict[str, list[dict[str, Any]]] = {layer: [] for layer in placement.cores}
    inputs, outputs = [], []
    for way in links(design, placement):
        told = {"pool": way.pool, "shift": way.shift}
        if way.target is None:
            outputs.append({"core": way.source, "layer": names[way.source or 0], "pool": way.pool})
        elif way.source is None:
            inputs.append({"core": way.target, "layer": names[way.target], **told})
        else:
            targets[names[way.source]].append({"core": way.target, "layer": names[way.target], **told})
    free = [row.core for row in core_rows(placement, profile) if row.layer is None]
    return {"inputs": inputs, "outputs": outputs, "targets": targets, "free_cores": free}


def _link(source: int | None, target: PlanTarget, cores: Mapping[str, int]) -> Link:
    return Link(source, cores[target.layer], target.pool, target.shift)


def _place_name(way: Link, names: Mapping[int, str]) -> str:
    name = "out" if way.target is None else f"core {way.target} ({names[way.target]})"
    return f"{name}, {way.label}" if way.label else name


def _memories(usage: CoreUsage) -> tuple[Memory, ...]:
    return (
        Memory("kernel", usage.kernel_words, usage.kernel_limit),
        Memory("neuron", usage.neuron_words, usage.neuron_limit),
        Memory("bias", usage.bias_words, usage.bias_limit),
    )


def _memory_column(memories: Sequence[Memory], *, bars: bool) -> list[str]:
    """Return a heading and a cell for each core, all of one width."""
    limits = ["" if one.limit is None else f"/{one.limit:,}" for one in memories]
    used = [f"{one.words:,}{limit}" for one, limit in zip(memories, limits, strict=True)]
    widest = max(len(text) for text in used)
    cells = []
    for one, text in zip(memories, used, strict=True):
        share = "no limit" if one.share is None else f"{one.share:4.0%}"
        bar = "" if one.share is None or not bars else f"[{_bar(one.share)}] "
        cells.append(f"{bar}{text:>{widest}} {share}")
    width = max(len(cell) for cell in cells)
    return [f"{memories[0].name + ' words':<{width}}", *(f"{cell:<{width}}" for cell in cells)]


def _bar(share: float) -> str:
    """Return a bar that is empty for nothing alone, and full for everything alone."""
    full = round(BAR * share)
    full = max(full, 1) if share > 0 else 0
    full = min(full, BAR - 1) if share < 1 else BAR
    return "#" * full + "." * (BAR - full)


def _has_placement(plans: Sequence[CorePlan], profile: ChipProfile) -> bool:
    try:
        place(plans, profile)
    except DesignRuleError:
        return False
    return True
