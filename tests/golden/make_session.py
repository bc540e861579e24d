"""Make the golden session anew: PYTHONPATH=src:tests python tests/golden/make_session.py.

What passes between the device `speck` and a board, here the fake one, for a small program. When the device asks a board
anything else than before, the replay says what, and whoever meant it makes the file again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.chip.device import BatchTrace, Monitor, Trace
from chiploop.chip.hardware import SpeckDevice
from chiploop.chip.hardware.board_session import BoardSession
from chiploop.chip.hardware.recorded_session import RecordingSession
from chiploop.chip.hardware.samna_session import SamnaSession
from chiploop.chip.program import Program, Target
from chiploop.events.types import Events, SensorShape
from fake_board import Board
from strategies_board import connect
from strategies_chip import chain_of, one_core

SESSION = Path(__file__).parent / "speck_session.jsonl"
SHAPE = SensorShape(1, 3, 4)


def program() -> Program:
    """Return two cores with pooling between them."""
    kernel = np.array([[[[60, -20], [30, 40]], [[25, 50], [-35, 70]]]], np.int8)
    first = one_core(kernel, tuple(SHAPE), core=2, layer="conv", padding=1, pool=1, threshold=50, targets=(Target(6),))
    head = np.arange(-9, 15).reshape(2, 2, 2, 3).astype(np.int8)
    return chain_of(first, one_core(head, (2, 2, 2), core=6, layer="head", threshold=20, floor=-30, reset="zero"))


def events() -> Events:
    """Return a dozen events over five milliseconds."""
    t = [0, 0, 400, 900, 901, 1_500, 2_200, 2_200, 3_000, 3_700, 4_400, 4_900]
    y = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
    x = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]
    return Events.from_columns(t, [0] * 12, y, x, SHAPE, stop_us=5_000)


def talk(session: BoardSession) -> tuple[Trace, BatchTrace]:
    """Load, run once in two windows, run a batch, reset, close."""
    with SpeckDevice(session=session, slow_potentials=True) as device:
        device.load(program())
        layers = ("conv", "head")
        trace = device.run(
            events(), monitor=Monitor(counts=layers, potentials=layers, window_edges_us=(0, 2_000, 5_000))
        )
        batch = device.run_batch([events()], monitor=Monitor(counts=("head",), window_edges_us=(0, 5_000)))
        device.reset()
    return trace, batch


def main() -> None:
    with pytest.MonkeyPatch.context() as patch:
        connect(Board(), patch)
        talk(RecordingSession(SamnaSession(), SESSION))


if __name__ == "__main__":
    main()
