"""A program as a C header: its integers as constant arrays, for those who build the chip's function themselves."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop import __version__, atomic
from chiploop.chip.decay import FACTOR_BITS, FINE_STEPS, decay_factors
from chiploop.chip.dvs import DvsLayer
from chiploop.chip.program import CoreConfig, Program, Target
from chiploop.errors import DeviceError

PER_LINE = 20
SCHEMA = 1
"""Of the structures; a reader can refuse another one at compile time."""
MAX_COARSE = 4096
"""Most factors of a leak over multiples of 1024 us: of the order of a large core's weights."""

_TYPES = r"""
#ifndef CHIPLOOP_TYPES
#define CHIPLOOP_TYPES 1
#include <stdint.h>

typedef struct {
  int32_t core;  /* place in the program's cores, not the core's number on the chip */
  int32_t pool;  /* y >> pool, x >> pool on the way; rows and columns that fill no window are dropped */
  int32_t shift; /* added to the channel */
} chiploop_target;

typedef struct {
  const char *layer;
  int32_t number; /* of the core on the chip */
  int32_t in_channels, in_height, in_width;
  int32_t channels, height, width; /* of its neurons */
  int32_t kernel_height, kernel_width, stride, padding;
  int32_t pool;               /* spikes leave at (channel, y >> pool, x >> pool), as in chiploop_target */
  int32_t threshold;          /* the same for every neuron, unless there are thresholds */
  int32_t floor;              /* lowest state; -32768: none but that of the state itself */
  int32_t reset_to_zero;      /* 0: a spike takes the threshold away, 1: it takes everything */
  int32_t spikes_all;         /* 0: at most one spike an update, 1: as long as the state reaches the threshold */
  int32_t state_bits;         /* states saturate at 16 or 32 bits */
  const int8_t *weight;       /* [in_channels][kernel_height][kernel_width][channels] */
  const int16_t *bias;        /* [channels], added at each edge of the slow clock, or 0 */
  const int32_t *thresholds;  /* [channels][height][width], or 0; 32768: never fires */
  double tau_us;              /* of the leak, or 0 */
  const uint32_t *decay_fine; /* [1024]: 2^31 exp(-i / tau), or 0 */
  const uint32_t *decay_coarse; /* [n_coarse]: 2^31 exp(-1024 j / tau), or 0; nothing is left beyond */
  int32_t n_coarse;
  int32_t is_output; /* its events leave the chip */
  int32_t n_targets;
  const chiploop_target *targets;
} chiploop_core;

typedef struct { /* what the sensor's events go through first, in this order */
  int32_t in_channels, in_height, in_width;
  int32_t n_hot;
  const int32_t *hot;      /* [n_hot][2]: (y, x) of pixels whose events are dropped, or 0 */
  int32_t noise_window_us; /* 0: no filter; else one of the 8 neighbours must have had an event so long ago at most */
  int32_t merge;           /* 1: every channel becomes 0 */
  int32_t pool;
  int32_t cuts, top, left, bottom, right; /* cuts = 1: what lies outside (inclusive) is dropped, and the origin moved */
  int32_t mirror_x, mirror_y, mirror_diagonal;
} chiploop_dvs;

typedef struct {
  int32_t schema;
  int32_t in_channels, in_height, in_width; /* of the events that it takes */
  int64_t clock_us;                         /* period of the slow clock, or 0 */
  const chiploop_dvs *dvs;                  /* or 0 */
  int32_t n_inputs;
  const chiploop_target *inputs;
  int32_t n_cores;
  const chiploop_core *cores; /* in the order of data flow */
} chiploop_program;
#endif
"""

_RULES = """\
For every event (t, c, y, x) that a core hears, for every output place (oy, ox) in raster order with
ky = y - (oy * stride - padding) in 0..kernel_height-1 and kx likewise, for every channel f ascending: the weight
[c][ky][kx][f] is added to the state [f][oy][ox] with saturation, the state is raised to the floor, and where it has
reached the threshold the neuron spikes. Edges of the slow clock (0, clock_us, 2 clock_us, ...) come before the events
of their time and add the bias to every neuron, y, x, then f. A core hears its sources in the order of (t, place of
the source with the input first, place in the source's stream). With a leak, states have 16 more bits after the point
(32 in all): before an update after dt the state is multiplied by (fine[dt & 1023] * coarse[dt >> 10] + 2^30) >> 31,
with (product + 2^30) >> 31 again; weight, floor and threshold are shifted left by 16. States begin at 0."""


