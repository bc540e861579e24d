"""Laws of the oracle on random graphs: chunks, shifts of time, depth first, and what processing time changes."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings

from chiploop.chip.device import Monitor, Trace
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.oracle_core import OracleCore, Spike
from chiploop.chip.oracle_timed import TimedOracle
from chiploop.chip.program import Program, Target
from chiploop.chip.timing import Timing
from chiploop.events.types import Events
from chiploop.rng import stream
from strategies_chip import affordable, head, random_events, random_program, require_same_trace, seeds
from strategies_graph import random_graph, random_timing

N_SYNOPS = 2_000
few = settings(max_examples=60, deadline=None)
INSTANT = Timing(event_ns=0, synop_ns=0, hop_ns=0)


def example(seed: int, *, chain: bool = False) -> tuple[Program, Events, np.random.Generator]:
    rng = stream(seed, "oracle laws")
    program = random_program(rng) if chain else random_graph(rng)
    events = random_events(rng, program.input_shape)
    return program, affordable(program, events, N_SYNOPS, device=OracleDevice()), rng


def all_of(program: Program, *edges: int) -> Monitor:
    layers = tuple(core.layer for core in program.cores)
    seen = layers if edges else ()
    return Monitor(counts=seen, potentials=seen, spikes=layers, window_edges_us=edges)


def run(program: Program, events: Events, *edges: int) -> Trace:
    device = OracleDevice()
    device.load(program)
    return device.run(events, monitor=all_of(program, *edges))


def timed(program: Program, constants: Timing, events: Events, *edges: int) -> Trace:
    device = TimedOracle(constants)
    device.load(program)
    return device.run(events, monitor=all_of(program, *edges))


def addresses(events: Events) -> list[Spike]:
    return list(zip(events.channel.tolist(), events.y.tolist(), events.x.tolist(), strict=True))


def bounded(events: Events, start_us: int, stop_us: int) -> Events:
    """Return the events with start_us <= t < stop_us, and these bounds."""
    inside = (events.t_us >= start_us) & (events.t_us < stop_us)
    columns = (column[inside] for column in (events.t_us, events.channel, events.y, events.x))
    return Events(*columns, events.shape, start_us, stop_us)


@few
@given(seed=seeds)
def test_two_chunks_that_part_no_tie_are_the_whole(seed: int) -> None:
    program, events, rng = example(seed)
    middle = int(rng.integers(events.start_us, events.stop_us + 1))
    stop = events.stop_us + 1
    whole = run(program, events, *sorted({events.start_us, middle, stop}))
    device = OracleDevice()
    device.load(program)
    parts = []
    for start, end, edge in ((events.start_us, middle, middle), (middle, events.stop_us, stop)):
        monitor = all_of(program, *((start, edge) if start < edge else ()))
        parts.append(device.run(bounded(events, start, end), monitor=monitor))
    for layer, spikes in whole.spikes.items():
        both = [part.spikes[layer] for part in parts]
        assert np.array_equal(spikes.t_us, np.concatenate([part.t_us for part in both]))
        assert addresses(spikes) == addresses(both[0]) + addresses(both[1])
        assert whole.counters[layer] == parts[0].counters[layer] + parts[1].counters[layer]
        seen = [part.potentials[layer] for part in parts if layer in part.potentials]
        assert np.array_equal(whole.potentials[layer], np.concatenate(seen))
    for layer in whole.outputs:
        assert addresses(whole.outputs[layer]) == [a for part in parts for a in addresses(part.outputs[layer])]
    assert whole.metrics == {name: parts[0].metrics[name] + parts[1].metrics[name] for name in whole.metrics}


@few
@given(seed=seeds)
def test_a_shift_by_whole_periods_of_the_clock_shifts_everything(seed: int) -> None:
    program, events, rng = example(seed)
    by = int(rng.integers(1, 9)) * (program.clock_us or 1)
    edges = sorted({events.start_us, int(rng.integers(events.start_us, events.stop_us + 1)), events.stop_us + 3})
    moved = dataclasses.replace(
        events, t_us=events.t_us + by, start_us=events.start_us + by, stop_us=events.stop_us + by
    )
    one, other = run(program, events, *edges), run(program, moved, *(edge + by for edge in edges))
    back = {
        name: {
            layer: dataclasses.replace(e, t_us=e.t_us - by, start_us=e.start_us - by, stop_us=e.stop_us - by)
            for layer, e in getattr(other, name).items()
        }
        for name in ("spikes", "outputs")
    }
    require_same_trace(dataclasses.replace(other, **back), one)


@few
@given(seed=seeds)
def test_a_chain_may_as_well_be_run_depth_first(seed: int) -> None:
    # A core's sequence of inputs is the same whether the others have seen the whole stream or one event of it.
    program, events, _ = example(seed, chain=True)
    cores = [OracleCore(config) for config in program.cores]
    spikes: list[list[tuple[int, Spike]]] = [[] for _ in cores]

    def deliver(position: int, t: int, event: Spike) -> None:
        if position == len(cores):
            return
        config = cores[position].config
        for f, y, x in cores[position].hear(t, event):
            spikes[position].append((t, (f, y, x)))
            py, px = y >> config.pool, x >> config.pool
            if py < config.out_shape.height and px < config.out_shape.width:
                deliver(position + 1, t, (f, py, px))

    for t, event in zip(events.t_us.tolist(), addresses(events), strict=True):
        deliver(0, t, event)
    trace = run(program, events)
    for core, seen in zip(cores, spikes, strict=True):
        found = trace.spikes[core.config.layer]
        assert list(zip(found.t_us.tolist(), addresses(found), strict=True)) == seen
        assert trace.counters[core.config.layer] == core.counters()


@few
@given(seed=seeds)
def test_a_core_that_hears_nobody_else_may_stand_anywhere_in_the_list(seed: int) -> None:
    # Cores are named by number; their order decides ties only where sources merge. Two branches, either order.
    rng = stream(seed, "branches")
    program, events, _ = example(seed, chain=True)
    first = program.cores[0]
    twin = dataclasses.replace(first, core=8, layer="twin", targets=())
    cores = list(program.cores)
    cores.insert(int(rng.integers(0, len(cores) + 1)), twin)
    forked = dataclasses.replace(
        program, cores=tuple(cores), inputs=(*program.inputs, Target(8)), outputs=(*program.outputs, 8)
    )
    one, other = run(program, events), run(forked, events)
    for layer in one.spikes:
        assert one.spikes[layer] == other.spikes[layer]
        assert one.counters[layer] == other.counters[layer]
    assert other.spikes["twin"] == one.spikes[first.layer]


@few
@given(seed=seeds)
def test_without_time_the_timed_model_is_the_instant_one_on_chains(seed: int) -> None:
    program, events, rng = example(seed, chain=True)
    if rng.random() < 0.5:  # the law holds with clock edges too
        biased = [dataclasses.replace(c, bias=rng.integers(-9, 10, c.neuron_shape.channels)) for c in program.cores]
        program = dataclasses.replace(program, cores=tuple(biased), clock_us=int(rng.integers(5, 60)))
        events = affordable(program, events, 4 * N_SYNOPS, device=OracleDevice())
    edges = sorted({events.start_us, int(rng.integers(events.start_us, events.stop_us + 1)), events.stop_us + 2})
    instant, zero = run(program, events, *edges), timed(program, INSTANT, events, *edges)
    assert zero.timing is not None
    assert all(not latencies.any() for latencies in zero.timing.latency_ns.values())
    counters = {layer: dataclasses.replace(c, fifo_peak=0) for layer, c in zero.counters.items()}
    require_same_trace(dataclasses.replace(zero, counters=counters), instant)


@few
@given(seed=seeds)
def test_time_moves_spikes_but_changes_none_where_nothing_is_dropped_or_merged(seed: int) -> None:
    program, events, rng = example(seed, chain=True)
    constants = dataclasses.replace(random_timing(rng), overflow="stall")
    instant, slow = run(program, events), timed(program, constants, events)
    for layer in instant.spikes:
        assert addresses(slow.spikes[layer]) == addresses(instant.spikes[layer])
        assert (slow.spikes[layer].t_us >= instant.spikes[layer].t_us).all()


@few
@given(seed=seeds)
def test_the_timed_model_keeps_its_books(seed: int) -> None:
    # Work done is work counted, events are served or dropped, nothing leaves before its cause, and nobody is stalled
    # for longer than the run.
    program, events, rng = example(seed)
    constants = random_timing(rng)
    trace = timed(program, constants, events)
    timing = trace.timing
    assert timing is not None
    span_ns = max(timing.end_ns - 1000 * events.start_us, 0)
    ticks = 0 if program.clock_us is None else len(range(0, events.stop_us, program.clock_us))
    for core in program.cores:
        counters, load = trace.counters[core.layer], timing.load[core.layer]
        jobs = counters.events_in + (ticks if core.bias is not None else 0)
        assert load.busy_ns == jobs * constants.event_ns + (counters.synops + counters.clocked) * constants.synop_ns
        assert load.busy_ns + load.stalled_ns <= span_ns
        assert (load.dropped, load.fifo_peak) == (counters.dropped, counters.fifo_peak)
        assert constants.fifo_depth is None or load.fifo_peak <= constants.fifo_depth
        assert (load.dropped if constants.overflow == "stall" else load.stalls) == 0
        assert load.peak_synops <= counters.synops + counters.clocked
        # What is sent here, by the input and the cores before it, is served or dropped.
        if program.dvs is None:
            assert sum(_arrivals(program, trace, events, core.core)) == counters.events_in + counters.dropped
    for layer, latencies in timing.latency_ns.items():
        assert (latencies >= constants.event_ns).all()
        assert (timing.output_ns[layer] // 1000 == trace.outputs[layer].t_us).all()
        assert (np.diff(timing.output_ns[layer]) >= 0).all()
        assert (timing.output_ns[layer] <= timing.end_ns).all()


def _arrivals(program: Program, trace: Trace, events: Events, number: int) -> list[int]:
    """Return how many events each source sends to a core."""
    sent = []
    for source, target in program.links():
        if target.core != number:
            continue
        spikes, shape, pool = events, program.input_shape, 0
        if source is not None:
            core = program.core(source)
            spikes, shape, pool = trace.spikes[core.layer], core.neuron_shape, core.pool
        pool += target.pool
        sent.append(int(((spikes.y >> pool < shape.height >> pool) & (spikes.x >> pool < shape.width >> pool)).sum()))
    return sent


@few
@given(seed=seeds)
def test_a_batch_is_its_streams_from_reset(seed: int) -> None:
    program, events, rng = example(seed)
    constants = random_timing(rng)
    batch = [events, head(events, len(events) // 2)]
    edges = (events.start_us, events.stop_us + 5)
    layers = tuple(core.layer for core in program.cores)
    monitor = Monitor(counts=layers, potentials=layers, window_edges_us=edges)
    for device in (OracleDevice(), TimedOracle(constants)):
        device.load(program)
        together = device.run_batch(batch, monitor=monitor)
        for b, one in enumerate(batch):
            device.reset()
            alone = device.run(one, monitor=monitor)
            for layer in layers:
                assert np.array_equal(together.counts[layer][:, b], alone.counts[layer])
                assert np.array_equal(together.potentials[layer][:, b], alone.potentials[layer])
            end = alone.potentials[program.output_layer][-1]
            assert np.array_equal(together.output_potentials[b], end.reshape(-1))
            assert together.output_counts[b].sum() == alone.counters[program.output_layer].spikes
