"""The oracle's timed model on several cores: hops, stalls, merges, worked by hand; times in ns."""

from __future__ import annotations

import numpy as np

from chiploop.chip.program import DEAD, Program, Target
from small_chips import core, graph, latency_ns, left_ns, relay, rows, run, timed, timing
from strategies_chip import chain_of, pulses


def test_hops_and_services_add_up_along_a_chain() -> None:
    program = chain_of(relay(0, Target(1)), relay(1, Target(2)), relay(2))
    trace = timed(program, timing(1000, 10, 300), pulses([0, 7]))
    # Three services of 1010, two hops of 300; the input itself has none.
    assert left_ns(trace, "L2") == [3630, 10630]
    assert latency_ns(trace, "L2") == [3630, 3630]
    assert trace.spikes["L0"].t_us.tolist() == [1, 8]
    assert trace.spikes["L1"].t_us.tolist() == [2, 9]  # 1010 + 300 + 1010
    assert list(trace.timing.output_ns) == ["L2"]


def test_a_core_that_cannot_send_is_not_idle() -> None:
    # Core 0 answers an event with three spikes; both cores take 1000 an event, core 1 holds one, a hop is 100.
    # Core 0 is done at 1000. Spike 1 arrives at 1100 and is served until 2100. Spike 2 finds its slot reserved, stalls
    # from 1000 to 1100, arrives at 1200. Spike 3 stalls from 1100 to 2100, when spike 2 is taken, arrives at 2200.
    # The event of 2000 waits until 2100, for core 0 is not idle while it cannot send; it is done at 3100, the very time
    # when core 1 is to take spike 3. Core 0's completion comes first (its position is lower): spike 4 finds the slot
    # taken and stalls for 0; spike 5 stalls from 3100 to 4100, spike 6 from 4100 to 5100.
    fan = core(0, np.full((1, 1, 1, 3), 9, np.int8), threshold=9, targets=(Target(1),))
    slow = core(1, np.full((3, 1, 1, 3), 1, np.int8), (3, 1, 1), threshold=1, thresholds=[[[1]], [[DEAD]], [[DEAD]]])
    program = graph(fan, slow, inputs=(Target(0),), outputs=(1,))
    trace = timed(program, timing(1000, 0, 100, depth=1), pulses([0, 2]))
    assert left_ns(trace, "L1") == [2100, 3100, 4100, 5100, 6100, 7100]
    assert latency_ns(trace, "L1") == [2100, 3100, 4100, 3100, 4100, 5100]
    first, second = trace.timing.load["L0"], trace.timing.load["L1"]
    assert (first.stalls, first.stalled_ns) == (5, 100 + 1000 + 0 + 1000 + 1000)
    assert (first.busy_ns, first.wait_ns) == (2000, 100)
    # Waits at core 1: 1200 to 2100, 2200 to 3100, 3200 to 4100, 4200 to 5100, 5200 to 6100.
    assert (second.busy_ns, second.wait_ns, second.stalls, second.fifo_peak) == (6000, 5 * 900, 0, 1)
    assert trace.timing.end_ns == 7100


def test_slots_on_the_way_count_when_dropping() -> None:
    # The same fan of three into one slot: spike 1 is on its way when 2 and 3 are sent, so both are dropped.
    fan = core(0, np.full((1, 1, 1, 3), 9, np.int8), threshold=9, targets=(Target(1),))
    program = graph(fan, relay(1, in_shape=(3, 1, 1)), inputs=(Target(0),), outputs=(1,))
    trace = timed(program, timing(1000, 0, 100, depth=1, drop=True), pulses([0]))
    assert rows(trace.outputs["L1"]) == [(2, 0, 0, 0)]
    assert (trace.counters["L1"].dropped, trace.counters["L1"].events_in, trace.counters["L0"].spikes) == (2, 1, 3)


def test_a_stalled_spike_leaves_the_chip_after_it_reached_its_targets() -> None:
    # Core 0 is an output too. Spike 2 waits for core 1's slot from 1000 to 1100 and leaves the chip only then.
    fan = core(0, np.full((1, 1, 1, 2), 9, np.int8), threshold=9, targets=(Target(1),))
    program = graph(fan, relay(1, in_shape=(2, 1, 1)), inputs=(Target(0),), outputs=(0, 1))
    trace = timed(program, timing(1000, 0, 100, depth=1), pulses([0]))
    assert left_ns(trace, "L0") == [1000, 1100]
    assert trace.spikes["L0"].t_us.tolist() == [1, 1]


def merge_of_two() -> Program:
    """Core 0 takes 1000 (two updates of 500), core 1 takes 500; core 2 adds 10 for core 0 and -10 for core 1."""
    wide = core(0, np.array([9, 0], np.int8).reshape(1, 1, 1, 2), threshold=9, targets=(Target(2, shift=1),))
    quick = core(1, 9, threshold=9, targets=(Target(2),))
    joined = core(2, [-10, 10, 0], (3, 1, 1), threshold=10)
    return graph(wide, quick, joined, inputs=(Target(0), Target(1)), outputs=(2,))


def test_merges_are_served_in_the_order_of_arrival() -> None:
    # Instant: core 0 comes first, 10 fires and -10 is left. Timed: core 1's event arrives at 500, core 0's at 1000.
    events = pulses([0])
    instant, slow = run(merge_of_two(), events, 0, 1), timed(merge_of_two(), timing(0, 500), events, 0, 1)
    assert (len(instant.outputs["L2"]), instant.potentials["L2"].item()) == (1, -10)
    assert (len(slow.outputs["L2"]), slow.potentials["L2"].item()) == (0, 0)
    # The third core (one update, 500) is free again when core 0's event arrives at 1000.
    assert (slow.timing.load["L2"].wait_ns, slow.timing.end_ns) == (0, 1500)


def test_senders_blocked_at_one_core_go_on_in_the_order_in_which_they_were_blocked() -> None:
    # Cores 0 and 1 relay to core 2, which holds one; all take 1000, a hop nothing. At 1000 both are done: core 0 sends,
    # core 1 stalls for 0, since core 0's event is taken at once. At 2000 core 0 stalls for 0 and core 1 behind it until
    # 3000. At 3000 core 0 is done before that, and stalls behind core 1, until 4000; core 1's last spike from 4000
    # until 5000. Were core 0 let in first at 3000, the channels would come as 0, 1, 0, 0, 1, 1.
    cores = (relay(0, Target(2)), relay(1, Target(2, shift=1)), relay(2, in_shape=(2, 1, 1)))
    program = graph(*cores, inputs=(Target(0), Target(1)), outputs=(2,))
    trace = timed(program, timing(1000, depth=1), pulses([0, 1, 2]))
    assert trace.outputs["L2"].channel.tolist() == [0, 1, 0, 1, 0, 1]
    assert left_ns(trace, "L2") == [2000, 3000, 4000, 5000, 6000, 7000]
    load = trace.timing.load
    assert [(load[c].stalls, load[c].stalled_ns) for c in ("L0", "L1")] == [(2, 1000), (3, 2000)]
