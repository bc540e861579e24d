"""From a network of real numbers to integers, and back to the real numbers the integers stand for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import QuantizeError, nearest
from chiploop.quantize.scale import choose_scale, quantize_array, quantize_threshold, snap_scale
from chiploop.quantize.scheme import IntScheme, QuantLayer, QuantSpec
from chiploop.spec.graph import LayerSpec, NetworkSpec

DECIBEL = 10.0


def quantize(
    spec: NetworkSpec, scheme: IntScheme | None = None, *, scales: Mapping[str, float] | None = None
) -> QuantSpec:
    """Return the network in integers: weights, threshold and floor of a layer share one scale.

        q = clip(round(w / s), -q_max, q_max)    theta = round(v_th / s)    floor = round(v_min / s), or none

    `scales` fixes the scale of the layers it names (each rounded to the few bits a scale has); the others are chosen
    by the scheme. Raises QuantizeError, with the layer's name, for a layer that dies (all weights zero), that has a
    bias, or that has weights but no neuron.
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
    layers = tuple(_quantize_layer(layer, scheme, scales.get(layer.name)) for layer in spec.spiking)
    return QuantSpec(base=spec, layers=layers, scheme=scheme)


def dequantize(quant: QuantSpec) -> NetworkSpec:
    """Return the network of the real numbers that the integers stand for: q s, theta s, floor s.

    It behaves as the integers do (a scale has so few bits that each product is an exact float32), and quantising it
    again by the same scheme gives the same integers and scales.
    """
    layers = []
    for layer in quant.base.layers:
        if layer.neuron is None:
            layers.append(layer)
            continue
        q = quant.layer(layer.name)
        v_min = None if q.floor is None else q.floor * q.scale
        neuron = dataclasses.replace(layer.neuron, v_th=q.threshold * q.scale, v_min=v_min)
        weight = q.weight.astype(np.float32) * np.float32(q.scale)
        layers.append(dataclasses.replace(layer, weight=weight, neuron=neuron))
    return dataclasses.replace(quant.base, layers=tuple(layers))


def _require_quantizable(spec: NetworkSpec) -> None:
    for layer in spec.layers:
        if layer.weight is not None and layer.neuron is None:
            raise QuantizeError(
                f"layer {layer.name!r} has weights but no neuron, so no threshold to share a scale with; "
                "give it a neuron"
            )
        if layer.bias is not None:
            raise QuantizeError(
                f"layer {layer.name!r} has a bias; programs carry none (the chip's bias is clocked): "
                "train without biases"
            )


def _quantize_layer(layer: LayerSpec, scheme: IntScheme, fixed: float | None) -> QuantLayer:
    assert layer.weight is not None
    assert layer.neuron is not None  # the caller walks spiking layers only
    weight, v_th = layer.weight, layer.neuron.v_th
    if not np.any(weight):
        raise QuantizeError(f"layer {layer.name!r}: every weight is zero; the layer is dead before quantising")
    scale = choose_scale(weight, v_th, scheme) if fixed is None else snap_scale(fixed)
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
    theta = quantize_threshold(v_th, scale, scheme.v_max)
    v_min = layer.neuron.v_min
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
    )


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
