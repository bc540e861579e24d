"""Sequential models of sinabs to networks, by the names and attributes of their modules: sinabs is not imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from chiploop.errors import SpecError
from chiploop.network.sinabs_neuron import NEURONS, neuron_of
from chiploop.network.sinabs_neuron import refuse as _refuse
from chiploop.spec.assemble import RawLayer, assemble
from chiploop.spec.graph import INPUT, Edge, NetworkSpec
from chiploop.spec.ops import Conv, Flatten, Linear, Op, Shape, SumPool

CONTAINERS = ("Sequential", "Network")
PASSED_OVER = ("Dropout", "Dropout1d", "Dropout2d", "Identity")
"""Modules that do nothing in evaluation."""

_WHY_NOT = {
    "BatchNorm1d": "fold it into the weights first",
    "BatchNorm2d": "fold it into the weights first",
    "MaxPool2d": "no event-driven chip takes a maximum; use SumPool2d or AvgPool2d",
    "SpikingMaxPooling2dLayer": "no event-driven chip takes a maximum; use SumPool2d or AvgPool2d",
    "ReLU": "an activation of the analogue network; convert it first (sinabs.from_torch.from_model)",
    "NeuromorphicReLU": "an activation of the analogue network; convert it first (sinabs.from_torch.from_model)",
    "IAFRecurrent": "networks here have no recurrence",
    "LIFRecurrent": "networks here have no recurrence",
    "Merge": "only sequential models are read; build the branches as a NetworkSpec with several edges",
}


def from_sinabs(
    model: nn.Module, input_shape: Shape, *, dt_us: int | None = None, clock_us: int | None = None
) -> tuple[NetworkSpec, tuple[str, ...]]:
    """Return a sequential model of sinabs as a network, and a line for each thing that was changed or left out.

    `model`: a `nn.Sequential`, nested or not, or a `sinabs.network.Network`, of Conv2d, Linear, IAF, IAFSqueeze, LIF,
    LIFSqueeze, SumPool2d, AvgPool2d, Flatten and Dropout. `input_shape`: (channels, height, width) or (features,),
    without batch and time. `dt_us`: length of a time step, needed by LIF, whose tau_mem counts steps. `clock_us`:
    the period of the slow clock that adds biases; a bias that is not zero is refused without it.

    A layer is named by the path of its module, with _ for dots. In windows of dt_us the network's spikes are those of
    the model, whose state is taken as reset. Raises SpecError, with the module's path and class, for what cannot be
    carried over.

    >>> first, last = nn.Conv2d(2, 8, 3, bias=False), nn.Linear(288, 3, bias=False)
    >>> model = nn.Sequential(first, nn.Dropout(0.2), nn.Flatten(), last)
    >>> network, notes = from_sinabs(model, (2, 8, 8))
    >>> [layer.name for layer in network.layers], notes
    (['0', '2', '3'], ('1: Dropout does nothing in evaluation and was left out',))
    """
    reader = _Reader(dt_us=dt_us, clock_us=clock_us)
    for path, module in _leaves("", model):
        reader.add(path, module)
    if not reader.layers:
        raise SpecError(f"the model ({type(model).__name__}) holds no layers")
    names = (INPUT, *(layer.name for layer in reader.layers))
    edges = [Edge(a, b) for a, b in pairwise(names)]
    biased = any(layer.bias is not None for layer in reader.layers)
    network, folded = assemble(
        reader.layers, edges, input_shape=input_shape, dt_us=dt_us, clock_us=clock_us if biased else None
    )
    _check_axes(network, reader.modules, next(iter(reader.leading), 1))
    return network, (*reader.notes, *folded)


def _leaves(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield modules that are no containers, in their order, with their paths."""
    kind = type(module).__name__
    if kind == "Network" and hasattr(module, "spiking_model"):
        if module.spiking_model is None:
            raise _refuse(path or kind, module, "it has no spiking_model")
        yield from _leaves(path, module.spiking_model)  # type: ignore[arg-type]
    elif kind == "Sequential":
        for name, child in module.named_children():
            yield from _leaves(f"{path}.{name}" if path else name, child)
    else:
        yield path or kind, module


