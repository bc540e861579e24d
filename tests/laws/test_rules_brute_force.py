"""The design rules against a second reading of the chip: every limit counted anew, every assignment to cores tried.

Nothing is accepted that breaks a limit, and nothing is refused that fits.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.place import place
from chiploop.chip.plan import design
from chiploop.chip.profile import ChipProfile
from chiploop.chip.rules import RULES, check_rules
from chiploop.errors import DesignRuleError
from chiploop.quantize import IntScheme, quantize
from chiploop.rng import stream
from chiploop.spec import INPUT, Conv, LayerSpec, Linear, NetworkSpec, SumPool
from strategies_rules import described, random_network, random_profile

MEMORY = {"kernel_memory", "neuron_memory", "bias_memory", "core_memory", "core_count"}
"""Rules about what cores hold: together with the placement they say whether an assignment exists."""
OF_INTEGERS = {"weight_bits", "bias_bits", "state_bits"}
N_NETWORKS = 3_000


@dataclass(frozen=True)
class Way:
    """How events of `owner` (a weighted layer or the input) arrive: pools passed, first channel, map."""

    owner: str
    pools: tuple[int, ...]
    shift: float  # in channels; a fraction when a shift lies inside a channel
    height: int
    width: int


def leaving(network: NetworkSpec, name: str) -> list[Way]:
    """Return the ways of the events that leave a layer."""
    if name == INPUT:
        return [Way(INPUT, (), 0, *map_of(network.input_shape)[1:])]
    layer = network.layer(name)
    if layer.weight is not None:
        return [Way(name, (), 0, *map_of(layer.out_shape)[1:])]
    ways = arriving(network, name)
    if isinstance(layer.op, SumPool):
        n = layer.op.size
        ways = [Way(w.owner, (*w.pools, n), w.shift, w.height // n, w.width // n) for w in ways]
    return ways


def arriving(network: NetworkSpec, name: str) -> list[Way]:
    """Return the ways that lead into a layer."""
    found = []
    for edge in network.edges:
        if edge.target == name:
            shape = network.input_shape if edge.source == INPUT else network.layer(edge.source).out_shape
            for way in leaving(network, edge.source):
                per_channel = way.height * way.width if len(shape) == 1 else 1
                found.append(Way(way.owner, way.pools, way.shift + edge.shift / per_channel, way.height, way.width))
    return found


def power_of_two(n: int) -> int:
    size = 1
    while size < n:
        size *= 2
    return size


@dataclass(frozen=True)
class Reading:
    """What a chip would say: limits broken by name, and whether some assignment of layers to cores holds them all."""

    broken: frozenset[str]
    assignable: bool


def read(network: NetworkSpec, profile: ChipProfile) -> Reading:
    weighted = [layer for layer in network.layers if layer.weight is not None]
    into = {layer.name: arriving(network, layer.name) for layer in weighted}
    ends = leaving(network, network.layers[-1].name)
    everywhere = [way for ways in into.values() for way in ways]
    broken: set[str] = set()
    if profile.fan_out is not None:
        destinations = Counter(way.owner for way in everywhere)
        broken |= {"fan_out"} if max(destinations.values(), default=0) > profile.fan_out else set()
    if not weighted or any(way.owner == INPUT and math.prod(way.pools) > 1 for way in [*everywhere, *ends]):
        broken.add("order")
    # One output: the last core, each event once and at its own address; every other core is heard by some core.
    if weighted:
        heard = {way.owner for way in everywhere}
        if [way.owner for way in ends] != [weighted[-1].name] or ends[0].shift:
            broken.add("output")
        if any(layer.name not in heard for layer in weighted[:-1]):
            broken.add("output")
    needs = []
    for layer in weighted:
        maps = {(way.height, way.width) for way in into[layer.name]}
        if len(maps) > 1 or any(way.shift % 1 for way in into[layer.name]):
            broken.add("merge")
            continue
        (size,) = maps
        out = [way for way in [*everywhere, *ends] if way.owner == layer.name]
        broken |= broken_by_layer(layer, size, out, profile)
        if layer is weighted[-1] and profile.readout_classes is not None:
            (features, height, width), pools = map_of(layer.out_shape), [math.prod(way.pools) for way in out]
            if any(features * (height // n) * (width // n) > profile.readout_classes for n in pools):
                broken.add("readout_classes")
        needs.append(words_needed(layer, size))
    return Reading(frozenset(broken), assignable(needs, profile))


def broken_by_layer(layer: LayerSpec, size: tuple[int, int], out: list[Way], profile: ChipProfile) -> set[str]:
    """Return the limits that a layer breaks, which hears maps of `size` and is heard over the ways `out`."""
    channels, kernel = heard_by(layer, size)
    features, height, width = map_of(layer.out_shape)
    stride, padding = (layer.op.stride, layer.op.padding) if isinstance(layer.op, Conv) else (1, 0)
    numbers = {
        "input_side": (max(size), profile.max_input_side),
        "output_side": (max(height, width), profile.max_output_side),
        "channels": (max(channels, features), profile.max_channels),
        "kernel_size": (max(kernel), profile.max_kernel),
        "padding": (padding, profile.max_padding),
    }
    broken = {name for name, (value, limit) in numbers.items() if limit is not None and value > limit}
    if profile.square_kernels and kernel[0] != kernel[1]:
        broken.add("kernel_square")
    if profile.strides is not None and stride not in profile.strides:
        broken.add("stride")
    if layer.neuron is None or layer.neuron.kind not in profile.neurons:
        broken.add("neuron")
    for pool in (math.prod(way.pools) for way in out):
        if pool != power_of_two(pool) or (profile.pools is not None and pool not in profile.pools):
            broken.add("pool")
    return broken


def words_needed(layer: LayerSpec, size: tuple[int, int]) -> tuple[int, int, int]:
    """Return kernel, neuron and bias words."""
    channels, kernel = heard_by(layer, size)
    features, height, width = map_of(layer.out_shape)
    return (
        channels * power_of_two(kernel[0] * kernel[1]) * power_of_two(features),
        features * power_of_two(height) * power_of_two(width),
        0 if layer.bias is None else features,
    )


def heard_by(layer: LayerSpec, size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Return the channels of what a layer hears, and its kernel: for a Linear layer the whole map."""
    if isinstance(layer.op, Conv):
        return layer.in_shape[0], (layer.op.kernel, layer.op.kernel)
    assert isinstance(layer.op, Linear)
    return layer.in_shape[0] // math.prod(size), size


