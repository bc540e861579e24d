"""Where the time of a step goes, by what is done."""

from __future__ import annotations

from collections.abc import Callable

PARTS = {
    "aten::mkldnn_convolution": "convolutions, forward",
    "aten::convolution_backward": "convolutions, backward",
    "_CompiledScan": "scans, forward",
    "_CompiledScanBackward": "scans, backward",
}
REST = "the rest"


def seconds_by_part(step: Callable[[], object], rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each part of a step took in each round, what torch's profiler adds included."""
    from torch.profiler import ProfilerActivity, profile

    found: dict[str, list[float]] = {part: [] for part in (*PARTS.values(), REST)}
    for _ in range(rounds):
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            step()
        taken = dict.fromkeys(found, 0.0)
        for event in profiled.key_averages():
            taken[PARTS.get(event.key, REST)] += event.self_cpu_time_total * 1e-6
        for part, seconds in taken.items():
            found[part].append(seconds)
    return found