@dataclass
class _Reader:
    dt_us: int | None
    clock_us: int | None
    layers: list[RawLayer] = field(default_factory=list)
    modules: dict[str, Any] = field(default_factory=dict)  # by layer name
    notes: list[str] = field(default_factory=list)
    leading: dict[int, str] = field(default_factory=dict)  # number of axes before the features: who says so

    def add(self, path: str, module: nn.Module) -> None:
        kind = type(module).__name__
        if kind in NEURONS:
            self._neuron(path, module)
            return
        if kind in PASSED_OVER:
            self.notes.append(f"{path}: {kind} does nothing in evaluation and was left out")
            return
        read = _OPERATIONS.get(kind)
        if read is None:
            known = ", ".join((*_OPERATIONS, *NEURONS, *PASSED_OVER))
            raise _refuse(path, module, _WHY_NOT.get(kind, f"no such layer here; known: {known}"))
        op = read(path, module)
        averages = kind == "AvgPool2d" and module.divisor_override is None
        weight = bias = None
        if isinstance(op, (Conv, Linear)):
            weight, bias = _array(module.weight), self._bias(path, module)
        name = path.replace(".", "_")  # names of parameters cannot have dots
        self.layers.append(RawLayer(name=name, op=op, weight=weight, bias=bias, averages=averages))
        self.modules[name] = module

    def _bias(self, path: str, module: Any) -> NDArray[Any] | None:
        bias = None if module.bias is None else _array(module.bias)
        if bias is None or not np.any(bias):
            return None
        if self.clock_us is None:
            raise _refuse(
                path,
                module,
                f"its bias, up to {np.abs(bias).max():.4g}, is a current at every step; biases here are added by a "
                "slow clock: give its period as clock_us (dt_us, for the same sum), or train without biases",
            )
        self.notes.append(f"{path}: its bias, a current at every step, is added every {self.clock_us} us")
        return bias

    def _neuron(self, path: str, module: Any) -> None:
        before = self.layers[-1] if self.layers else None
        if before is None or before.weight is None or before.neuron is not None:
            what = f"{before.name!r}" if before is not None else "the input"
            raise _refuse(path, module, f"it follows {what}; a neuron here follows a Conv2d or a Linear at once")
        self.leading.setdefault(1 if type(module).__name__.endswith("Squeeze") else 2, path)
        if len(self.leading) > 1:
            raise _refuse(
                path, module, f"time is an axis of its own in {self.leading[2]!r} and not in {self.leading[1]!r}"
            )
        neuron = neuron_of(path, module, self.dt_us, self.notes)
        bias = before.bias
        if bias is not None and neuron.tau_us is not None:
            assert self.dt_us is not None  # a leak needed it
            bias = (bias * neuron.gain(self.dt_us)).astype(np.float32)
            self.notes.append(f"{before.name}: its bias was multiplied by 1 - exp(-dt / tau), as a step does")
        self.layers[-1] = replace(before, neuron=neuron, bias=bias)


def _check_axes(network: NetworkSpec, modules: dict[str, Any], lead: int) -> None:
    """Refuse a Flatten that joins other axes than channels, height and width, which stand after `lead` others."""
    for layer in network.layers:
        if isinstance(layer.op, Flatten):
            module = modules[layer.name]
            rank = len(layer.in_shape)
            if module.start_dim not in (lead, -rank) or module.end_dim not in (-1, lead + rank - 1):
                shown = f"it joins axes {module.start_dim} to {module.end_dim}"
                raise _refuse(layer.name, module, f"{shown}; a Flatten here joins all but the first {lead}")


def _convolution(path: str, module: Any) -> Op:
    if module.groups != 1 or _pair(module.dilation) != (1, 1):
        raise _refuse(path, module, f"groups {module.groups}, dilation {module.dilation}; convolutions here have 1")
    if getattr(module, "padding_mode", "zeros") != "zeros":
        raise _refuse(path, module, f"padding_mode {module.padding_mode!r}; maps here are padded with zeros")
    kernel, stride = _square(path, module, "kernel_size"), _square(path, module, "stride")
    if module.padding == "same" and (stride != 1 or kernel % 2 == 0):
        raise _refuse(
            path, module, f"padding 'same' with kernel {kernel} and stride {stride} is not the same on all sides"
        )
    named = {"same": kernel // 2, "valid": 0}
    padding = named[module.padding] if isinstance(module.padding, str) else _square(path, module, "padding")
    return Conv(channels=module.out_channels, kernel=kernel, stride=stride, padding=padding)


def _linear(path: str, module: Any) -> Op:
    del path
    return Linear(features=module.out_features)


def _flatten(path: str, module: Any) -> Op:
    del path, module  # its axes are checked when the shapes are known
    return Flatten()


def _pool(path: str, module: Any) -> Op:
    size = _square(path, module, "kernel_size")
    stride = size if module.stride is None else _square(path, module, "stride")
    padding = _pair(getattr(module, "padding", 0))
    if stride != size or padding != (0, 0) or module.ceil_mode:
        raise _refuse(
            path,
            module,
            f"kernel_size {module.kernel_size}, stride {module.stride}, padding {padding}, "
            f"ceil_mode {module.ceil_mode}; pools here have a stride of their size, no padding, no ceil_mode",
        )
    if getattr(module, "norm_type", 1) != 1:
        raise _refuse(path, module, f"norm_type {module.norm_type} is no sum")
    if getattr(module, "divisor_override", None) not in (None, 1):
        raise _refuse(path, module, f"divisor_override {module.divisor_override}; only none or 1 can be carried over")
    return SumPool(size=size)


_OPERATIONS: dict[str, Callable[[str, Any], Op]] = {
    "Conv2d": _convolution,
    "Linear": _linear,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
}


def _array(parameter: Any) -> NDArray[Any]:
    array: NDArray[Any] = parameter.detach().cpu().numpy()
    return array


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, (int, np.integer)) else (int(value[0]), int(value[-1]))


def _square(path: str, module: Any, name: str) -> int:
    pair = _pair(getattr(module, name))
    if pair[0] != pair[1]:
        raise _refuse(path, module, f"{name} {pair} must be the same along both axes")
    return pair[0]
