"""The network in torch: the parameters of a NetworkSpec, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chiploop.errors import SpecError
from chiploop.network.fake_quantize import fake_quantize
from chiploop.network.surrogate import Exponential, Surrogate
from chiploop.quantize.apply import BIAS_MAX, state_gain
from chiploop.quantize.scale import quantize_threshold
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec


@dataclass(frozen=True, slots=True)
class Grid:
    """Integer grid of one layer: values are multiples of `scale`, weights at most `q_max` of them, states `v_max`.

    As on the chip, those of a leaky neuron are its potentials over its gain (1 - exp(-dt / tau)).
    """

    scale: float
    q_max: int
    v_max: int = 32767


class Network(nn.Module):
    """The weights and clocked biases of a NetworkSpec as torch parameters; the spec keeps all else.

    `grids` (by layer name), when set, puts weights, biases, thresholds and floors on integer grids in the forward pass,
    the gradient going straight through to the float parameters: quantisation-aware training.
    """

    def __init__(self, spec: NetworkSpec, *, surrogate: Surrogate | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.surrogate: Surrogate = surrogate if surrogate is not None else Exponential()
        self.grids: Mapping[str, Grid] = {}
        self.weights = nn.ParameterDict(
            {layer.name: _parameter(layer.weight) for layer in spec.layers if layer.weight is not None}
        )
        self.biases = nn.ParameterDict(
            {layer.name: _parameter(layer.bias) for layer in spec.layers if layer.bias is not None}
        )

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Return the parameters that training changes: weights by layer name, biases as "<layer>.bias"."""
        found = {**self.weights, **{f"{name}.bias": bias for name, bias in self.biases.items()}}
        return {name: parameter for name, parameter in found.items() if parameter.requires_grad}

    def weight(self, name: str) -> Tensor:
        """Return a layer's weight as the forward pass uses it: on its grid where it has one."""
        weight: Tensor = self.weights[name]
        grid = self.grids.get(name)
        return weight if grid is None else fake_quantize(weight, grid.scale, grid.q_max)

    def bias(self, layer: LayerSpec) -> Tensor | None:
        """Return what a tick adds to a layer's current, [F]: bias / gain (then V itself gets the bias), on its grid."""
        if layer.name not in self.biases:
            return None
        bias: Tensor = self.biases[layer.name]
        gain = self.gain(layer)
        if gain != 1.0:
            bias = bias / torch.tensor(gain, dtype=bias.dtype, device=bias.device)
        grid = self.grids.get(layer.name)
        return bias if grid is None else fake_quantize(bias, grid.scale, BIAS_MAX)

    def gain(self, layer: LayerSpec) -> float:
        """Return the factor on a layer's current: 1 - exp(-dt / tau), 1 without leak."""
        return state_gain(layer, self.spec.dt_us)

    def neuron(self, layer: LayerSpec) -> NeuronSpec:
        """Return a layer's neuron as the forward pass uses it: threshold and floor on the layer's grid."""
        assert layer.neuron is not None
        grid = self.grids.get(layer.name)
        if grid is None:
            return layer.neuron
        gain = self.gain(layer)
        unit = grid.scale * gain
        theta = quantize_threshold(layer.neuron.v_th / gain, grid.scale, grid.v_max)
        floor = None
        if layer.neuron.v_min is not None:
            floor = max(round(layer.neuron.v_min / gain / grid.scale), -grid.v_max - 1) * unit
        return replace(layer.neuron, v_th=theta * unit, v_min=floor)

    def layer(self, layer: LayerSpec) -> LayerSpec:
        """Return a layer of the spec with the float weight and bias of this moment."""
        weight, bias = layer.weight, layer.bias
        if weight is not None:
            weight = self.weights[layer.name].detach().cpu().numpy()
        if bias is not None:
            bias = self.biases[layer.name].detach().cpu().numpy()
        return layer if weight is None else replace(layer, weight=weight, bias=bias)

    def to_spec(self) -> NetworkSpec:
        """Return the network as data, with the float weights and biases of this moment."""
        return replace(self.spec, layers=tuple(self.layer(layer) for layer in self.spec.layers))

    def load_weights(self, spec: NetworkSpec) -> None:
        """Take weights and biases of another spec of the same shape; raises SpecError where one does not fit."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                source = spec.layer(name)
                _copy(name, "weights", weight, source.weight)
                _copy(name, "biases", self.biases.get(name), source.bias)


def _parameter(array: NDArray[np.float32]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(array.copy()))


def _copy(name: str, what: str, parameter: Tensor | None, source: NDArray[np.float32] | None) -> None:
    has = None if parameter is None else tuple(parameter.shape)
    given = None if source is None else source.shape
    if given != has:
        raise SpecError(f"layer {name!r}: {what} of shape {given} do not fit {has}")
    if parameter is not None and source is not None:
        parameter.copy_(torch.from_numpy(source.copy()))
