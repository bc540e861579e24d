"""Formats that networks and programs can be written in, for other tools and for boards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chiploop import tree
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.profile import ChipProfile
from chiploop.chip.program import Program
from chiploop.errors import DataError
from chiploop.quantize.apply import quantize
from chiploop.quantize.scheme import QuantSpec
from chiploop.registry import Registry
from chiploop.spec.graph import NetworkSpec

_READABLE: dict[str, type[NetworkSpec | QuantSpec | Program]] = {
    kind.__name__: kind for kind in (NetworkSpec, QuantSpec, Program)
}


@dataclass(frozen=True, eq=False)
class ExportSource:
    """What is exported, at every stage that a format may ask for; stages are made when they are asked for.

    Raises DataError where the given thing lies behind the stage (a program's network), QuantizeError and
    DesignRuleError where a network cannot reach it.
    """

    given: NetworkSpec | QuantSpec | Program
    profile: ChipProfile

    @property
    def network(self) -> NetworkSpec:
        """The network in floating point."""
        if isinstance(self.given, NetworkSpec):
            return self.given
        return self.quant.base

    @cached_property
    def quant(self) -> QuantSpec:
        """The network in integers."""
        if isinstance(self.given, Program):
            raise DataError("a program has no floating-point weights any more; this format needs the network's file")
        return quantize(self.given) if isinstance(self.given, NetworkSpec) else self.given

    @cached_property
    def program(self) -> Program:
        """The network on the chip's cores."""
        return self.given if isinstance(self.given, Program) else compile_program(self.quant, self.profile)


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """A format: the suffix of its files, a line about it, and the function that writes one and returns what to tell.

    What is told are lines on what the format could not express, and on what the reader of the file must know.
    """

    suffix: str
    summary: str
    write: Callable[[ExportSource, Path], list[str]]


EXPORTERS: Registry[Exporter] = Registry("export format", "chiploop.chip")
"""Every format; a file of `chiploop.chip` may register one more."""


def read_source(path: Path, profile: ChipProfile) -> ExportSource:
    """Read a network, a network in integers or a program from its file; DataError when it is none of them."""
    return ExportSource(tree.read(path, _READABLE.get(_type_in(path), NetworkSpec)), profile)


def _type_in(path: Path) -> str:
    """Return the type that a file says it holds; nothing where it does not, which the reader then explains."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as opened:
            return str(json.loads(opened.metadata()["chiploop"])["type"])
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        return ""


def _write_nir(source: ExportSource, path: Path) -> list[str]:
    from chiploop.quantize.nir import write_quantized_nir
    from chiploop.spec.nir import write_nir

    if isinstance(source.given, QuantSpec):  # its integers go along
        return list(write_quantized_nir(path, source.given).lines)
    return list(write_nir(path, source.network).lines)


def _write_c_header(source: ExportSource, path: Path) -> list[str]:
    from chiploop.chip.export_c import write_c_header

    return write_c_header(path, source.program)


def _write_npz(source: ExportSource, path: Path) -> list[str]:
    from chiploop.chip.export_npz import write_program_npz

    return write_program_npz(path, source.program)


def _write_speck_json(source: ExportSource, path: Path) -> list[str]:
    from chiploop.chip.hardware.speck_config import speck_notes, write_speck_config

    write_speck_config(path, source.program, source.profile)
    return speck_notes(source.program)


for _name, _exporter in {
    "nir": Exporter(suffix=".nir", summary="the exchange format of spiking simulators and chips", write=_write_nir),
    "c-header": Exporter(suffix=".h", summary="the program as constant arrays in C", write=_write_c_header),
    "npz": Exporter(suffix=".npz", summary="the program as arrays of NumPy", write=_write_npz),
    "speck-json": Exporter(
        suffix=".json", summary="the configuration of a Speck board, in samna's fields", write=_write_speck_json
    ),
}.items():
    EXPORTERS.register(_name)(_exporter)
