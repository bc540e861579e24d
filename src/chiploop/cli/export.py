"""`chiploop export`: a network or a program in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chiploop.cli.console import print_json
from chiploop.cli.options import JsonOption

DEFAULT_CHIP = "speck2f"
EXAMPLES = (
    "Examples:\n\n  chiploop export net.safetensors --to nir -o net.nir\n\n"
    "  chiploop export net.safetensors --to speck-json --chip speck2e -o net.json\n\n"
    "  chiploop export program.safetensors --to c-header -o program.h\n\n"
    "Formats: c-header, nir, npz, speck-json. All but nir bring a network to integers and onto the chip first."
)


def command(
    source: Annotated[Path, typer.Argument(metavar="NETWORK|PROGRAM", help="A .safetensors file of either.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="c-header, nir, npz or speck-json.")],
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    chip: Annotated[
        str, typer.Option("--chip", help="Profile or TOML file that a network is compiled for.")
    ] = DEFAULT_CHIP,
    as_json: JsonOption = False,
) -> None:
    """Write a network or a program in another tool's format, and say what that could not express."""
    from chiploop.chip.export import EXPORTERS, read_source
    from chiploop.chip.profile import read_profile

    exporter = EXPORTERS.get(to)
    told = exporter.write(read_source(source, read_profile(chip)), file)
    if as_json:
        print_json({"format": to, "file": str(file), "notes": told})
        return
    print(f"wrote {file}: {exporter.summary}")
    for line in told:
        print(f"  {line}")
