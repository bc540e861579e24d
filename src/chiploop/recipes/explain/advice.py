"""What to try, drawn from what each cause costs and from the network's own integers."""

from __future__ import annotations

from collections.abc import Callable

from chiploop.measure.causes import CauseStep, Explanation
from chiploop.quantize.scheme import QuantLayer, QuantSpec
from chiploop.report.number import percent

WORTH_A_WORD = 0.005
"""Least loss in accuracy that advice is given for."""


def advise(explanation: Explanation, quant: QuantSpec) -> list[str]:
    """Return a sentence or two for each cause that clearly loses, the worst first; one sentence where none does."""
    losing = [step for step in explanation.steps if step.is_clear and step.difference <= -WORTH_A_WORD]
    if not losing:
        return [_nothing_clear(explanation)]
    ordered = sorted(losing, key=lambda step: step.difference)
    return [f"{_cost(step)} {_ADVICE[step.cause](step, quant)}" for step in ordered]


def _cost(step: CauseStep) -> str:
    where = "" if step.layer is None else f", first of all in {step.layer}"
    classes = [c for c, net in sorted(step.classes.items(), key=lambda item: item[1]) if net < 0][:3]
    mostly = f"; classes {', '.join(map(str, classes))} lose most" if classes else ""
    return f"{step.title}: {percent(step.difference, signed=True)} points{where}{mostly}."


def _nothing_clear(explanation: Explanation) -> str:
    gain = max(explanation.steps, key=lambda step: step.difference)
    if gain.is_clear and gain.difference >= WORTH_A_WORD:
        return (
            f"{gain.title}: {percent(gain.difference, signed=True)} points. No cause clearly loses: this network was "
            "made for the chip, and what it scores in software says little."
        )
    return f"No cause clearly loses on these {explanation.n} samples; more samples would narrow the intervals."


def _on_rates(step: CauseStep, quant: QuantSpec) -> str:
    del step, quant
    return (
        "The analogue network's decisions do not survive as spikes on this clock: train the spiking network "
        "(method 'bptt'), or go into the loop from here (method 'cil-ann')."
    )


def _on_weights(step: CauseStep, quant: QuantSpec) -> str:
    del step
    worst = min(quant.layers, key=lambda layer: layer.snr_db)
    clipped = f", {worst.clipped:.1%} of its weights clipped" if worst.clipped else ""
    return (
        f"The least precise layer is {worst.name} ({worst.snr_db:.0f} dB{clipped}): train on the integer grid "
        "(quantized = true), or try another quantize.search; an outlying weight coarsens its whole layer."
    )


def _on_thresholds(step: CauseStep, quant: QuantSpec) -> str:
    del step
    worst = max(quant.layers, key=lambda layer: layer.threshold_error)
    smallest = min(quant.layers, key=lambda layer: layer.threshold)
    gone = [f"{layer.bias_zeroed:.0%} of {layer.name}'s" for layer in quant.layers if layer.bias_zeroed]
    bias = f" Biases round to nothing: {', '.join(gone)}." if gone else ""
    return (
        f"The threshold of {worst.name} moved by {worst.threshold_error:.1%}, that of {smallest.name} is "
        f"{smallest.threshold} steps: smaller weights beside the threshold give finer steps, and quantized = true "
        f"trains with the thresholds as they are.{bias}"
    )


def _on_order(step: CauseStep, quant: QuantSpec) -> str:
    del quant
    ratios = [ratio for ratio in step.ratio.values() if ratio is not None]
    counts = f" The last layer fires {ratios[-1]:.2f} times as often as in the model." if ratios else ""
    return (
        "The clock sums inputs that the chip meets one by one."
        + counts
        + " Go into the loop from this network (method "
        "'cil-bptt', one epoch recovers most of it), cut time into more windows (encode.n_windows), or bring the "
        "counts to the model's (method 'correct')."
    )


def _on_one_spike(step: CauseStep, quant: QuantSpec) -> str:
    del step
    steepest = max(quant.layers, key=_weight_over_threshold)
    return (
        f"In {steepest.name} one weight reaches {_weight_over_threshold(steepest):.1f} thresholds, and an update gives "
        "one spike: raise the threshold against the weights (network.activity, balancing), or train in the loop."
    )


def _weight_over_threshold(layer: QuantLayer) -> float:
    return float(layer.weight.max()) / layer.threshold


def _on_saturation(step: CauseStep, quant: QuantSpec) -> str:
    del step
    highest = max(quant.layers, key=lambda layer: layer.threshold)
    floorless = [layer.name for layer in quant.layers if layer.floor is None]
    floor = f" Without a floor (network.v_min) {', '.join(floorless)} can sink without end." if floorless else ""
    return (
        f"States run into the ends of 16 bits; the highest threshold is {highest.threshold} ({highest.name}): a larger "
        f"scale gives smaller integers.{floor}"
    )


def _on_leak(step: CauseStep, quant: QuantSpec) -> str:
    del step
    dt_us, clock_us = quant.base.dt_us, quant.base.clock_us
    clock = (
        "" if clock_us is None or dt_us is None else f" A window holds {dt_us / clock_us:.0f} edges of the slow clock."
    )
    return (
        "The model lets a whole window leak at once, the chip at its own times."
        + clock
        + " Cut time into more windows (encode.n_windows), or train in the loop."
    )


def _on_drops(step: CauseStep, quant: QuantSpec) -> str:
    del quant
    ratio = next((r for r in step.ratio.values() if r is not None), None)
    heard = "" if ratio is None else f" The first layer fires {ratio:.2f} times as often as without."
    return (
        "Events do not arrive, or not in time."
        + heard
        + " Look at each core's load in the report; fewer channels in the "
        "first layers, larger strides or an activity penalty (learn.activity) relieve it, and training through "
        "the loss (faults = true) gets used to it."
    )


def _on_mismatch(step: CauseStep, quant: QuantSpec) -> str:
    del step, quant
    return (
        "Train through this chip (faults = true in a row that is in the loop): its defects are the same at every load."
    )


_ADVICE: dict[str, Callable[[CauseStep, QuantSpec], str]] = {
    "rate-coding": _on_rates,
    "weights": _on_weights,
    "thresholds": _on_thresholds,
    "event-order": _on_order,
    "one-spike": _on_one_spike,
    "saturation": _on_saturation,
    "leak": _on_leak,
    "dropped-events": _on_drops,
    "mismatch": _on_mismatch,
}
