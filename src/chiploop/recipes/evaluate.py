"""The same test recordings at every stage: float software, integer software, accelerator, chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chiploop.chip.accelerator import Accelerator
from chiploop.chip.compile import compile as compile_program
from chiploop.chip.device import BatchTrace
from chiploop.chip.faults import CallFault
from chiploop.chip.profile import read_profile
from chiploop.chip.program import Program
from chiploop.learn.batch import Samples
from chiploop.learn.failure import Failure, FailureLog
from chiploop.learn.outputs import Answers, Progress, device_answers, software_answers
from chiploop.measure.accuracy import Decisions, accuracy_metrics, decide
from chiploop.measure.gap import gap_table
from chiploop.measure.metric import METRICS, Metric, Where
from chiploop.measure.synops import count_activity
from chiploop.network.network import Network
from chiploop.quantize.apply import dequantize, quantize
from chiploop.quantize.scheme import QuantSpec
from chiploop.recipes.prepare import Parts
from chiploop.recipes.recipe import Recipe
from chiploop.recipes.train import Trained, calibration_samples, faults_of, open_device, policy_of, scheme_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Deployed:
    """A trained row in integers and on the chip, what it answered at each place, and how the chip failed."""

    trained: Trained
    quant: QuantSpec
    program: Program
    answers: Mapping[Where, Answers]
    decisions: Mapping[Where, Decisions]
    failures: tuple[Failure, ...] = ()


def _ignore(_: int) -> None:
    return None


def deploy(recipe: Recipe, trained: Trained, parts: Parts, *, progress: Progress = _ignore) -> Deployed:
    """Quantise, compile and run a trained row on the test recordings, at every place.

    The accelerator computes the analogue network, so only rows trained as one are run there, and it has neither time
    nor branches: leaky and branching networks are left out of that column.
    """
    quant = quantize(trained.spec, scheme_of(recipe))
    program = compile_program(quant, read_profile(recipe.chip.profile), spikes_per_update=recipe.chip.spikes_per_update)
    test = parts.test
    model = trained.model
    whole = recipe.learn[trained.name].whole_counts
    networks: dict[Where, Network] = {"software": Network(trained.spec), "int-sync": Network(dequantize(quant))}
    answers: dict[Where, Answers] = {
        where: software_answers(network, test, model, whole_counts=whole, progress=progress)
        for where, network in networks.items()
    }
    if model == "frame" and runs_on_frames(program):
        answers["accelerator"] = _accelerator_answers(recipe, program, parts, progress)
    log = FailureLog(policy_of(recipe.chip))
    with open_device(recipe.chip, log) as device:
        device.load(program)
        answers["chip"] = device_answers(device, test, progress=progress)
    if recipe.faults is not None:
        answers["faulty"] = faulty_answers(recipe, program, test, progress=progress)
    decisions = {where: _decide(recipe, where, model, answer) for where, answer in answers.items()}
    return Deployed(
        trained=trained, quant=quant, program=program, answers=answers, decisions=decisions, failures=log.entries
    )


def runs_on_frames(program: Program) -> bool:
    """Whether the accelerator can carry a program: a chain without leaks and clocked biases."""
    return program.is_chain and all(core.bias is None and core.tau_us is None for core in program.cores)


def faulty_answers(
    recipe: Recipe, program: Program, samples: Samples, *, level: float = 1.0, progress: Progress = _ignore
) -> Answers:
    """Run the samples on the recipe's faulty chip, its faults at a multiple of their strength."""
    assert recipe.faults is not None  # the caller asks for it
    # A link that fails costs time and no accuracy: the faults of events, memory and neurons are what is tested.
    faults = tuple(fault for fault in faults_of(recipe, level) if not isinstance(fault, CallFault))
    with open_device(recipe.chip, faults=faults, fault_seed=recipe.faults.seed) as device:
        device.load(program)
        return device_answers(device, samples, progress=progress)


def metrics_of(deployed: Deployed, *, seed: int) -> tuple[Metric, ...]:
    """Return accuracies with ties and silences, the gap step by step, activity, and what training took."""
    name, labels = deployed.trained.name, deployed.answers["chip"].labels
    metrics: list[Metric] = []
    for where, decisions in deployed.decisions.items():
        metrics.extend(accuracy_metrics(decisions, labels, method=name, where=where, seed=seed))
    metrics.extend(gap_table(deployed.decisions, labels, method=name, seed=seed).metrics())
    chip = deployed.answers["chip"]
    trace = BatchTrace(
        output_counts=chip.counts.astype("int64"), output_potentials=chip.counts.astype("int16"), counters=chip.counters
    )
    metrics.extend(count_activity(trace, method=name, seed=seed))
    metrics.extend(_training_metrics(deployed.trained, seed))
    metrics.extend(_failure_metrics(deployed, seed))
    return tuple(metrics)


def _training_metrics(trained: Trained, seed: int) -> list[Metric]:
    values = {"train_seconds": trained.seconds}
    if trained.result is not None and trained.result.chip_share > 0:
        values["chip_share"] = trained.result.chip_share
    return [
        Metric(name=k, value=v, unit=METRICS.get(k).unit, how="measured", method=trained.name, seed=seed)
        for k, v in values.items()
    ]


def _failure_metrics(deployed: Deployed, seed: int) -> list[Metric]:
    """Return how often the device failed, for rows that were trained with it in the loop, and for others if it did."""
    trained = deployed.trained
    values = {"device_failures": len(trained.failures) + len(deployed.failures)}
    if trained.result is not None and trained.result.chip_share > 0:
        values["batches_skipped"] = trained.result.skipped
    elif not values["device_failures"]:
        return []
    return [
        Metric(name=k, value=v, unit=METRICS.get(k).unit, how="counted", method=trained.name, seed=seed)
        for k, v in values.items()
    ]


def _accelerator_answers(recipe: Recipe, program: Program, parts: Parts, progress: Progress) -> Answers:
    sample: Samples = calibration_samples(parts)
    with Accelerator(activation_bits=recipe.measure.accelerator_bits, on_overflow="saturate") as accelerator:
        accelerator.load(program)
        accelerator.calibrate([sample.events(i) for i in range(len(sample))])
        return device_answers(accelerator, parts.test, progress=progress)


def _decide(recipe: Recipe, where: Where, model: str, answers: Answers) -> Decisions:
    spikes = where in ("chip", "faulty") or (model == "windows" and where != "accelerator")
    broken = recipe.measure.ties == "potential" and spikes
    return decide(answers.counts, answers.potentials if broken else None)
