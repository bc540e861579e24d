"""The bare scatter does the synops of a run, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop import _core
from chiploop.bench.core import heard_by_core
from chiploop.chip.bare import BareScatter
from chiploop.chip.virtual import VirtualDevice
from chiploop.rng import stream
from strategies_chip import chain_of, one_core, pulses, random_events, random_program


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("isa", _core.available_isas())
def test_the_bare_scatter_adds_what_the_program_adds(seed: int, isa: str) -> None:
    rng = stream(seed, "bare")
    program = random_program(rng)
    recordings = [random_events(rng, program.input_shape) for _ in range(3)]
    device = VirtualDevice(threads=1)
    device.load(program)
    trace = device.run_batch(recordings)
    assert BareScatter(program, heard_by_core(program, recordings), isa=isa).run() == trace.total("synops")


def test_cores_of_32_bits_have_no_bare_scatter() -> None:
    core = one_core(np.ones((1, 1, 1, 1), np.int8), (1, 1, 1), state_bits=32)
    bare = BareScatter(chain_of(core), [[pulses([1, 2])]])
    with pytest.raises(ValueError, match="no vector kernel"):
        bare.run()
