"""`chiploop measure`: a saved network on any device, over a data set."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiploop.cli.console import print_json
from chiploop.cli.options import DataOption, JsonOption, QuietOption
from chiploop.errors import DataError, DeviceError, nearest

if TYPE_CHECKING:
    from chiploop.chip.program import Program
    from chiploop.learn.batch import Samples
    from chiploop.learn.outputs import Answers, Progress
    from chiploop.measure.metric import Metric, Where
    from chiploop.quantize.scheme import QuantSpec
    from chiploop.spec.graph import NetworkSpec

CALIBRATION_SAMPLES = 64
"""Recordings that the accelerator's fraction bits are chosen on: the first ones measured."""
WINDOWS = 10
EXAMPLES = (
    "Examples:\n\n  chiploop measure bptt.network.safetensors --data ~/data --split train --n 300\n\n"
    "  chiploop measure bptt.network.safetensors --dataset mnist5k --device software\n\n"
    "  chiploop measure cnn.network.safetensors --dataset mnist5k --device accelerator --json\n\n"
    "  chiploop measure bptt.network.safetensors --dataset mnist5k --n 50 --device timed\n\n"
    "A row's networks lie in the folder of its run, seed by seed."
)


SOFTWARE = ("software", "int-sync")
"""Places that are no device: the network itself, in real numbers or in integers."""


class Model(str, Enum):
    """The two synchronous models."""

    windows = "windows"
    frame = "frame"


