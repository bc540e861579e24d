"""Cures: the nearest change of a layer's own numbers with which a chip would take it, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from chiploop.chip.plan import CorePlan, ceil_log2
from chiploop.chip.profile import ChipProfile, CoreProfile


def closest(value: int, allowed: Iterable[int]) -> int:
    """Return the allowed number nearest to a value, the smaller of two.

    >>> closest(3, (1, 2, 4))
    2
    """
    return min(allowed, key=lambda choice: (abs(choice - value), choice))


def smaller_padding(plan: CorePlan, limit: int) -> str:
    """Return the padding allowed, and the kernel that the map then still holds."""
    largest = min(plan.in_shape[1:]) + 2 * limit
    kernel = f" and a kernel of {largest}" if max(plan.kernel) > largest else ""
    return f"use a padding of {limit}{kernel}"


def smaller_output(plan: CorePlan, profile: ChipProfile, limit: int) -> str:
    """Return the smallest larger stride that brings the neuron map to `limit` a side; else the map to hear."""
    for stride in _strides(plan, profile):
        if max(_neuron_map(plan, stride)) <= limit:
            return f"use a stride of {stride}"
    return f"crop or pool what it hears, so that it has at most {limit}x{limit} neurons"


def fewer_kernel_words(plan: CorePlan, limit: int) -> str:
    """Return how many output channels, or how small a kernel, a kernel memory of `limit` words has room for."""
    features = features_for_kernels(plan, limit)
    largest = min(*plan.kernel, max(plan.kernel) - 1)
    side = next((k for k in range(largest, 0, -1) if _kernel_words(plan, k, plan.neuron_shape.channels) <= limit), None)
    smaller = f"pool the map before it to {side}x{side}" if plan.fully_connected else f"use a kernel of {side}"
    cures = [f"use {features} output channel(s)"] if features else []
    cures += [] if side is None else [smaller]
    return ", or ".join(cures) or "use fewer channels on both sides, and a smaller kernel"


def fewer_neurons(plan: CorePlan, profile: ChipProfile, limit: int) -> str:
    """Return how many output channels, or how large a stride, a neuron memory of `limit` words has room for."""
    features = features_for_neurons(plan, limit)
    strides = (s for s in _strides(plan, profile) if _neuron_words(plan, s, plan.neuron_shape.channels) <= limit)
    stride = next(strides, None)
    cures = [f"use {features} output channel(s)"] if features else []
    cures += [] if stride is None else [f"use a stride of {stride}"]
    return ", or ".join(cures) or "use fewer output channels and a larger stride"


def one_core(plan: CorePlan, cores: Sequence[CoreProfile]) -> str:
    """Return how many output channels some core has room for in all its memories together."""

    def features(core: CoreProfile) -> int:
        room = min(features_for_kernels(plan, core.kernel_words), features_for_neurons(plan, core.neuron_words))
        return min(room, core.bias_words) if plan.has_bias else room

    if most := max(features(core) for core in cores):
        return f"use {most} output channel(s), so that one core holds all"
    return "use a larger stride or a smaller kernel, so that one core holds all"


def fewer_classes(plan: CorePlan, limit: int) -> str:
    """Return how many channels of the last layer's map the readout hears, or that no such map will do."""
    addresses = plan.out_features // plan.neuron_shape.channels
    if addresses == 1:
        return f"use {limit} classes"
    fewer = f"use {limit // addresses} output channel(s), or " if limit >= addresses else ""
    return f"{fewer}end in a fully connected layer of {limit} classes"


def features_for_kernels(plan: CorePlan, limit: int) -> int:
    """Return the most output channels whose kernels take at most `limit` words; their address takes whole bits."""
    room = limit // _kernel_words(plan, None, 1)
    return 1 << (room.bit_length() - 1) if room else 0


def features_for_neurons(plan: CorePlan, limit: int) -> int:
    """Return the most output channels whose neurons take at most `limit` words."""
    return limit // _neuron_words(plan, plan.stride, 1)


def _strides(plan: CorePlan, profile: ChipProfile) -> Iterator[int]:
    """Yield the chip's strides beyond the layer's own, from the smallest; a chip that names none has every stride."""
    if not plan.fully_connected:
        most = max(plan.in_shape[1:]) + 2 * plan.padding  # which leaves one neuron
        yield from (s for s in sorted(profile.strides or range(1, most + 1)) if s > plan.stride)


def _neuron_map(plan: CorePlan, stride: int) -> tuple[int, int]:
    height, width = (
        (n + 2 * plan.padding - k) // stride + 1 for n, k in zip(plan.in_shape[1:], plan.kernel, strict=True)
    )
    return height, width


def _neuron_words(plan: CorePlan, stride: int, features: int) -> int:
    height, width = _neuron_map(plan, stride)
    return features << (ceil_log2(height) + ceil_log2(width))


def _kernel_words(plan: CorePlan, side: int | None, features: int) -> int:
    """Words of kernels of side x side, or of the layer's own."""
    height, width = plan.kernel if side is None else (side, side)
    return plan.in_shape.channels << (ceil_log2(height * width) + ceil_log2(features))
