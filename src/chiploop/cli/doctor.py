"""`chiploop doctor`: what is installed, what data is found, and whether it works."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer

from chiploop.cli.console import FAILED, print_json, print_mark, wrapped
from chiploop.cli.options import DataOption, JsonOption
from chiploop.errors import ChiploopError

EXAMPLES = "Examples:\n\n  chiploop doctor\n\n  chiploop doctor --data ~/data --json\n\nExit code 1 when a check fails."
SPLITS = ("train", "test")


def command(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check the installation: versions, the compiled core, which data sets are found, and a self-test."""
    from chiploop.measure.record import read_host, read_versions

    core, host = _core(), read_host()
    test = _self_test() if core["built"] else {"passed": False, "message": "the core is missing"}
    found: dict[str, Any] = {
        "versions": read_versions(),
        "host": {"cpu": host.cpu, "cores": host.cores},
        "core": core,
        "data": _data(data),
        "self_test": test,
        "ok": core["built"] and test["passed"],
    }
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not found["ok"]:
        raise typer.Exit(FAILED)


def _core() -> dict[str, Any]:
    from chiploop.chip.virtual import VirtualDevice

    try:
        with VirtualDevice() as device:
            return {"built": True, "isa": device.isa, "message": ""}
    except ChiploopError as error:
        return {"built": False, "isa": None, "message": str(error)}


def _data(root: Path | None) -> dict[str, Any]:
    from chiploop.datasets.base import DATASETS
    from chiploop.datasets.locate import resolve_root

    sets: dict[str, dict[str, Any]] = {}
    for name in DATASETS.names():
        entry: dict[str, Any] = {"found": False, "samples": {}, "message": ""}
        for split in SPLITS:
            try:
                entry["samples"][split] = len(DATASETS.get(name)(root, split=split))
                entry["found"] = True
            except ChiploopError as error:
                entry["message"] = entry["message"] or str(error)
        sets[name] = entry
    return {"root": str(resolve_root(root)), "sets": sets}


def _self_test() -> dict[str, Any]:
    """Run one random chain on the compiled core and on the oracle, which must agree in every count."""
    import numpy as np

    from chiploop.chip.compile import compile as compile_program
    from chiploop.chip.oracle import OracleDevice
    from chiploop.chip.profile import read_profile
    from chiploop.chip.virtual import VirtualDevice
    from chiploop.events.types import Events, SensorShape
    from chiploop.quantize.apply import quantize
    from chiploop.rng import stream
    from chiploop.spec.graph import NeuronSpec
    from chiploop.spec.notation import parse_notation

    shape, n, rng = SensorShape(2, 12, 12), 200, stream(0, "self-test")
    spec = parse_notation("4c3p1-P2-4c3p1-P2-10", tuple(shape), NeuronSpec(v_th=0.5), rng)
    program = compile_program(quantize(spec), read_profile("speck2f"))
    channel, y, x = (rng.integers(0, size, n) for size in shape)
    events = Events.from_columns(np.arange(n), channel, y, x, shape)
    traces, seconds = [], []
    for device in (VirtualDevice(), OracleDevice()):
        begin = time.perf_counter()
        with device:
            device.load(program)
            traces.append(device.run_batch([events]))
        seconds.append(time.perf_counter() - begin)
    core, oracle = traces
    same = np.array_equal(core.output_counts, oracle.output_counts) and all(
        np.array_equal(core.counters[layer], oracle.counters[layer]) for layer in core.counters
    )
    verdict = "agree" if same else "DISAGREE: please report it, with this output"
    return {"passed": bool(same), "message": f"core and oracle {verdict} on {core.total('synops'):,} synaptic updates"}


def _print(found: dict[str, Any]) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    print(wrapped(versions))
    print(f"{found['host']['cpu']}, {found['host']['cores']} cores\n")
    core, test = found["core"], found["self_test"]
    print_mark(core["built"], "compiled core", f"{core['isa']} instructions" if core["built"] else core["message"])
    print_mark(test["passed"], "self-test", test["message"])
    print(f"\ndata under {found['data']['root']}")
    for name, entry in found["data"]["sets"].items():
        sizes = ", ".join(f"{n:,} {split}" for split, n in entry["samples"].items())
        print_mark(entry["found"], name, sizes or entry["message"], fault=False)
    print("\nall that is needed works" if found["ok"] else "\nsomething fails: see above")
