"""The network in torch: the parameters of a NetworkSpec, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from chiploop.errors import SpecError
from chiploop.network.fake_quantize import fake_quantize
from chiploop.network.surrogate import Exponential, Surrogate
from chiploop.quantize.scale import quantize_threshold
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec


@dataclass(frozen=True, slots=True)
class Grid:
    """Integer grid of one layer: values are multiples of `scale`, weights at most `q_max` of them, states `v_max`."""

    scale: float
    q_max: int
    v_max: int = 32767


class Network(nn.Module):
    """The weights of a NetworkSpec as torch parameters; the spec keeps all else.

    `grids` (by layer name), when set, puts weights, thresholds and floors on integer grids in the forward pass, the
    gradient going straight through to the float weights: quantisation-aware training.
    """

    def __init__(self, spec: NetworkSpec, *, surrogate: Surrogate | None = None) -> None:
        super().__init__()
        for layer in spec.layers:
            if layer.bias is not None:
                raise SpecError(f"layer {layer.name!r} has a bias; networks here learn without, as the chip has none")
        self.spec = spec
        self.surrogate: Surrogate = surrogate if surrogate is not None else Exponential()
        self.grids: Mapping[str, Grid] = {}
        self.weights = nn.ParameterDict(
            {
                layer.name: nn.Parameter(torch.from_numpy(layer.weight.copy()))
                for layer in spec.layers
                if layer.weight is not None
            }
        )

    def weight(self, name: str) -> Tensor:
        """Return a layer's weight as the forward pass uses it: on its grid where it has one."""
        weight: Tensor = self.weights[name]
        grid = self.grids.get(name)
        return weight if grid is None else fake_quantize(weight, grid.scale, grid.q_max)

    def neuron(self, layer: LayerSpec) -> NeuronSpec:
        """Return a layer's neuron as the forward pass uses it: threshold and floor on the layer's grid."""
        assert layer.neuron is not None
        grid = self.grids.get(layer.name)
        if grid is None:
            return layer.neuron
        theta = quantize_threshold(layer.neuron.v_th, grid.scale, grid.v_max)
        floor = None
        if layer.neuron.v_min is not None:
            floor = max(round(layer.neuron.v_min / grid.scale), -grid.v_max - 1) * grid.scale
        return replace(layer.neuron, v_th=theta * grid.scale, v_min=floor)

    def to_spec(self) -> NetworkSpec:
        """Return the network as data, with the float weights of this moment."""
        layers = tuple(
            layer if layer.weight is None else replace(layer, weight=self.weights[layer.name].detach().cpu().numpy())
            for layer in self.spec.layers
        )
        return replace(self.spec, layers=layers)

    def load_weights(self, spec: NetworkSpec) -> None:
        """Take the weights of another spec of the same shape; raises SpecError where one does not fit."""
        with torch.no_grad():
            for name, parameter in self.weights.items():
                source = spec.layer(name).weight
                if source is None or source.shape != tuple(parameter.shape):
                    was = None if source is None else source.shape
                    raise SpecError(f"layer {name!r}: weights of shape {was} do not fit {tuple(parameter.shape)}")
                parameter.copy_(torch.from_numpy(source.copy()))
