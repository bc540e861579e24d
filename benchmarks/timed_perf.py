"""Speed of the timed device in served events a second, with the device in instant time beside it.

    python benchmarks/timed_perf.py [--recordings N] [--repeats N]

The program and the recordings are those of core_perf.py; constants of time are those of the speck2f profile. Both
devices run the same batch on one thread, in turn, in one process.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics

from chiploop.chip.device import COUNTER_NAMES, BatchTrace
from chiploop.chip.profile import read_profile
from chiploop.chip.timed import TimedDevice
from chiploop.chip.timing import Timing
from chiploop.chip.virtual import VirtualDevice
from chiploop.rng import stream
from core_perf import Taken, _seconds, balanced_program, open_recordings

GOAL_MEGAEVENTS = 3.0
"""Where the timed device should get: millions of events served in a second of one processor."""


def _served(batch: BatchTrace) -> int:
    column = COUNTER_NAMES.index("events_in")
    return int(sum(table[:, column].sum() for table in batch.counters.values()))


def _row(name: str, served: int, taken: list[Taken]) -> None:
    rates = sorted(served / one.processor / 1e6 for one in taken)
    middle = statistics.median(rates)
    print(
        f"{name:28} {served:10,d} {middle:8.2f} ({rates[0]:.2f}..{rates[-1]:.2f}) {1e3 / middle:9.1f} "
        f"{middle / GOAL_MEGAEVENTS:8.2f}"
    )


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recordings", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    recordings = open_recordings(given.recordings)
    program = balanced_program(recordings[:: max(1, len(recordings) // 8)], stream(0, "core_perf"))
    speck = Timing.of(read_profile("speck2f"))
    devices = {
        "instant": VirtualDevice(threads=1),
        "timed, stalls": TimedDevice(speck, threads=1),
        "timed, no bound on queues": TimedDevice(dataclasses.replace(speck, fifo_depth=None), threads=1),
        "timed, drops": TimedDevice(dataclasses.replace(speck, overflow="drop"), threads=1),
    }
    print(f"\n{'':28} {'served':>10} M events/s a processor (worst..best)  ns/event  of goal")
    for name, device in devices.items():
        device.load(program)
        served = _served(device.run_batch(recordings))
        _row(name, served, _seconds(lambda d=device: d.run_batch(recordings), given.repeats))  # type: ignore[misc]


if __name__ == "__main__":
    main()