def write_c_header(path: Path, program: Program) -> list[str]:
    """Write a program as a C99 header, atomically; returns the lines to be told. See `c_header`."""
    name = identifier(path.stem)
    atomic.write_text(path, c_header(program, name))
    size = sum(core.weight.size for core in program.cores)
    return [f"{len(program.cores)} cores, {size} weights of 8 bits, as the constant chiploop_{name}"]


def c_header(program: Program, name: str = "program") -> str:
    """Return a C99 header without code: structures, arrays, and the constant `chiploop_<name>` that holds them all.

    Weights are `int8_t [C][kh][kw][F]`, as the core stores them; thresholds, floors, biases and shapes are integers,
    the leak's factors with 31 bits after the point. The same program gives the same text. Headers of several programs
    go into one file when their names differ. Raises DeviceError for a leak of more than about 0.2 s.
    """
    parts = [
        f"/* Written by chiploop {__version__}. Program {program.digest}.\n",
        "   Layout: beside each field below. Rules:\n",
        *(f"   {line}\n" for line in _RULES.splitlines()),
        f"*/\n#ifndef CHIPLOOP_PROGRAM_{name.upper()}\n#define CHIPLOOP_PROGRAM_{name.upper()}\n",
        _TYPES,
        "\n",
        *_program(program, f"chiploop_{name}"),
        "#endif\n",
    ]
    return "".join(parts)


