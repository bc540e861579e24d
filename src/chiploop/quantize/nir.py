"""Networks in integers to and from NIR: the real numbers that the integers stand for, with the integers beside them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from chiploop.errors import DataError, SpecError
from chiploop.quantize.apply import dequantize, quantize
from chiploop.quantize.scheme import IntScheme, QuantSpec
from chiploop.spec.nir_export import write_nir
from chiploop.spec.nir_format import NirReport, read_notes
from chiploop.spec.nir_import import from_nir, read_graph


def write_quantized_nir(path: Path, quant: QuantSpec) -> NirReport:
    """Write a network in integers as NIR: weights q s, thresholds theta s, as every reader understands them.

    Scale, integer threshold and floor, and the number of bits of each layer go to its node's metadata, from which
    `read_quantized_nir` rebuilds the same integers. What the network was before rounding is not in the file.
    """
    network = dequantize(quant)
    report = write_nir(path, network, extra=_integers(quant))
    said = f"{', '.join(layer.name for layer in quant.layers)}: scale, integer threshold and floor, number of bits"
    return dataclasses.replace(
        report,
        lost=(*report.lost, "the weights before rounding, and how well the integers stand for them"),
        in_metadata=(*report.in_metadata, said),
    )


def read_quantized_nir(path: Path) -> QuantSpec:
    """Read what `write_quantized_nir` wrote: the same integers, on the real numbers that they stand for.

    Raises DataError for a file without the metadata, or whose weights are not on the grid that it names.
    """
    graph = read_graph(path)
    try:
        network, _ = from_nir(graph)
    except SpecError as error:
        raise DataError(f"{path}: {error}") from error
    notes = {str(n["layer"]): n for node in graph.nodes.values() if "layer" in (n := read_notes(node))}
    wanted = [layer.name for layer in network.spiking]
    missing = [name for name in wanted if not {"scale", "bits", "threshold"} <= notes.get(name, {}).keys()]
    if missing or not wanted:
        what = f"layer {missing[0]!r} has no integers" if missing else "no layer has a neuron"
        raise DataError(f"{path}: {what} in its metadata; read it with read_nir, and quantise")
    bits = {int(notes[name]["bits"]) for name in wanted}
    state_bits = {int(notes[name].get("state_bits", 16)) for name in wanted}
    if len(bits) != 1 or len(state_bits) != 1:
        raise DataError(f"{path}: weights of {sorted(bits)} and states of {sorted(state_bits)} bits; expected one each")
    scheme = IntScheme(bits=bits.pop(), state_bits=state_bits.pop())
    quant = quantize(network, scheme, scales={name: float(notes[name]["scale"]) for name in wanted})
    for layer in quant.layers:
        told = (int(notes[layer.name]["threshold"]), notes[layer.name].get("floor"))
        if layer.rms_error != 0.0 or (layer.threshold, layer.floor) != told:
            raise DataError(f"{path}: layer {layer.name!r} is not on the grid of scale {layer.scale:g} that it names")
    return quant


def _integers(quant: QuantSpec) -> dict[str, dict[str, int | float | str]]:
    found: dict[str, dict[str, int | float | str]] = {}
    for layer in quant.layers:
        found[layer.name] = {
            "scale": layer.scale,
            "threshold": layer.threshold,
            "bits": quant.scheme.bits,
            "state_bits": quant.scheme.state_bits,
        }
        if layer.floor is not None:
            found[layer.name]["floor"] = layer.floor
    return found
