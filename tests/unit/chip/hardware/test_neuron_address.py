"""Addresses of neurons: by hand, one to one, and inside the memory wherever the layer fits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chiploop.chip.hardware.neuron_address import neuron_addresses, neuron_at
from chiploop.events.types import SensorShape

sides = st.integers(1, 64)
shapes = st.builds(SensorShape, st.integers(1, 40), sides, sides)


def test_fields_stand_y_x_channel() -> None:
    there = neuron_addresses(SensorShape(6, 5, 20))  # 3 bits of channel, 5 of x
    assert there[5, 0, 0] == 0b101
    assert there[0, 0, 19] == 19 << 3
    assert there[0, 4, 0] == 4 << 8
    assert there[5, 4, 19] == 4 << 8 | 19 << 3 | 5


def test_a_wide_map_shares_no_address() -> None:
    """Shifting y by the bits of y, as the vendor's Python does, would give 1,024 addresses to these 4,096 neurons."""
    shape = SensorShape(4, 16, 64)
    there = neuron_addresses(shape)
    assert len(np.unique(there)) == 4_096
    f, y, x = np.indices(shape)
    vendor = y << (2 + 4) | x << 2 | f
    assert len(np.unique(vendor)) == 1_024


@given(shape=shapes)
def test_every_neuron_is_found_at_its_address(shape: SensorShape) -> None:
    there = neuron_addresses(shape)
    for at in np.ndindex(*shape) if there.size < 300 else [(shape[0] - 1, shape[1] - 1, shape[2] - 1), (0, 0, 0)]:
        assert neuron_at(int(there[at]), shape) == at


@given(shape=shapes)
def test_other_addresses_hold_no_neuron(shape: SensorShape) -> None:
    taken = set(neuron_addresses(shape).flat)
    free = set(range(-1, min(max(taken) + 9, 4_000))) - taken
    assert {neuron_at(address, shape) for address in free} <= {None}


@given(shape=shapes)
def test_a_layer_that_fits_a_memory_has_its_addresses_there(shape: SensorShape) -> None:
    """The memory that a layer takes counts whole bits of y and x, times channels; memories are powers of two."""
    words = shape.channels << ((shape.height - 1).bit_length() + (shape.width - 1).bit_length())
    memory = 1 << (words - 1).bit_length()
    assert neuron_addresses(shape).max() < memory