def identifier(text: str) -> str:
    """Return a text as a part of a C name.

    >>> identifier("2 nets-é")
    '_2_nets__'
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return f"_{plain}" if not plain or plain[0].isdigit() else plain


def _program(program: Program, name: str) -> Iterator[str]:
    places = {core.core: place for place, core in enumerate(program.cores)}
    for place, core in enumerate(program.cores):
        yield from _core_arrays(core, f"{name}_{place}", places)
    yield f"static const chiploop_core {name}_cores[{len(program.cores)}] = {{\n"
    for place, core in enumerate(program.cores):
        yield from _core(core, f"{name}_{place}", is_output=core.core in program.outputs)
    yield "};\n\n"
    yield _targets(program.inputs, f"{name}_inputs", places)
    if program.dvs is not None:
        yield from _dvs(program.dvs, f"{name}_dvs")
    yield f"static const chiploop_program {name} = {{\n"
    yield _fields(
        schema=SCHEMA,
        **_shape("in_", program.input_shape),
        clock_us=program.clock_us or 0,
        dvs="0" if program.dvs is None else f"&{name}_dvs",
        n_inputs=len(program.inputs),
        inputs=f"{name}_inputs",
        n_cores=len(program.cores),
        cores=f"{name}_cores",
    )
    yield "};\n"


def _core_arrays(core: CoreConfig, name: str, places: dict[int, int]) -> Iterator[str]:
    yield _array("int8_t", f"{name}_weight", core.weight)
    if core.bias is not None:
        yield _array("int16_t", f"{name}_bias", core.bias)
    if core.thresholds is not None:
        yield _array("int32_t", f"{name}_thresholds", core.thresholds)
    if core.tau_us is not None:
        _require_small_table(core, core.tau_us)
        for which, factors in zip(("fine", "coarse"), decay_factors(core.tau_us), strict=True):
            yield _array("uint32_t", f"{name}_decay_{which}", factors, suffix="u")
    if core.targets:
        yield _targets(core.targets, f"{name}_targets", places)


def _require_small_table(core: CoreConfig, tau_us: float) -> None:
    """Refuse a leak so slow that its factors fill a header: they end where 2^31 exp(-1024 j / tau) rounds to 0."""
    n_coarse = math.ceil(tau_us * (FACTOR_BITS + 1) * math.log(2) / FINE_STEPS)
    if n_coarse > MAX_COARSE:
        slowest = MAX_COARSE * FINE_STEPS / ((FACTOR_BITS + 1) * math.log(2))
        raise DeviceError(
            f"layer {core.layer!r}: a leak of tau = {tau_us:g} us would need a table of {n_coarse} factors, a header "
            f"holds {MAX_COARSE} (tau up to {slowest:.0f} us); export the archive (.npz), which holds tau itself"
        )


def _core(core: CoreConfig, name: str, *, is_output: bool) -> Iterator[str]:
    _, kernel_height, kernel_width, _ = core.weight.shape
    leaky = core.tau_us is not None
    yield "  {\n"
    yield _fields(
        layer=c_string(core.layer),
        number=core.core,
        **_shape("in_", core.in_shape),
        **_shape("", core.neuron_shape),
        kernel_height=kernel_height,
        kernel_width=kernel_width,
        stride=core.stride,
        padding=core.padding,
        pool=core.pool,
        threshold=core.threshold,
        floor=core.floor,
        reset_to_zero=int(core.reset == "zero"),
        spikes_all=int(core.spikes_per_update == "all"),
        state_bits=core.state_bits,
        weight=f"{name}_weight",
        bias="0" if core.bias is None else f"{name}_bias",
        thresholds="0" if core.thresholds is None else f"{name}_thresholds",
        tau_us="0" if core.tau_us is None else core.tau_us.hex(),
        decay_fine=f"{name}_decay_fine" if leaky else "0",
        decay_coarse=f"{name}_decay_coarse" if leaky else "0",
        n_coarse=0 if core.tau_us is None else len(decay_factors(core.tau_us)[1]),
        is_output=int(is_output),
        n_targets=len(core.targets),
        targets=f"{name}_targets" if core.targets else "0",
    )
    yield "  },\n"


def _dvs(dvs: DvsLayer, name: str) -> Iterator[str]:
    if dvs.hot_pixels:
        yield _array("int32_t", f"{name}_hot", np.array(dvs.hot_pixels))
    cut = dvs.cut or (0, 0, 0, 0)
    yield f"static const chiploop_dvs {name} = {{\n"
    yield _fields(
        **_shape("in_", dvs.in_shape),
        n_hot=len(dvs.hot_pixels),
        hot=f"{name}_hot" if dvs.hot_pixels else "0",
        noise_window_us=0 if dvs.noise is None else dvs.noise.window_us,
        merge=int(dvs.merge),
        pool=dvs.pool,
        cuts=int(dvs.cut is not None),
        **dict(zip(("top", "left", "bottom", "right"), cut, strict=True)),
        mirror_x=int(dvs.mirror_x),
        mirror_y=int(dvs.mirror_y),
        mirror_diagonal=int(dvs.mirror_diagonal),
    )
    yield "};\n\n"


def _shape(prefix: str, shape: Sequence[int]) -> dict[str, int]:
    return {f"{prefix}{name}": n for name, n in zip(("channels", "height", "width"), shape, strict=True)}


def _fields(**fields: int | str) -> str:
    return "".join(f"    .{name} = {value},\n" for name, value in fields.items())


def _targets(targets: Iterable[Target], name: str, places: dict[int, int]) -> str:
    rows = [f"{{{places[target.core]}, {target.pool}, {target.shift}}}" for target in targets]
    return f"static const chiploop_target {name}[{len(rows)}] = {{{', '.join(rows)}}};\n\n"


def _array(kind: str, name: str, values: NDArray[Any], *, suffix: str = "") -> str:
    texts = [f"{value}{suffix}" for value in values.ravel().tolist()]
    lines = [", ".join(texts[i : i + PER_LINE]) for i in range(0, len(texts), PER_LINE)]
    body = ",\n  ".join(lines)
    return f"static const {kind} {name}[{len(texts)}] = {{\n  {body}\n}};\n\n"


def c_string(text: str) -> str:
    r"""Return a C string of the text's UTF-8, in characters that mean nothing else in C.

    >>> c_string('a"b')
    '"a\\042b"'
    """
    kept = {*string.ascii_letters.encode(), *string.digits.encode(), *b" _-."}
    plain = "".join(chr(byte) if byte in kept else f"\\{byte:03o}" for byte in text.encode())
    return f'"{plain}"'
