from __future__ import annotations

import numpy as np
from make_session import SESSION, events, program, talk

from chiploop.chip.device import Monitor
from chiploop.chip.hardware.recorded_session import ReplaySession
from chiploop.chip.oracle import OracleDevice


def test_the_device_asks_a_board_what_it_asked_in_the_golden_session() -> None:
    # made by: PYTHONPATH=src:tests python tests/golden/make_session.py
    session = ReplaySession(SESSION)
    trace, batch = talk(session)
    assert session.is_over
    with OracleDevice() as oracle:
        oracle.load(program())
        layers = ("conv", "head")
        same = oracle.run(
            events(), monitor=Monitor(counts=layers, potentials=layers, window_edges_us=(0, 2_000, 5_000))
        )
    assert trace.outputs == same.outputs
    assert len(same.outputs["head"]) > 0
    for layer in layers:
        np.testing.assert_array_equal(trace.counts[layer], same.counts[layer])
        np.testing.assert_array_equal(trace.potentials[layer], same.potentials[layer])
    assert batch.output_counts.sum() == len(same.outputs["head"])
