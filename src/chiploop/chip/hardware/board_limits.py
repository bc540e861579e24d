"""What a board of the Speck family cannot do, found in a program before the board is asked."""

from __future__ import annotations

from collections.abc import Iterator

from chiploop.chip.hardware.readout_spread import plan_of
from chiploop.chip.profile import ChipProfile
from chiploop.chip.program import CoreConfig, Program
from chiploop.chip.readout import Readout
from chiploop.errors import DeviceError

US_PER_S = 1_000_000
MAX_CLOCK_HZ = 10_000
"""Highest rate of the slow clock that the board's maker names (Speck development kit datasheet, 3.2.6.1)."""
SENSOR_SIDE, SENSOR_CHANNELS = 128, 2


def require_board(program: Program, profile: ChipProfile, *, readout: Readout | None = None) -> None:
    """Raise DeviceError with everything in a program that a board with this profile cannot do, and the cure of each."""
    problems = list(check_board(program, profile, readout=readout))
    if problems:
        raise DeviceError(f"a {profile.name} board cannot run this program: " + "; ".join(problems))


def check_board(program: Program, profile: ChipProfile, *, readout: Readout | None = None) -> Iterator[str]:
    """Yield one sentence for everything in a program that a board with this profile cannot do."""
    if profile.unlimited_cores:
        yield f"profile {profile.name!r} has no limits and is no board; give the board's own profile"
        return
    for core in program.cores:
        where = f"core {core.core} ({core.layer!r})"
        if not 0 <= core.core < len(profile.cores):
            yield f"{where}: the board has cores 0..{len(profile.cores) - 1}"
            continue
        problems = (*_neurons(core), *_sizes(core, profile), *_memory(core, profile))
        yield from (f"{where}: {problem}" for problem in problems)
    yield from _links(program, profile, reads=readout is not None)
    yield from _clocks(program, readout)
    yield from _sensor(program, profile)
    if readout is not None:
        yield from _readout(program, profile, readout)


def slow_clock_hz(program: Program, readout: Readout | None = None) -> int | None:
    """Return the rate of the slow clock that a program (and its readout) needs; None when nothing needs it."""
    period = program.clock_us if any(core.bias is not None for core in program.cores) else None
    if readout is not None:
        period = readout.tick_us
    return None if period is None else US_PER_S // period


def _neurons(core: CoreConfig) -> Iterator[str]:
    if core.tau_us is not None:
        yield "leaky neurons (tau_us) are not on the chip; use integrate-and-fire with a clocked bias"
    if core.thresholds is not None:
        yield "thresholds of single neurons are not on the chip, one threshold serves a core"
    if core.state_bits != 16:
        yield f"states of {core.state_bits} bits are not on the chip; use 16"
    if core.spikes_per_update != "one":
        yield "a neuron of the chip fires once an update; compile with spikes_per_update = 'one'"
    if core.floor == 0:
        yield "the chip's lower threshold cannot be 0 (a known fault of it); use a floor of -1"


def _sizes(core: CoreConfig, profile: ChipProfile) -> Iterator[str]:
    channels, kh, kw, features = core.weight.shape
    if kh != kw:
        yield f"kernel {kh}x{kw} is not square"
    limits = (
        ("kernel", max(kh, kw), profile.max_kernel),
        ("padding", core.padding, profile.max_padding),
        ("channels in", channels, profile.max_channels),
        ("channels out", features, profile.max_channels),
        ("input map's side", max(core.in_shape[1:]), profile.max_input_side),
        ("neuron map's side", max(core.neuron_shape[1:]), profile.max_output_side),
    )
    for name, value, limit in limits:
        if limit is not None and value > limit:
            yield f"{name} {value}, at most {limit}"
    if profile.strides is not None and core.stride not in profile.strides:
        yield f"stride {core.stride}, one of {profile.strides}"


def _memory(core: CoreConfig, profile: ChipProfile) -> Iterator[str]:
    plan, has = plan_of(core), profile.cores[core.core]
    for memory in ("kernel_words", "neuron_words", "bias_words"):
        needs, limit = getattr(plan, memory), getattr(has, memory)
        if needs > limit:
            yield f"needs {needs} {memory.replace('_', ' ')}, has {limit}; place the layer on a larger core"


def _links(program: Program, profile: ChipProfile, *, reads: bool) -> Iterator[str]:
    for core in program.cores:
        n_targets = len(core.targets) + (reads and core.core in program.outputs)
        if profile.fan_out is not None and n_targets > profile.fan_out:
            to = " and the readout" if reads and core.core in program.outputs else ""
            yield f"core {core.core} sends to {len(core.targets)} cores{to}, at most {profile.fan_out} in all"
        for target in core.targets:
            total = 1 << (core.pool + target.pool)
            if profile.pools is not None and total not in profile.pools:
                yield f"core {core.core} pools by {total} on its way to core {target.core}, one of {profile.pools}"


def _clocks(program: Program, readout: Readout | None) -> Iterator[str]:
    clocked = program.clock_us if any(core.bias is not None for core in program.cores) else None
    for name, period in (("clock_us", clocked), ("readout.tick_us", readout.tick_us if readout else None)):
        if period is not None and (US_PER_S % period or US_PER_S // period > MAX_CLOCK_HZ):
            yield f"{name} = {period}: the slow clock makes whole hertz, at most {MAX_CLOCK_HZ}; try 1000 us"
    if clocked is not None and readout is not None and clocked != readout.tick_us:
        yield f"biases ({clocked} us) and readout ({readout.tick_us} us) share one slow clock; give both one period"


def _sensor(program: Program, profile: ChipProfile) -> Iterator[str]:
    dvs = program.dvs
    if dvs is None:
        return
    channels, height, width = dvs.in_shape
    if channels != SENSOR_CHANNELS or max(height, width) > SENSOR_SIDE:
        yield f"dvs.in_shape {tuple(dvs.in_shape)}: the sensor gives 2 polarities on {SENSOR_SIDE}x{SENSOR_SIDE} pixels"
    if dvs.noise is not None:
        yield "dvs.noise: the board's noise filter counts slow-clock edges, not microseconds; filter on the host"
    if profile.pools is not None and 1 << dvs.pool not in profile.pools:
        yield f"dvs.pool: the sensor's events are pooled by one of {profile.pools}, not by {1 << dvs.pool}"
    if any(target.shift or target.pool for target in program.inputs):
        yield "dvs: events of the sensor reach the cores as they leave its layer; pool there, and shift no channels"
    if profile.fan_out is not None and len(program.inputs) > profile.fan_out:
        yield f"dvs: the sensor's events go to {len(program.inputs)} cores, at most {profile.fan_out}"


def _readout(program: Program, profile: ChipProfile, readout: Readout) -> Iterator[str]:
    if len(program.outputs) != 1:
        yield f"the readout hears one core, the program has outputs {list(program.outputs)}"
        return
    _, height, width = program.core(program.outputs[0]).out_shape
    if (height, width) != (1, 1):
        yield f"the readout hears one pixel of many channels, the output map is {height}x{width}"
    if readout.threshold != int(readout.threshold):
        yield f"readout.threshold = {readout.threshold}: the board compares with whole spikes a tick"
    if profile.readout_stride is None:
        yield f"profile {profile.name!r} does not say which channels its readout hears (readout_stride)"
