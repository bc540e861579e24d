"""The network's present weights as a chip's program, step after step: rounded and laid out anew, nothing else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from chiploop.chip.program import STATE_MIN, CoreConfig, Program
from chiploop.network.network import Network
from chiploop.quantize.apply import BIAS_MAX
from chiploop.quantize.scale import quantize_array, quantize_threshold, snap_scale
from chiploop.quantize.scheme import IntScheme
from chiploop.spec.graph import LayerSpec


def reload_program(
    program: Program, network: Network, scheme: IntScheme, scales: Mapping[str, float]
) -> Program | None:
    """Return a program compiled from this network, with the integers of its present weights.

        w = clip(round(weight / s), -q_max, q_max)    theta = round(v_th / g s)    b = round(bias / g s)

    What `with_weights(program, quantize(network.to_spec(), scheme, scales=scales))` gives, but for the hash of the
    integers, which is left empty: such a program is run once and never saved. Costs some hundred microseconds. None
    where rounding would lose a layer or leave its range: the long way says what is wrong.
    """
    cores = []
    for core in program.cores:
        filled = _refilled(core, network, network.spec.layer(core.layer), scheme, snap_scale(scales[core.layer]))
        if filled is None:
            return None
        cores.append(filled)
    return dataclasses.replace(program, cores=tuple(cores), quant_hash="")


def _refilled(
    core: CoreConfig, network: Network, layer: LayerSpec, scheme: IntScheme, scale: float
) -> CoreConfig | None:
    assert layer.neuron is not None  # cores carry spiking layers
    gain = network.gain(layer)
    v_th = layer.neuron.v_th / gain
    if not 0.5 < v_th / scale < scheme.v_max + 0.5:
        return None
    q = quantize_array(network.weights[layer.name].detach().cpu().numpy(), scale, scheme.q_max)
    if not q.any() or not math.isfinite(float(q.sum())):
        return None
    bias = None
    if layer.name in network.biases:
        b = network.biases[layer.name].detach().cpu().numpy() / np.float32(gain)
        bias = quantize_array(b, scale, np.iinfo(np.int16).max).astype(np.int16)
        if np.abs(bias).max() > BIAS_MAX:
            return None
    floor = STATE_MIN
    if layer.neuron.v_min is not None:
        floor = max(round(layer.neuron.v_min / gain / scale), scheme.v_lowest)
    channels, *kernel, features = core.weight.shape
    return dataclasses.replace(
        core,
        weight=np.ascontiguousarray(q.astype(np.int8).reshape(features, channels, *kernel).transpose(1, 2, 3, 0)),
        threshold=quantize_threshold(v_th, scale, scheme.v_max),
        floor=floor,
        bias=bias,
    )
