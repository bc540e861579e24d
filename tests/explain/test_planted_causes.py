"""Causes planted on purpose: each network loses its accuracy to one cause, and the explanation must find it.

Every case is a one-pixel task whose answer can be worked by hand: the first half of the samples belongs to class 0, the
other to class 1, and the model itself is always right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from chiploop.chip.faults import make_faults
from chiploop.chip.profile import read_profile
from chiploop.chip.timing import Timing
from chiploop.datasets.base import Sample
from chiploop.events.types import Events, SensorShape
from chiploop.learn.batch import Samples
from chiploop.measure.causes import CAUSES, Explanation
from chiploop.quantize.apply import quantize
from chiploop.quantize.scheme import IntScheme
from chiploop.recipes.explain import Conditions, advise, explain
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Flatten, Linear

N = 40
DURATION_US = 1_000
STEP = 1 / 128
UNIT = 127 * STEP
Stream = list[tuple[int, int]]
"""Time and channel of each event."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """Streams on a few channels of one pixel; the second half belongs to class 1."""

    streams: tuple[Stream, Stream]
    n_channels: int
    name: str = "planted"
    n_classes: int = 2
    duration_us: int = DURATION_US
    keys: range = range(N)

    @property
    def shape(self) -> SensorShape:
        return SensorShape(self.n_channels, 1, 1)

    @property
    def labels(self) -> np.ndarray:
        return np.arange(N) * 2 // N

    def __len__(self) -> int:
        return N

    def sample(self, index: int) -> Sample:
        label = int(self.labels[index])
        t, channel = np.array(self.streams[label], np.int64).reshape(-1, 2).T
        # Each sample begins a little later than the one before, so that faults which depend on a stream differ.
        moved = np.minimum(t + index % (N // 2), DURATION_US - 1)
        zeros = np.zeros(len(t), np.int64)
        events = Events.from_columns(moved, channel, zeros, zeros, self.shape, stop_us=DURATION_US)
        return Sample(events, label, index)


def network(weight: list[list[float]], bias: list[float] | None = None, **neuron: object) -> NetworkSpec:
    """Return one fully connected layer with one neuron a class; the slow clock has ten edges a recording.

    Without a threshold of its own, everything is in units of 127/128, so that a largest weight of 1 lies on the grid.
    """
    unit = 1.0 if "v_th" in neuron else UNIT
    neuron = {"v_th": unit, **neuron}
    shape = (len(weight[0]), 1, 1)
    flat = LayerSpec(name="flatten", op=Flatten(), weight=None, neuron=None, in_shape=shape)
    layer = LayerSpec(
        name="fc",
        op=Linear(features=2),
        weight=np.float32(weight) * np.float32(unit),
        neuron=NeuronSpec(**neuron),  # type: ignore[arg-type]
        in_shape=shape[:1],
        bias=None if bias is None else np.float32(bias) * np.float32(unit),
    )
    return chain([flat, layer], input_shape=shape, dt_us=DURATION_US, clock_us=None if bias is None else 100)


def at(channel: int, *times_us: int) -> Stream:
    return [(t, channel) for t in times_us]


def burst(channel: int, n: int, start_us: int) -> Stream:
    return at(channel, *range(start_us, start_us + n))


@dataclass(frozen=True)
class Case:
    spec: NetworkSpec
    streams: tuple[Stream, Stream]
    loss: float  # in accuracy, by hand
    says: str  # found in the advice
    conditions: dict[str, object] = field(default_factory=dict)
    model: str = "windows"


CASES = {
    # 0.9 and 0.8 of a threshold: the larger activation is right, but neither neuron ever spikes.
    "rate-coding": Case(network([[0.9, 0.0], [0.0, 0.8]]), (at(0, 0), at(1, 0)), 1.0, "'bptt'", model="frame"),
    # With two bits every weight is one step of at most an eighth of the threshold: 1 and 0.55 become equal, a tie.
    "weights": Case(
        network([[1.0, 0.55], [0.55, 1.0]]),
        (burst(0, 20, 0), burst(1, 20, 0)),
        1.0,
        "quantized = true",
        {"scheme": IntScheme(bits=2, search="max")},
    ),
    # Weights of 9 and 8 steps lie on the grid, which the silent third channel fixes; the threshold of 8.45 steps
    # becomes 8, and the neuron with 8 fires as well: a tie.
    "thresholds": Case(
        network([[9 * STEP, 8 * STEP, 127 * STEP], [8 * STEP, 9 * STEP, 127 * STEP]], v_th=8.45 * STEP),
        (at(0, 0), at(1, 0)),
        1.0,
        "8 steps",
    ),
    # Two spikes for the right neuron. The other one gets +2 and then -2: nothing in the window's sum, two spikes on the
    # chip, a tie.
    "event-order": Case(
        network([[1, 0, 1, -1], [1, -1, 1, 0]]),
        (burst(0, 2, 0) + burst(1, 2, 500), burst(2, 2, 0) + burst(3, 2, 500)),
        1.0,
        "cil-bptt",
    ),
    # Two events for the wrong neuron, then one of three thresholds for the right one: 3 spikes, but one an update.
    "one-spike": Case(
        network([[3, 0, 1, 0], [0, 1, 0, 3]]),
        (burst(1, 2, 0) + at(0, 500), burst(2, 2, 0) + at(3, 500)),
        1.0,
        "3.0 thresholds",
    ),
    # One spike for the right neuron. The wrong one gets 400 times -127 and then 300 times +127. It never comes back to
    # zero, unless its state has stopped at -32,768: then it ends 5,332 above zero, having fired.
    "saturation": Case(
        network([[0, 0, 1, -1, 1, 0], [-1, 1, 0, 0, 0, 1]]),
        (
            burst(0, 400, 0) + burst(1, 300, 500) + at(2, 900),
            burst(3, 400, 0) + burst(4, 300, 500) + at(5, 900),
        ),
        1.0,
        "Without a floor",
    ),
    # Neuron 1 loses 0.4 at each of ten edges. Class 0: one spike of neuron 0; neuron 1 gets 4 - 4 = 0 in the window,
    # but event by event it fires twice before the leak has taken all. Class 1: a burst of 8 - 4 stays right.
    "leak": Case(
        network([[1, 0], [0, 1]], bias=[0.0, -0.4]),
        (at(0, 0) + at(1, 5, 105, 205, 305), burst(1, 8, 1)),
        0.5,
        "10 edges",
    ),
    # A burst of four for the right neuron, three for the other one by one. The chip serves one event in 100 us and
    # keeps one more: two of the burst are dropped.
    "dropped-events": Case(
        network([[1, 0], [0, 1]]),
        (burst(0, 4, 0) + at(1, 400, 600, 800), burst(1, 4, 0) + at(0, 400, 600, 800)),
        1.0,
        "0.71 times",
        {"timing": Timing(event_ns=100_000, synop_ns=0, hop_ns=0, fifo_depth=1, overflow="drop")},
    ),
    # Ten spikes against nine: the neuron with the lower threshold wins, whatever the class.
    "mismatch": Case(
        network([[0.5, 0.45], [0.45, 0.5]]),
        (burst(0, 20, 0), burst(1, 20, 0)),
        0.5,
        "faults = true",
        {"faults": make_faults({"mismatch": {"sd": 0.3}}), "fault_seed": 2},
    ),
}


def explained(case: Case) -> tuple[Explanation, list[str]]:
    data = Recordings(streams=case.streams, n_channels=case.spec.input_shape[0])
    samples = Samples.of(data, np.arange(N), 1)  # type: ignore[arg-type]
    given = {"scheme": IntScheme(search="max"), **case.conditions}
    conditions = Conditions(profile=read_profile("speck2f"), **given)  # type: ignore[arg-type]
    found = explain(case.spec, samples, conditions, model=case.model)  # type: ignore[arg-type]
    return found, advise(found, quantize(case.spec, conditions.scheme))


def test_every_cause_is_planted() -> None:
    assert list(CASES) == list(CAUSES)


@pytest.mark.parametrize("cause", CASES)
def test_the_planted_cause_is_found(cause: str) -> None:
    case = CASES[cause]
    found, advice = explained(case)
    assert found.start.value == 1.0
    worst = found.worst
    assert worst is not None
    assert worst.cause == cause
    assert worst.is_clear
    assert worst.difference == -case.loss
    assert [step.difference for step in found.steps if step.cause != cause] == [0.0] * (len(found.steps) - 1)
    assert found.share(worst) == 1.0
    assert worst.layer in ("fc", None)
    assert sum(worst.classes.values()) == -case.loss * N
    assert len(advice) == 1
    assert worst.title in advice[0]
    assert case.says in advice[0]


@pytest.mark.parametrize("cause", CASES)
def test_the_parts_add_up_to_the_whole(cause: str) -> None:
    found, _ = explained(CASES[cause])
    whole = found.steps[-1].accuracy - found.start.value
    assert math.fsum(step.difference for step in found.steps) == pytest.approx(whole, abs=1e-12)
    measured = found.measured_steps
    assert math.fsum(step.difference for step in measured) == pytest.approx(found.gap, abs=1e-12)
    assert [step.cause for step in measured] == [c for c in CAUSES if c in {s.cause for s in measured}]


def test_where_nothing_is_planted_nothing_is_found() -> None:
    sound = Case(network([[1, 0], [0, 1]]), (burst(0, 4, 0), burst(1, 4, 0)), 0.0, "No cause clearly loses")
    found, advice = explained(sound)
    assert found.worst is None
    assert found.gap == 0.0
    assert all(step.correlation["fc"] == 1.0 and step.ratio["fc"] == 1.0 for step in found.steps)
    assert len(advice) == 1
    assert sound.says in advice[0]
