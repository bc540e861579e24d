"""From a network of real numbers to integers, and back to the real numbers the integers stand for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import QuantizeError, nearest
from chiploop.quantize.scale import SCALE_BITS, choose_scale, quantize_array, quantize_threshold, snap_scale
from chiploop.quantize.scheme import IntScheme, QuantLayer, QuantSpec
from chiploop.spec.graph import LayerSpec, NetworkSpec

DECIBEL = 10.0
ROUNDING = 1e-6
"""Relative error that float32 leaves in a product of an integer and a scale."""
BIAS_MAX = 127
"""Largest magnitude of an integer bias: eight bits, as a weight."""


def quantize(
    spec: NetworkSpec, scheme: IntScheme | None = None, *, scales: Mapping[str, float] | None = None
) -> QuantSpec:
    """Return the network in integers: weights, threshold and floor of a layer share one scale.

        q = clip(round(w / s), -q_max, q_max)    theta = round(v_th / g s)    floor = round(v_min / g s), or none
        b = round(bias / g s)

    g is the gain of a leaky neuron over one step of the network's clock (1 - exp(-dt / tau); 1 without leak): between
    events the chip keeps V / g, to which a weight adds itself. `scales` fixes the scale of the layers it names (each
    rounded to the few bits a scale has); the others are chosen by the scheme. Raises QuantizeError, with the layer's
    name, for a layer that dies (all weights zero), whose bias does not fit, that has weights but no neuron, or that
    leaks in a network without a clock.
    """
    scheme = scheme or IntScheme()
    scales = scales or {}
    names = [layer.name for layer in spec.spiking]
    for name, scale in scales.items():
        if name not in names:
            raise QuantizeError(f"scales[{name!r}]: no such spiking layer; {nearest(name, names)}")
        if not (math.isfinite(scale) and scale > 0):
            raise QuantizeError(f"scales[{name!r}] = {scale} must be positive and finite")
    _require_quantizable(spec)
    layers = tuple(
        _quantize_layer(layer, scheme, scales.get(layer.name), state_gain(layer, spec.dt_us)) for layer in spec.spiking
    )
    return QuantSpec(base=spec, layers=layers, scheme=scheme)


def state_gain(layer: LayerSpec, dt_us: int | None) -> float:
    """Return what turns a layer's state on the chip into its potential: V = state scale gain."""
    assert layer.neuron is not None
    if layer.neuron.tau_us is None:
        return 1.0
    if dt_us is None:
        raise QuantizeError(f"layer {layer.name!r} leaks, but the network knows no clock: give its spec a dt_us")
    if not math.isfinite(layer.neuron.tau_us):
        raise QuantizeError(f"layer {layer.name!r}: a leak of tau_us = inf takes no input in; use neuron kind 'if'")
    return layer.neuron.gain(dt_us)


def dequantize(quant: QuantSpec) -> NetworkSpec:
    """Return the network of the real numbers that the integers stand for: q s, theta g s, floor g s, b g s.

    It behaves as the integers do (a scale has so few bits that each product is an exact float32), and quantising it
    again by the same scheme gives the same integers and scales.
    """
    layers = []
    for layer in quant.base.layers:
        if layer.neuron is None:
            layers.append(layer)
            continue
        q = quant.layer(layer.name)
        unit = q.scale * state_gain(layer, quant.base.dt_us)
        v_min = None if q.floor is None else q.floor * unit
        neuron = dataclasses.replace(layer.neuron, v_th=q.threshold * unit, v_min=v_min)
        weight = q.weight.astype(np.float32) * np.float32(q.scale)
        bias = None if q.bias is None else q.bias.astype(np.float32) * np.float32(unit)
        layers.append(dataclasses.replace(layer, weight=weight, neuron=neuron, bias=bias))
    return dataclasses.replace(quant.base, layers=tuple(layers))


def _require_quantizable(spec: NetworkSpec) -> None:
    for layer in spec.layers:
        if layer.weight is not None and layer.neuron is None:
            raise QuantizeError(
                f"layer {layer.name!r} has weights but no neuron, so no threshold to share a scale with; "
                "give it a neuron"
            )


