"""Programs that a Speck board can run, and a board (of the fake kind) to run them on."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from chiploop.chip.hardware import samna_session
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.events.types import SensorShape
from fake_board import Board
from fake_samna import fake_samna
from strategies_chip import one_core


def connect(board: Board, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Put a fake board where samna looks for one; the host's time is the board's."""
    monkeypatch.setitem(sys.modules, "samna", fake_samna(board))
    clock = SimpleNamespace(monotonic_ns=lambda: board.now_us * 1_000)
    monkeypatch.setattr(samna_session, "time", clock)
    return board


def board_program(rng: np.random.Generator) -> Program:
    """Return a chain of one to four small cores with every setting that a board takes."""
    return _chain(rng, int(rng.integers(1, 5)), bias=False)


def biased_program(rng: np.random.Generator) -> Program:
    """Return a chain of cores with clocked biases, an edge each millisecond."""
    return _chain(rng, int(rng.integers(1, 4)), bias=True)


def branched_program(rng: np.random.Generator) -> Program:
    """Return a program that splits, pools and shifts channels on the way, and merges: two inputs, two outputs."""
    size = int(rng.choice([8, 9, 11]))
    shape = SensorShape(2, size, size)
    to_second, to_third = Target(2, pool=1), Target(5, shift=3)
    first = board_core(rng, 1, shape, features=4, pool=1, targets=(to_second, to_third))
    second = board_core(rng, 2, to_second.arriving(first.out_shape), targets=(Target(7),))
    to_last = Target(7, pool=1, shift=int(rng.integers(0, second.neuron_shape.channels + 1)))
    third = board_core(rng, 5, to_third.arriving(first.out_shape), targets=(to_last,))
    arriving = to_last.arriving(third.out_shape)
    channels = max(arriving.channels, second.neuron_shape.channels)
    last = board_core(rng, 7, arriving._replace(channels=channels), kernel=2)
    return Program(
        profile_hash="a",
        quant_hash="b",
        cores=(first, second, third, last),
        input_shape=shape,
        inputs=(Target(1), Target(5, pool=1, shift=int(rng.integers(0, 6)))),
        outputs=(5, 7),
    )


def board_core(rng: np.random.Generator, number: int, shape: SensorShape, **fields: object) -> CoreConfig:
    """Return a core with random weights, threshold, floor and reset."""
    kernel, features = int(fields.pop("kernel", 1)), int(fields.pop("features", rng.integers(1, 5)))
    weight = rng.integers(-60, 128, (shape.channels, kernel, kernel, features)).astype(np.int8)
    given = {
        "threshold": int(rng.choice([20, 60, 127, 200])),
        "floor": int(rng.choice([-32768, -200, -13, -1])),
        "reset": str(rng.choice(["subtract", "zero"])),
    }
    return one_core(weight, shape, core=number, layer=f"layer{number}", **given, **fields)


def _chain(rng: np.random.Generator, n_cores: int, *, bias: bool) -> Program:
    shape = inputs = SensorShape(*(int(n) for n in rng.integers((1, 1, 1), (4, 9, 9))))
    cores: list[CoreConfig] = []
    for number in range(n_cores):
        padding = int(rng.integers(0, 3))
        kernel = int(rng.integers(1, min(min(shape[1:]) + 2 * padding, 4) + 1))
        stride = int(rng.choice([1, 1, 2, 4]))
        size = min((n + 2 * padding - kernel) // stride + 1 for n in shape[1:])
        core = board_core(
            rng,
            number,
            shape,
            kernel=kernel,
            stride=stride,
            padding=padding,
            pool=int(rng.choice([p for p in (0, 0, 1, 2) if size >> p])),
            features=int(rng.integers(1, 6)),
            targets=(Target(number + 1),) if number + 1 < n_cores else (),
        )
        if bias:
            biases = rng.integers(-20, 60, core.neuron_shape.channels).astype(np.int16)
            core = dataclasses.replace(core, bias=biases)
        cores.append(core)
        shape = core.out_shape
    return Program(
        profile_hash="a",
        quant_hash="b",
        cores=tuple(cores),
        input_shape=inputs,
        inputs=(Target(0),),
        outputs=(n_cores - 1,),
        clock_us=1_000 if bias else None,
    )
