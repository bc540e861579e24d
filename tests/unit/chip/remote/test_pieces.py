"""Batches in pieces: nothing is lost, nothing outgrows the limit that need not, and joining undoes cutting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.chip.device import Monitor
from chiploop.chip.remote.pieces import answer_bytes, joined, pieces_of
from chiploop.chip.virtual import VirtualDevice
from chiploop.rng import stream
from strategies_chip import chain_of, neuron, one_core, pulses, require_same_batch

EDGES = (0, 10, 20)


def test_the_size_of_an_answer_by_hand() -> None:
    # One neuron: 2 windows of 2 bytes, 9 counters and `lost` of 8 bytes, output count and potential of 10.
    assert answer_bytes(neuron(3), Monitor(counts=("layer0",), window_edges_us=EDGES)) == 2 * 2 + 10 * 8 + 10
    both = Monitor(counts=("layer0",), potentials=("layer0",), window_edges_us=EDGES)
    assert answer_bytes(neuron(3), both) == 2 * 4 + 10 * 8 + 10
    assert answer_bytes(neuron(3), Monitor()) == 10 * 8 + 10


@pytest.mark.parametrize(
    ("lengths", "limit", "pieces"),
    [
        ([0, 0, 0], 10**6, [[0, 0, 0]]),
        ([1, 1, 1, 1], 2 * 62, [[1, 1], [1, 1]]),  # 48 + 14 bytes each
        ([1, 1, 1], 2 * 62 - 1, [[1], [1], [1]]),
        ([9, 1, 1], 124, [[9], [1, 1]]),  # too large by itself: alone
        ([1, 9, 1], 124, [[1], [9], [1]]),
        ([], 10, [[]]),
    ],
)
def test_requests_are_cut_by_hand(lengths: list[int], limit: int, pieces: list[list[int]]) -> None:
    batch = [pulses(list(range(n))) for n in lengths]
    assert [[len(e) for e in piece] for piece in pieces_of(batch, None, Monitor(), limit=limit)] == pieces


def test_answers_are_cut_too() -> None:
    monitor = Monitor(counts=("layer0",), window_edges_us=EDGES)
    size = answer_bytes(neuron(3), monitor)
    batch = [pulses([]) for _ in range(5)]
    assert [len(piece) for piece in pieces_of(batch, neuron(3), monitor, limit=2 * size)] == [2, 2, 1]
    unknown = Monitor(counts=("nowhere",), window_edges_us=EDGES)  # which the device will refuse
    assert [len(piece) for piece in pieces_of(batch, neuron(3), unknown)] == [5]


@given(lengths=st.lists(st.integers(0, 6), max_size=12), limit=st.integers(0, 400))
def test_pieces_in_a_row_are_the_batch(lengths: list[int], limit: int) -> None:
    batch = [pulses(list(range(n))) for n in lengths]
    pieces = list(pieces_of(batch, None, Monitor(), limit=limit))
    assert [events for piece in pieces for events in piece] == batch
    assert all(len(piece) for piece in pieces) or pieces == [[]]
    assert all(sum(48 + 14 * len(e) for e in piece) <= limit for piece in pieces if len(piece) > 1)


def test_joined_pieces_are_the_whole_with_its_order_in_memory() -> None:
    weight = np.arange(-9, 9, dtype=np.int8).reshape(1, 3, 3, 2)
    program = chain_of(one_core(weight, (1, 5, 4), padding=1, threshold=4))
    rng = stream(0, "pieces")
    batch = []
    for _ in range(7):
        events = pulses(sorted(rng.integers(0, 20, 15).tolist()))
        columns = (rng.integers(0, size, 15) for size in (5, 4))
        batch.append(type(events).from_columns(events.t_us, events.channel, *columns, program.input_shape))
    monitor = Monitor(counts=("layer0",), potentials=("layer0",), window_edges_us=EDGES)
    with VirtualDevice(threads=1) as device:
        device.load(program)
        whole = device.run_batch(batch, monitor=monitor)
        parts = [device.run_batch(piece, monitor=monitor) for piece in (batch[:3], batch[3:4], batch[4:])]
    found = joined(parts)
    require_same_batch(found, whole)
    assert found.counts["layer0"].sum() > 0
    for kind in ("counts", "potentials"):
        assert getattr(found, kind)["layer0"].strides == getattr(whole, kind)["layer0"].strides
    assert joined(parts[:1]) is parts[0]
