"""What a file of ours holds, in a few lines and tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiploop.errors import DataError
from chiploop.report.table import Cell, Column, Row, Table, row

if TYPE_CHECKING:
    from chiploop.chip.program import Target

_HEADER_SIZE_BYTES = 8
SHORT = 8
"""Hexadecimal digits of a digest that people read."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A file's content for people (`lines`, `tables`) and for programs (`plain`)."""

    lines: tuple[str, ...]
    tables: tuple[Table, ...]
    plain: dict[str, Any]


def summarise(path: Path) -> Summary:
    """Return the summary of a network, quantised network, program, checkpoint or record; raises DataError otherwise."""
    if path.suffix == ".json":
        return _record(path)
    kinds = {"NetworkSpec": _network, "QuantSpec": _quantised, "Program": _program, "checkpoint": _checkpoint}
    kind = _kind(path)
    if kind not in kinds:
        raise DataError(f"{path} holds a {kind}; there are summaries of {', '.join(kinds)}")
    return kinds[kind](path)


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(_HEADER_SIZE_BYTES), "little")
            if size > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(json.loads(file.read(size))["__metadata__"]["chiploop"])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a chiploop file, or is damaged: {error}") from error
    if not isinstance(header, dict):
        raise DataError(f"{path} is not a chiploop file, or is damaged")
    return header


def _kind(path: Path) -> str:
    header = _header(path)
    return "checkpoint" if "history" in header else str(header.get("type"))


def _network(path: Path) -> Summary:
    from chiploop.chip.plan import fold
    from chiploop.spec.io import read_network

    network = read_network(path)
    plans = {plan.layer: plan for plan in fold(network)}
    rows, plain = [], []
    for layer in network.layers:
        plan = plans.get(layer.name)
        entry: dict[str, Any] = {
            "name": layer.name,
            "op": type(layer.op).__name__,
            "in_shape": list(layer.in_shape),
            "out_shape": list(layer.out_shape),
        }
        if layer.weight is not None and plan is not None:
            entry |= {
                "weight_shape": list(layer.weight.shape),
                "weights": int(layer.weight.size),
                "weight_min": float(layer.weight.min()),
                "weight_max": float(layer.weight.max()),
                "kernel_words": plan.kernel_words,
                "neuron_words": plan.neuron_words,
            }
        if layer.neuron is not None:
            entry |= {"neuron": layer.neuron.kind, "v_th": layer.neuron.v_th, "v_min": layer.neuron.v_min}
        plain.append(entry)
        rows.append(_layer_row(entry))
    n_weights = sum(entry.get("weights", 0) for entry in plain)
    titles = ("Layer", "Op", "Output", "Weights", "Range", "Neuron", "Kernel words", "Neuron words")
    clock = "no clock" if network.dt_us is None else f"clock {network.dt_us:,} us"
    return Summary(
        lines=(
            f"network {network.digest[:SHORT]}: input {_shape(network.input_shape)}, "
            f"output {_shape(network.out_shape)}, {n_weights:,} weights, {clock}",
        ),
        tables=(Table(_columns(*titles), tuple(rows)),),
        plain={
            "type": "network",
            "digest": network.digest,
            "input_shape": list(network.input_shape),
            "dt_us": network.dt_us,
            "weights": n_weights,
            "layers": plain,
        },
    )


def _layer_row(entry: dict[str, Any]) -> Row:
    weighted, neuron = "weights" in entry, Cell("")
    if "neuron" in entry:
        floor = "" if entry["v_min"] is None else f", V >= {entry['v_min']:g}"
        neuron = Cell(entry["neuron"], f"V_th {entry['v_th']:.4g}{floor}")
    return row(
        entry["name"],
        entry["op"].lower(),
        _shape(entry["out_shape"]),
        Cell(f"{entry['weights']:,}", _shape(entry["weight_shape"])) if weighted else "",
        Cell(f"{entry['weight_min']:.3g}", f"to {entry['weight_max']:.3g}") if weighted else "",
        neuron,
        f"{entry['kernel_words']:,}" if weighted else "",
        f"{entry['neuron_words']:,}" if weighted else "",
    )


def _quantised(path: Path) -> Summary:
    from chiploop import tree
    from chiploop.quantize.scheme import QuantSpec

    quant = tree.read(path, QuantSpec)
    plain = [
        {
            "name": layer.name,
            "weights": int(layer.weight.size),
            "threshold": layer.threshold,
            "scale": layer.scale,
            "snr_db": layer.snr_db,
            "clipped": layer.clipped,
            "zeroed": layer.zeroed,
        }
        for layer in quant.layers
    ]
    rows = tuple(
        row(
            str(entry["name"]),
            f"{entry['weights']:,}",
            f"{entry['threshold']:,}",
            f"{entry['scale']:.4g}",
            f"{entry['snr_db']:.1f} dB",
            f"{entry['clipped']:.2%}",
            f"{entry['zeroed']:.2%}",
        )
        for entry in plain
    )
    return Summary(
        lines=(f"integers {quant.digest[:SHORT]}: {quant.scheme.bits} bits, scales by {quant.scheme.search}",),
        tables=(Table(_columns("Layer", "Weights", "Threshold", "Scale", "SNR", "Clipped", "Zeroed"), rows),),
        plain={"type": "quantised", "digest": quant.digest, "bits": quant.scheme.bits, "layers": plain},
    )