def command(
    network: Annotated[Path, typer.Argument(metavar="NETWORK.safetensors", help="A network that a run wrote.")],
    data: DataOption = None,
    dataset: Annotated[str, typer.Option("--dataset", help="A data set (chiploop ls datasets).")] = "nmnist",
    split: Annotated[str, typer.Option("--split", help="A split of the data set.")] = "test",
    n: Annotated[int | None, typer.Option("--n", min=1, help="Recordings, stratified by class. Default: all.")] = None,
    device: Annotated[
        str, typer.Option("--device", help="A device, remote:host:port, software, or int-sync (software in integers).")
    ] = "virtual",
    model: Annotated[Model, typer.Option("--model", help="software, int-sync: spiking, or analogue.")] = Model.windows,
    chip: Annotated[str, typer.Option("--chip", help="Chip profile, by name or TOML file.")] = "speck2f",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure the accuracy, activity and speed of a saved network on any device."""
    from chiploop.cli.progress import View
    from chiploop.spec.io import read_network

    _require_place(device)
    spec = read_network(network)
    with View(quiet=quiet) as view:
        view.stage("starting")
        samples = _samples(spec, dataset, split, n, data)
        task = Task(spec, samples, device, model.value, chip, network.name.removesuffix(".network.safetensors"))
        view.samples(task.name, len(samples))
        begin = time.perf_counter()
        answers = task.answers(view.done)
        seconds = time.perf_counter() - begin
    metrics = task.metrics(answers)
    if as_json:
        print_json(_result(task, metrics, seconds))
    else:
        _print(task, metrics, seconds)


@dataclass(frozen=True, eq=False)
class Task:
    """A network, recordings, and the device that is to answer."""

    spec: NetworkSpec
    samples: Samples
    device: str
    model: str
    chip: str
    name: str

    @property
    def where(self) -> Where:
        """The place, as records call it."""
        places: dict[str, Where] = {"accelerator": "accelerator", "software": "software", "int-sync": "int-sync"}
        return places.get(self.device, "chip")

    def answers(self, progress: Progress) -> Answers:
        """Run all samples."""
        from chiploop.chip.accelerator import Accelerator
        from chiploop.chip.open import open_named
        from chiploop.chip.profile import read_profile
        from chiploop.learn.outputs import device_answers, software_answers
        from chiploop.network.network import Network
        from chiploop.quantize.apply import dequantize, quantize

        if self.device in SOFTWARE:
            spec = self.spec if self.device == "software" else dequantize(quantize(self.spec))
            return software_answers(Network(spec), self.samples, self.model, progress=progress)  # type: ignore[arg-type]
        program = self._program(quantize(self.spec))
        if self.device == "accelerator":
            with Accelerator(activation_bits=16, on_overflow="saturate") as accelerator:
                accelerator.load(program)
                first = range(min(CALIBRATION_SAMPLES, len(self.samples)))
                accelerator.calibrate([self.samples.events(i) for i in first])
                return device_answers(accelerator, self.samples, progress=progress)
        with open_named(self.device, profile=read_profile(self.chip)) as device:
            device.load(program)
            return device_answers(device, self.samples, progress=progress)

    def metrics(self, answers: Answers) -> list[Metric]:
        """Return accuracy with ties and silences and, where a device counted it, activity."""
        from chiploop.chip.device import BatchTrace
        from chiploop.measure.accuracy import accuracy_metrics, decide
        from chiploop.measure.synops import count_activity

        decisions = decide(answers.counts)
        metrics: list[Metric] = list(accuracy_metrics(decisions, answers.labels, method=self.name, where=self.where))
        if self.where == "chip":
            assert answers.potentials is not None  # every device reports them
            counts, potentials = answers.counts.astype("int64"), answers.potentials.astype("int16")
            trace = BatchTrace(output_counts=counts, output_potentials=potentials, counters=answers.counters)
            metrics.extend(count_activity(trace, method=self.name))
        return metrics

    def _program(self, quant: QuantSpec) -> Program:
        from chiploop.chip.compile import compile as compile_program
        from chiploop.chip.profile import read_profile

        return compile_program(quant, read_profile(self.chip))


def _require_place(device: str) -> None:
    """Raise DeviceError now, before torch is imported, for a place that there is none of."""
    from chiploop.chip.device import DEVICES
    from chiploop.chip.open import split_name

    if device.partition(":")[0] in DEVICES.names():
        split_name(device)
    elif device not in SOFTWARE:
        raise DeviceError(f"no device {device!r}: {nearest(device, [*DEVICES.names(), *SOFTWARE])}")


def _samples(spec: NetworkSpec, name: str, split: str, n: int | None, root: Path | None) -> Samples:
    import numpy as np

    from chiploop.datasets.split import split_indices
    from chiploop.learn.batch import Samples
    from chiploop.recipes.prepare import open_dataset

    dataset = open_dataset(name, split, root)
    if tuple(dataset.shape) != spec.input_shape:
        raise DeviceError(
            f"the network hears {'x'.join(map(str, spec.input_shape))}, the recordings of {name!r} are "
            f"{'x'.join(map(str, dataset.shape))} (channels x height x width); measure it on what it was trained on"
        )
    if n is not None and n > len(dataset):
        raise DataError(f"--n {n}: {name!r} has {len(dataset)} recordings in split {split!r}")
    indices = np.arange(len(dataset)) if n is None else split_indices(dataset.labels, [n], seed=0)[0]
    windows = WINDOWS if spec.dt_us is None else max(1, round(dataset.duration_us / spec.dt_us))
    return Samples.of(dataset, indices, windows)


def _result(task: Task, metrics: list[Metric], seconds: float) -> dict[str, Any]:
    return {
        "network": task.spec.digest,
        "dataset": task.samples.dataset.name,
        "n": len(task.samples),
        "device": task.device,
        "chip": task.chip if task.where == "chip" else None,
        "metrics": [metric.to_dict() for metric in metrics],
        "seconds": seconds,
        "samples_per_second": len(task.samples) / seconds,
    }


def _print(task: Task, metrics: list[Metric], seconds: float) -> None:
    from chiploop.report.number import count, percent

    found = {metric.name: metric for metric in metrics if metric.layer is None}
    share, n = found["accuracy"], len(task.samples)
    assert share.low is not None  # Wilson's interval always exists
    assert share.high is not None
    print(f"{task.name} on {task.device}, {n} recordings of {task.samples.dataset.name}")
    print(f"  accuracy           {percent(share.value)} %  [{percent(share.low)}, {percent(share.high)}], 95 % Wilson")
    print(f"  ties, silent       {count(found['n_ties'].value)}, {count(found['n_silent'].value)} (counted as wrong)")
    if "synops_per_sample" in found:
        synops = found["synops_per_sample"].value
        rate = count(synops * n / seconds / 1e6)
        print(f"  synaptic updates   {count(synops)} a sample, {rate} million a second here")
        print(f"  spikes             {count(found['spikes_per_sample'].value)} a sample")
    print(f"  speed              {count(n / seconds)} samples a second here")
    sys.stdout.flush()
