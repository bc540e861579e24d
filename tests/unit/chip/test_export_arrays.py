"""Programs as a C header and as an archive: all that a program is stands in both."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from chiploop.chip.decay import decay_factors
from chiploop.chip.device import Monitor
from chiploop.chip.dvs import NoiseFilter
from chiploop.chip.export_c import MAX_COARSE, c_header, identifier, write_c_header
from chiploop.chip.export_npz import read_program_npz, write_program_npz
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.program import Program
from chiploop.errors import DataError, DeviceError
from chiploop.events.types import Events
from chiploop.rng import stream
from strategies_chip import affordable, chain_of, one_core, programs, random_events, random_program
from strategies_graph import random_graph

SEMANTICS = Path(__file__).with_name("instant_semantics.c")
STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1")


def c_compiler() -> str:
    """Return a C compiler, or skip."""
    found = next(
        (path for name in (os.environ.get("CC", ""), "cc", "gcc", "clang") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("no C compiler (cc, gcc or clang; or name one in CC)")
    return found


def run_in_c(program: Program, events: Events, folder: Path) -> list[tuple[int, ...]]:
    """Return (place, number, is output) of each core, then its spikes (place, t, f, y, x), from the header."""
    header, binary = folder / "a net.h", folder / "run"
    write_c_header(header, program)
    build = [c_compiler(), *STRICT, f'-DPROGRAM_HEADER="{header}"', "-DPROGRAM=chiploop_a_net", "-o", str(binary)]
    made = subprocess.run([*build, str(SEMANTICS)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    rows = zip(events.t_us.tolist(), events.channel.tolist(), events.y.tolist(), events.x.tolist(), strict=True)
    given_in = "\n".join([f"{events.start_us} {events.stop_us}", *(" ".join(map(str, row)) for row in rows)])
    done = subprocess.run([str(binary)], input=given_in, capture_output=True, text=True, check=True)
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


def run_in_oracle(program: Program, events: Events) -> list[tuple[int, ...]]:
    device = OracleDevice()
    device.load(program)
    trace = device.run(events, monitor=Monitor(spikes=tuple(core.layer for core in program.cores)))
    found: list[tuple[int, ...]] = []
    for place, core in enumerate(program.cores):
        found.append((place, core.core, int(core.core in program.outputs)))
        spikes = trace.spikes[core.layer]
        columns = (spikes.t_us.tolist(), spikes.channel.tolist(), spikes.y.tolist(), spikes.x.tolist())
        found += [(place, *row) for row in zip(*columns, strict=True)]
    return found


CHAINS = (14, 26, 28, 39)
GRAPHS = (5, 6, 9, 16, 20, 25, 28, 31, 32, 33, 34, 35)
"""Seeds of programs of which several layers spike, with merges, clocks, leaks, thresholds by neuron, sensor layers."""


SLOW_US = 20_000.0
"""Time constants beyond this are lowered: their tables are long."""


def case(make: Callable[[np.random.Generator], Program], seed: int) -> tuple[Program, Events]:
    program = make(stream(seed, "export"))
    fast = [
        core if core.tau_us is None else dataclasses.replace(core, tau_us=min(core.tau_us, SLOW_US))
        for core in program.cores
    ]
    dvs = program.dvs and dataclasses.replace(program.dvs, noise=NoiseFilter(window_us=60))
    program = dataclasses.replace(program, cores=tuple(fast), dvs=dvs)
    events = random_events(stream(seed, "events"), program.input_shape, n_most=60)
    return program, affordable(program, events, 200_000, device=OracleDevice())


CASES = [(random_program, seed) for seed in CHAINS] + [(random_graph, seed) for seed in GRAPHS]


@pytest.mark.parametrize(("make", "seed"), CASES)
def test_the_header_holds_all_that_the_chip_computes_with(
    make: Callable[[np.random.Generator], Program], seed: int, tmp_path: Path
) -> None:
    """A C program written from the header's words gives the oracle's spikes: every layer, in their order."""
    program, events = case(make, seed)
    assert run_in_c(program, events, tmp_path) == run_in_oracle(program, events)


def test_there_is_something_to_compare() -> None:
    """The programs above are not silent, and have all that a program can have."""
    ran = [(program, run_in_oracle(program, events)) for program, events in (case(*chosen) for chosen in CASES)]
    assert sum(len({row[0] for row in spikes if len(row) == 5}) >= 2 for _, spikes in ran) > len(CASES) // 3
    cores = [core for program, _ in ran for core in program.cores]
    assert any(program.dvs and program.dvs.noise for program, _ in ran)
    assert any(core.bias is not None for core in cores)
    assert any(core.tau_us is not None for core in cores)
    assert any(core.thresholds is not None for core in cores)
    assert any(core.state_bits == 32 for core in cores)
    assert any(target.shift and target.pool for program, _ in ran for _, target in program.links())


@pytest.mark.parametrize("bits", [16, 32])
def test_wide_states_are_wide(bits: int, tmp_path: Path) -> None:
    """300 x -128 leaves 16 bits; from there, 127 an event brings the narrow state to the threshold sooner."""
    core = one_core(np.array([-128, 127], np.int8).reshape(2, 1, 1, 1), (2, 1, 1), threshold=32767, state_bits=bits)
    n_down, n_up = 300, 1_000
    channel = np.repeat([0, 1], [n_down, n_up])
    zeros = np.zeros(n_down + n_up, np.int64)
    events = Events.from_columns(np.arange(n_down + n_up), channel, zeros, zeros, core.in_shape)
    lowest = -32768 if bits == 16 else -128 * n_down
    (_, (_, first, *_), *_) = run_in_c(chain_of(core), events, tmp_path)
    assert first == n_down + math.ceil((32767 - lowest) / 127) - 1


def test_a_leak_whose_table_is_too_long_is_refused() -> None:
    program = random_program(stream(0, "export"))
    slow = dataclasses.replace(program.cores[0], tau_us=1e9, layer="slow")
    with pytest.raises(
        DeviceError, match=r"layer 'slow': a leak of tau = 1e\+09 us would need a table of 21660850 factors"
    ):
        c_header(dataclasses.replace(program, cores=(slow, *program.cores[1:])))
    just = dataclasses.replace(program.cores[0], tau_us=189_000.0)
    assert len(decay_factors(189_000.0)[1]) <= MAX_COARSE
    assert ".n_coarse = 4094," in c_header(dataclasses.replace(program, cores=(just, *program.cores[1:])))


def test_two_headers_go_into_one_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_c_header(tmp_path / f"{name}.h", random_program(stream(len(name), name)))
    source = tmp_path / "both.c"
    source.write_text(
        '#include "one.h"\n#include "two.h"\n#include "one.h"\n'
        "int main(void) { return chiploop_one.n_cores < 1 || chiploop_two.n_cores < 1; }\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [c_compiler(), *STRICT, "-o", str(tmp_path / "both"), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert subprocess.run([str(tmp_path / "both")]).returncode == 0


@pytest.mark.parametrize("layer", ['a"b', "*/", "a\\", "é\n", "%d", "??/"])
def test_no_name_of_a_layer_breaks_the_header(layer: str, tmp_path: Path) -> None:
    program = random_program(stream(1, "export"))
    cores = (dataclasses.replace(program.cores[0], layer=layer), *program.cores[1:])
    write_c_header(tmp_path / "net.h", dataclasses.replace(program, cores=cores))
    source = tmp_path / "name.c"
    source.write_text(
        '#include <stdio.h>\n#include "net.h"\nint main(void) { return puts(chiploop_net.cores[0].layer) < 0; }\n'
    )
    binary = tmp_path / "name"
    done = subprocess.run([c_compiler(), *STRICT, "-o", str(binary), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([str(binary)], capture_output=True).stdout == layer.encode() + b"\n"


def test_headers_and_archives_are_told_and_the_same_each_time(tmp_path: Path) -> None:
    program = random_program(stream(0, "export"))
    n_weights = sum(core.weight.size for core in program.cores)
    (told,) = write_c_header(tmp_path / "net.h", program)
    size = f"{len(program.cores)} cores, {n_weights} weights of 8 bits"
    assert told == f"{size}, as the constant chiploop_net"
    assert c_header(program, "net") == (tmp_path / "net.h").read_text(encoding="utf-8")
    write_program_npz(tmp_path / "a.npz", program)
    (told,) = write_program_npz(tmp_path / "b.npz", program)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert f"{n_weights} weights" in told


@pytest.mark.parametrize(("text", "name"), [("net", "net"), ("2nets", "_2nets"), ("a-b.c", "a_b_c"), ("", "_")])
def test_names_become_identifiers(text: str, name: str) -> None:
    assert identifier(text) == name


@settings(max_examples=40)
@given(programs)
def test_an_archive_gives_the_program_back(tmp_path_factory: pytest.TempPathFactory, program: Program) -> None:
    path = tmp_path_factory.mktemp("npz") / "net.npz"
    write_program_npz(path, program)
    assert read_program_npz(path) == program


@pytest.mark.parametrize("seed", range(30))
def test_an_archive_gives_every_kind_of_program_back(seed: int, tmp_path: Path) -> None:
    program = random_graph(stream(seed, "export"))
    write_program_npz(tmp_path / "net.npz", program)
    assert read_program_npz(tmp_path / "net.npz") == program


def test_an_archive_is_read_without_this_package(tmp_path: Path) -> None:
    program = random_program(stream(3, "export"))
    write_program_npz(tmp_path / "net.npz", program)
    with np.load(tmp_path / "net.npz", allow_pickle=False) as archive:
        described = json.loads(str(archive["description"]))
        for core, told in zip(program.cores, described["cores"], strict=True):
            assert archive[told["weight"]].dtype == np.int8
            np.testing.assert_array_equal(archive[told["weight"]], core.weight)
            assert (told["threshold"], told["floor"], told["stride"]) == (core.threshold, core.floor, core.stride)
            assert [target["core"] for target in told["targets"]] == [target.core for target in core.targets]
    assert described["format"] == "chiploop program"


def test_archives_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    with pytest.raises(DataError, match=r"cannot read .*bad\.npz"):
        read_program_npz(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"bad\.npz is not a program, or is damaged"):
        read_program_npz(path)
    np.savez(path, description=np.array("{}"))
    with pytest.raises(DataError, match=r"bad\.npz is not a program, or is damaged"):
        read_program_npz(path)
    program = random_program(stream(0, "export"))
    write_program_npz(path, program)
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["core0.weight"] = arrays["core0.weight"] ^ 1
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"bad\.npz is damaged: its content does not have the digest"):
        read_program_npz(path)
