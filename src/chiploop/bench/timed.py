"""The timed device in served events a second, with the device in instant time beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from chiploop.bench.benchmark import BENCHMARKS, OURS, Aim, BenchOptions, Outcome, Row, Tell, in_turn, rates
from chiploop.bench.core import N_RECORDINGS
from chiploop.bench.recordings import open_recordings, some_events
from chiploop.bench.trained import reference_program
from chiploop.chip.profile import read_profile
from chiploop.chip.timed import TimedDevice
from chiploop.chip.timing import Timing
from chiploop.chip.virtual import VirtualDevice

PROFILE = "speck2f"
WANTED_EVENTS = 3e6


class TimedBenchmark:
    """Measures the device with queues and latencies, in each way that a queue may be full."""

    summary = "the timed device: events served a second, with queues that stall, have no bound, or drop"

    def run(self, options: BenchOptions, tell: Tell) -> Outcome:
        """Measure; every device runs the same recordings on one thread, once a round."""
        dataset, kind = open_recordings(options.root)
        recordings = some_events(dataset, N_RECORDINGS)
        program, source = reference_program(options.root, tell)
        speck = Timing.of(read_profile(PROFILE))
        devices: dict[str, VirtualDevice | TimedDevice] = {
            "instant": VirtualDevice(threads=1),
            "stall": TimedDevice(speck, threads=1),
            "no bound": TimedDevice(dataclasses.replace(speck, fifo_depth=None), threads=1),
            "drop": TimedDevice(dataclasses.replace(speck, overflow="drop"), threads=1),
        }
        work: dict[str, Callable[[], object]] = {}
        served = {}
        for name, device in devices.items():
            device.load(program)
            served[name] = int(device.run_batch(recordings).total("events_in"))
            work[name] = partial(device.run_batch, recordings)
        tell("queues that stall, have no bound, and drop")
        rows = tuple(
            Row(what="served", who=OURS, unit="events/s", better="higher", values=rates(served[name], seconds),
                setting={"queues": name})
            for name, seconds in in_turn(work, options.rounds).items()
        )  # fmt: skip
        stall = rows[1]
        aim = Aim(
            what="events served a second, queues that stall", unit="events/s", better="higher", wanted=WANTED_EVENTS,
            value=stall.median, low=min(stall.values), high=max(stall.values),
            limit="the agenda: every event is put into a queue in time order, twice a core",
        )  # fmt: skip
        notes = (f"{len(recordings)} {kind}; constants of time of profile {PROFILE}", f"program: {source}")
        return Outcome(rows=rows, aims=(aim,), notes=notes)


BENCHMARKS.register("timed")(TimedBenchmark())