def _quantize_layer(layer: LayerSpec, scheme: IntScheme, fixed: float | None, gain: float) -> QuantLayer:
    assert layer.weight is not None
    assert layer.neuron is not None  # the caller walks spiking layers only
    weight, v_th = layer.weight, layer.neuron.v_th / gain
    if not np.any(weight):
        raise QuantizeError(f"layer {layer.name!r}: every weight is zero; the layer is dead before quantising")
    bias = None if layer.bias is None else layer.bias / np.float32(gain)
    scale = layer_scale(layer, scheme, gain) if fixed is None else snap_scale(fixed)
    ratio = v_th / scale
    if fixed is not None and not 0.5 < ratio < scheme.v_max + 0.5:
        raise QuantizeError(
            f"layer {layer.name!r}: scale {scale:g} makes the threshold {ratio:g}, outside 1..{scheme.v_max}; "
            f"choose a scale in {v_th / scheme.v_max:g}..{v_th:g}"
        )
    q = quantize_array(weight, scale, scheme.q_max)
    if not np.any(q):
        largest = float(np.abs(weight).max())
        raise QuantizeError(
            f"layer {layer.name!r}: every weight became zero: the largest, {largest:g}, is under half "
            f"the scale {scale:g} that the threshold {v_th:g} needs; raise the weights or lower the threshold"
        )
    q_bias = None if bias is None else _quantize_bias(layer.name, bias, scale)
    theta = quantize_threshold(v_th, scale, scheme.v_max)
    v_min = None if layer.neuron.v_min is None else layer.neuron.v_min / gain
    losses = _losses(weight, q, scale, scheme.q_max)
    return QuantLayer(
        name=layer.name,
        weight=q.astype(np.int8),
        threshold=theta,
        floor=None if v_min is None else max(round(v_min / scale), scheme.v_lowest),
        scale=scale,
        threshold_error=abs(theta * scale - v_th) / v_th,
        clipped=losses.clipped,
        zeroed=losses.zeroed,
        rms_error=losses.rms_error,
        snr_db=losses.snr_db,
        bias=q_bias,
        bias_zeroed=0.0 if q_bias is None else _share_lost(bias, q_bias),
    )


def layer_scale(layer: LayerSpec, scheme: IntScheme, gain: float) -> float:
    """Return the scale that the scheme chooses for a layer: for its weights, but never one its bias does not fit."""
    assert layer.weight is not None
    assert layer.neuron is not None
    scale = choose_scale(layer.weight, layer.neuron.v_th / gain, scheme)
    if layer.bias is None:
        return scale
    needed = float(np.abs(layer.bias).max()) / gain / BIAS_MAX
    if needed <= scale:
        return scale
    snapped = snap_scale(needed)
    if snapped * (1.0 + ROUNDING) >= needed:  # so that a bias on the grid, which is 127 steps long, keeps its grid
        return snapped
    return snap_scale(needed * (1.0 + 2.0**-SCALE_BITS))


def _share_lost(before: NDArray[np.float32] | None, after: NDArray[np.int16]) -> float:
    """Return the share of the entries that were not zero before and are now."""
    assert before is not None  # integers come from somewhere
    return (np.count_nonzero(before) - np.count_nonzero(after)) / after.size


def _quantize_bias(name: str, bias: NDArray[np.float32], scale: float) -> NDArray[np.int16]:
    q = quantize_array(bias, scale, np.iinfo(np.int16).max)
    if np.abs(q).max() > BIAS_MAX:
        largest = float(np.abs(bias).max())
        raise QuantizeError(
            f"layer {name!r}: the bias {largest:g} is {int(np.abs(q).max())} steps of the scale {scale:g}, at most "
            f"{BIAS_MAX} fit; choose a scale of at least {largest / BIAS_MAX:g}"
        )
    return q.astype(np.int16)


class _Losses(NamedTuple):
    clipped: float
    zeroed: float
    rms_error: float
    snr_db: float


def _losses(weight: NDArray[np.float32], q: NDArray[np.float32], scale: float, q_max: int) -> _Losses:
    """Return what rounding lost; `clipped` counts weights more than half a step past the largest integer."""
    size = weight.size
    error = q * np.float32(scale)
    error -= weight
    flat, lost = weight.reshape(-1), error.reshape(-1)
    noise, signal = float(np.dot(lost, lost)), float(np.dot(flat, flat))
    limit = (q_max + 0.5) * scale
    return _Losses(
        clipped=float(np.count_nonzero(np.abs(weight) > limit)) / size,
        zeroed=(np.count_nonzero(weight) - np.count_nonzero(q)) / size,
        rms_error=math.sqrt(noise / size),
        snr_db=DECIBEL * math.log10(signal / noise) if noise > 0.0 else math.inf,
    )