def _program(path: Path) -> Summary:
    from chiploop import tree
    from chiploop.chip.plan import ceil_log2
    from chiploop.chip.program import STATE_MIN, Program

    program = tree.read(path, Program)
    plain, rows = [], []
    for core in program.cores:
        channels, kh, kw, features = core.weight.shape
        _, height, width = core.neuron_shape
        entry: dict[str, Any] = {
            "core": core.core,
            "layer": core.layer,
            "weight_shape": list(core.weight.shape),
            "stride": core.stride,
            "padding": core.padding,
            "pool": 1 << core.pool,
            "threshold": core.threshold,
            "floor": None if core.floor == STATE_MIN else core.floor,
            "neuron_shape": list(core.neuron_shape),
            "out_shape": list(core.out_shape),
            "kernel_words": channels << (ceil_log2(kh * kw) + ceil_log2(features)),
            "neuron_words": features << (ceil_log2(height) + ceil_log2(width)),
            "targets": [asdict(target) for target in core.targets],
        }
        plain.append(entry)
        rows.append(
            row(
                str(core.core),
                core.layer,
                Cell(f"{features}c{kh}s{core.stride}p{core.padding}", f"hears {channels}"),
                f"{core.threshold:,}",
                "none" if entry["floor"] is None else str(core.floor),
                _shape(core.neuron_shape),
                f"{entry['pool']}",
                f"{entry['kernel_words']:,}",
                f"{entry['neuron_words']:,}",
                ", ".join(map(_target, core.targets)) or "out",
            )
        )
    titles = ("Core", "Layer", "Kernel", "Threshold", "Floor", "Neurons", "Pool", "Kernel words", "Neuron words", "To")
    return Summary(
        lines=(
            f"program {program.digest[:SHORT]}: input {_shape(program.input_shape)} to core "
            f"{', '.join(map(_target, program.inputs))}, "
            f"{program.cores[0].spikes_per_update} spike(s) an update, output of core {program.outputs[0]}"
            + ("" if program.clock_us is None else f", slow clock {program.clock_us:,} us"),
        ),
        tables=(Table(_columns(*titles), tuple(rows)),),
        plain={
            "type": "program",
            "digest": program.digest,
            "inputs": [asdict(target) for target in program.inputs],
            "clock_us": program.clock_us,
            "cores": plain,
        },
    )


def _target(target: Target) -> str:
    changes = [f"P{1 << target.pool}"] * bool(target.pool) + [f"+{target.shift}"] * bool(target.shift)
    return f"{target.core} ({' '.join(changes)})" if changes else str(target.core)


def _checkpoint(path: Path) -> Summary:
    header = _header(path)
    history, best = header["history"], int(header["best_epoch"])
    rows = tuple(
        row(
            f"{epoch['epoch'] + 1}{' (kept)' if epoch['epoch'] == best else ''}",
            f"{epoch['loss']:.4g}",
            f"{epoch['train_accuracy']:.1%}",
            f"{epoch['score']:.1%}",
            f"{epoch['seconds']:.1f} s",
        )
        for epoch in history
    )
    return Summary(
        lines=(f"checkpoint after {len(history)} epochs, the best one {best + 1}",),
        tables=(Table(_columns("Epoch", "Loss", "Training", "Validation", "Time"), rows),),
        plain={"type": "checkpoint", "best_epoch": best, "history": history},
    )


def _record(path: Path) -> Summary:
    from chiploop.measure.record import read_record
    from chiploop.report import results_table

    record = read_record(path)
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    code = (record.code.commit or "not in git")[:12] + (" (changed)" if record.code.dirty else "")
    return Summary(
        lines=(
            f"record {record.id}",
            f"recipe {record.name} ({record.recipe_hash[:SHORT]}), seed {record.seed}, {record.created_utc}",
            f"command {record.command or 'not recorded'}",
            f"code {code}; {versions}",
            f"host {record.host.cpu}, {record.host.cores} cores",
        ),
        tables=(results_table([record], quote=False),),
        plain={"type": "record", **json.loads(record.to_json())},
    )


def _columns(*titles: str) -> tuple[Column, ...]:
    return tuple(Column(title, align="left" if i == 0 else "right") for i, title in enumerate(titles))


def _shape(shape: Any) -> str:
    return "x".join(str(n) for n in shape)