def map_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    channels, height, width = (*shape, 1, 1)[:3]
    return channels, height, width


def assignable(needs: list[tuple[int, int, int]], profile: ChipProfile) -> bool:
    """Try every assignment of layers to cores of their own."""
    has = [(core.kernel_words, core.neuron_words, core.bias_words) for core in profile.cores]
    return any(
        all(
            words <= room
            for layer, core in zip(needs, cores, strict=True)
            for words, room in zip(layer, core, strict=True)
        )
        for cores in itertools.permutations(has, len(needs))
    )


def test_rules_and_placement_accept_exactly_what_fits() -> None:
    rng = stream(0, "networks for the rules")
    alone: Counter[str] = Counter()
    accepted = 0
    for _ in range(N_NETWORKS):
        network, profile = random_network(rng), random_profile(rng)
        reading = read(network, profile)
        names = {violation.rule for violation in check_rules(network, profile)}
        if "merge" in reading.broken:  # what a core hears is not one map: the limits of maps have no meaning
            assert "merge" in names, described(network, profile)
            alone["merge"] += names == {"merge"}
            continue
        ignored = MEMORY | ({"readout_classes"} if "output" in reading.broken else set())
        assert names - ignored == reading.broken - ignored, described(network, profile)
        fits = not names & MEMORY and is_placed(network, profile)
        assert fits == reading.assignable, described(network, profile)
        if len(names) == 1:
            alone[names.pop()] += 1
        elif not names:
            alone["placement"] += not fits
            accepted += fits
            if fits:
                require_program_within_limits(network, profile)
    # The comparison says nothing about a rule that no network broke by itself, nor if hardly any was accepted.
    assert set(alone) >= {*RULES.names(), "placement"} - OF_INTEGERS, sorted(alone.items())
    assert accepted > N_NETWORKS // 10, accepted


def is_placed(network: NetworkSpec, profile: ChipProfile) -> bool:
    try:
        place(design(network).plans, profile)
    except DesignRuleError:
        return False
    return True


def require_program_within_limits(network: NetworkSpec, profile: ChipProfile) -> None:
    """Compile the network and count the program's own arrays."""
    scales = {layer.name: 0.05 for layer in network.spiking}
    timed = NetworkSpec(
        layers=network.layers, edges=network.edges, input_shape=network.input_shape, dt_us=1_000,
        clock_us=network.clock_us,
    )  # fmt: skip
    program = compile_program(quantize(timed, IntScheme(), scales=scales), profile)
    assert len({core.core for core in program.cores}) == len(program.cores)
    for core in program.cores:
        room = profile.cores[core.core]
        channels, kernel_height, kernel_width, features = core.weight.shape
        assert channels * power_of_two(kernel_height * kernel_width) * power_of_two(features) <= room.kernel_words
        _, height, width = core.neuron_shape
        assert features * power_of_two(height) * power_of_two(width) <= room.neuron_words
        assert (0 if core.bias is None else len(core.bias)) <= room.bias_words
        assert profile.fan_out is None or len(core.targets) <= profile.fan_out
        for target in core.targets:
            assert profile.pools is None or 1 << (core.pool + target.pool) in profile.pools
    assert program.outputs == (program.cores[-1].core,)
    out = program.cores[-1].out_shape
    assert math.prod(out) == math.prod(network.out_shape)
