"""Cures are taken at their word: the change that a broken rule names is made, and the rule is then kept.

Where the cure is a number, the next number nearer to what was there must break the rule still.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chiploop.chip.profile import ChipProfile
from chiploop.chip.rules import check_rules
from chiploop.errors import SpecError
from chiploop.rng import stream
from chiploop.spec import Conv, Flatten, LayerSpec, Linear, NetworkSpec, NeuronSpec, Op, SumPool, chain
from strategies_rules import random_profile

LOCAL = {
    "bias_memory", "channels", "core_memory", "input_side", "kernel_memory", "kernel_size", "kernel_square",
    "neuron_memory", "output_side", "padding", "pool", "readout_classes", "stride",
}  # fmt: skip
"""Rules about one layer's own numbers."""
N_LAYERS = 1_500


@dataclass(frozen=True)
class Layer:
    """One layer as a user writes it: a convolution, or (without kernel) a fully connected one, and a pool after it."""

    channels: int
    height: int
    width: int
    features: int
    kernel: int | None
    stride: int
    padding: int
    pool: int
    bias: bool

    def build(self) -> NetworkSpec:
        shape: tuple[int, ...] = (self.channels, self.height, self.width)
        layers = []
        if self.kernel is None:
            layers.append(LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=shape))
            shape, op = layers[-1].out_shape, Linear(features=self.features)
        else:
            op = Conv(channels=self.features, kernel=self.kernel, stride=self.stride, padding=self.padding)
        layers.append(weighted(op, shape, bias=self.bias))
        if self.pool > 1 and self.kernel is not None:
            shape = layers[-1].out_shape
            layers.append(LayerSpec(name="pool", op=SumPool(size=self.pool), weight=None, neuron=None, in_shape=shape))
        layers[-1].out_shape  # noqa: B018 - raises when nothing is left
        return chain(layers, input_shape=(self.channels, self.height, self.width), clock_us=1_000)

    def broken(self, profile: ChipProfile) -> dict[str, str]:
        """Return the cure of every broken rule."""
        return {violation.rule: violation.cure for violation in check_rules(self.build(), profile)}

    def changed(self, **fields: object) -> Layer:
        return dataclasses.replace(self, **fields)

    def cropped(self, side: int) -> Layer:
        return self.changed(height=min(side, self.height), width=min(side, self.width))


def weighted(op: Op, shape: tuple[int, ...], *, bias: bool) -> LayerSpec:
    assert isinstance(op, (Conv, Linear))
    return LayerSpec(
        name="layer", op=op, weight=np.zeros(op.weight_shape(shape), np.float32), neuron=NeuronSpec(), in_shape=shape,
        bias=np.zeros(op.out_shape(shape)[0], np.float32) if bias else None,
    )  # fmt: skip


def random_layer(rng: np.random.Generator) -> Layer:
    while True:
        height = int(rng.integers(1, 12))
        layer = Layer(
            channels=int(rng.integers(1, 10)),
            height=height,
            width=height if rng.random() < 0.7 else int(rng.integers(1, 12)),
            features=int(rng.integers(1, 25)),
            kernel=None if rng.random() < 0.3 else int(rng.integers(1, 7)),
            stride=int(rng.choice([1, 1, 2, 3])),
            padding=int(rng.integers(0, 4)),
            pool=int(rng.choice([1, 1, 2, 3, 4, 5])),
            bias=bool(rng.random() < 0.3),
        )
        try:
            layer.build()
        except SpecError:
            continue
        return layer


def cures(layer: Layer, rule: str, cure: str, profile: ChipProfile) -> Iterator[tuple[Layer, Layer | None]]:
    """Yield, for each change that a cure offers, the cured layer, and one with the next nearer number, if any."""
    if rule not in ("pool", "readout_classes"):
        layer = layer.changed(pool=1)  # which has no part in it, and might be too large for a smaller map
    for change in cure.removesuffix(", so that one core holds all").split(", or "):
        numbers = [int(number) for number in re.findall(r"\d+", change)]
        n = numbers[0] if numbers else 0
        if re.fullmatch(r"use \d+ (output channel\(s\)|classes)", change):
            yield layer.changed(features=n), layer.changed(features=n + 1)
        elif re.fullmatch(r"use a stride of \d+", change) or rule == "stride":
            strides = [s for s in profile.strides or range(1, 40) if layer.stride < s < n]
            nearer = layer.changed(stride=max(strides)) if strides and rule != "stride" else None
            yield layer.changed(stride=n), nearer
        elif re.fullmatch(r"use a kernel of \d+", change):
            yield layer.changed(kernel=n), layer.changed(kernel=n + 1)
        elif re.fullmatch(r"use a padding of \d+( and a kernel of \d+)?", change):
            kernel = numbers[1] if len(numbers) > 1 else layer.kernel
            yield layer.changed(padding=n, kernel=kernel), layer.changed(padding=n + 1, kernel=kernel)
        elif rule == "pool":
            yield layer.changed(pool=n), None
        elif re.fullmatch(r"(crop or )?pool (what it hears|the map before it) to \d+(x\d+| pixels a side)", change):
            yield layer.cropped(n), layer.cropped(n + 1) if layer.height == layer.width else None
        elif re.fullmatch(r"make the map before it square, for instance \d+x\d+", change):
            yield layer.cropped(n), None
        elif re.fullmatch(r"use \d+ channels", change):
            cured = layer.changed(channels=min(n, layer.channels), features=min(n, layer.features))
            yield cured, layer.changed(channels=min(n + 1, layer.channels), features=min(n + 1, layer.features))
        elif re.fullmatch(r"no bias|train without biases", change):
            yield layer.changed(bias=False), None
        elif re.fullmatch(r"end in a fully connected layer of \d+ classes", change):
            yield layer.changed(kernel=None, features=n), layer.changed(kernel=None, features=n + 1)
        else:
            assert not numbers or "neurons" in change, change  # in words, without a number to try


def test_every_change_that_a_cure_names_is_one() -> None:
    rng = stream(0, "layers for the cures")
    cured: Counter[str] = Counter()
    for _ in range(N_LAYERS):
        layer, profile = random_layer(rng), random_profile(rng)
        for rule, cure in layer.broken(profile).items():
            if rule not in LOCAL:
                continue
            for better, nearer in cures(layer, rule, cure, profile):
                try:
                    assert rule not in better.broken(profile), (layer, rule, cure, profile)
                except SpecError:  # a kernel larger than a cropped map, which the message cannot see to
                    assert rule in ("input_side", "kernel_size"), (layer, rule, cure, profile)
                    continue
                cured[rule] += 1
                assert nearer is None or rule in nearer.broken(profile), (layer, rule, cure, profile)
    assert set(cured) == LOCAL, cured
    assert min(cured.values()) >= 10, cured


def test_a_pool_is_the_closest_that_the_chip_has_and_the_map_allows() -> None:
    rng = stream(1, "layers for the cures")
    n_tried = 0
    for _ in range(N_LAYERS // 2):
        layer, profile = random_layer(rng), random_profile(rng)
        cure = layer.broken(profile).get("pool")
        if cure is not None:
            map_side = min(layer.changed(pool=1).build().out_shape[1:])
            chosen = int(cure.removeprefix("use "))
            choices = [n for n in profile.pools or (1, 2, 4, 8) if n <= map_side]
            assert abs(chosen - layer.pool) == min(abs(n - layer.pool) for n in choices)
            n_tried += 1
    assert n_tried > 40
