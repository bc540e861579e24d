"""NIR's nodes without a state, as operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import SpecError
from chiploop.spec.nir_graph import kind
from chiploop.spec.ops import Conv, Flatten, Linear, Op, SumPool


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """An operation with what it holds, before the shape of its input is known."""

    op: Op
    weight: NDArray[Any] | None = None
    bias: NDArray[Any] | None = None
    averages: bool = False


def operation_of(name: str, node: Any, assumed: list[str]) -> Operation:
    """Return a node as an operation; raises SpecError, with its name, for what an operation here cannot be."""
    match kind(node):
        case "Conv2d":
            return _convolution(name, node)
        case "Linear" | "Affine":
            weight = numbers(name, "weight", node.weight)
            if weight.ndim != 2:
                raise SpecError(f"node {name!r}: weight has shape {weight.shape}; expected (features, inputs)")
            bias = numbers(name, "bias", node.bias) if kind(node) == "Affine" else None
            return Operation(op=Linear(features=weight.shape[0]), weight=weight, bias=_bias(name, bias, weight))
        case "SumPool2d" | "AvgPool2d":
            size = _one(name, "kernel_size", node.kernel_size)
            if _one(name, "stride", node.stride) != size or np.any(np.asarray(node.padding)):
                raise SpecError(
                    f"node {name!r}: pools here have a stride of their size and no padding, not kernel_size "
                    f"{_shown(node.kernel_size)}, stride {_shown(node.stride)}, padding {_shown(node.padding)}"
                )
            return Operation(op=SumPool(size=size), averages=kind(node) == "AvgPool2d")
        case _:
            return _flatten(name, node, assumed)


def numbers(name: str, field: str, value: Any) -> NDArray[Any]:
    """Return a node's array; raises SpecError, with node and place, unless it holds finite numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.size == 0:
        raise SpecError(f"node {name!r}: {field} holds no numbers (dtype {array.dtype}, shape {array.shape})")
    bad = ~np.isfinite(array)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise SpecError(f"node {name!r}: {field}{list(at)} is {array[at]}; only finite numbers can be read")
    return array


def _convolution(name: str, node: Any) -> Operation:
    weight = numbers(name, "weight", node.weight)
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        raise SpecError(
            f"node {name!r}: weight has shape {weight.shape}; expected (features, channels, kernel, kernel)"
        )
    if np.any(np.asarray(node.groups) != 1) or np.any(np.asarray(node.dilation) != 1):
        raise SpecError(
            f"node {name!r}: groups {_shown(node.groups)}, dilation {_shown(node.dilation)}; convolutions here have 1"
        )
    kernel = weight.shape[2]
    stride = _one(name, "stride", node.stride)
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if isinstance(padding, str):
        if padding == "same" and (stride != 1 or kernel % 2 == 0):
            raise SpecError(
                f"node {name!r}: padding 'same' needs stride 1 and an odd kernel, not {stride} and {kernel}"
            )
        amount = kernel // 2 if padding == "same" else 0
    else:
        amount = _one(name, "padding", padding)
    op = Conv(channels=weight.shape[0], kernel=kernel, stride=stride, padding=amount)
    return Operation(op=op, weight=weight, bias=_bias(name, numbers(name, "bias", node.bias), weight))


def _bias(name: str, bias: NDArray[Any] | None, weight: NDArray[Any]) -> NDArray[Any] | None:
    if bias is not None and bias.shape != weight.shape[:1]:
        raise SpecError(f"node {name!r}: bias has shape {bias.shape}; expected {weight.shape[:1]}")
    return bias


def _flatten(name: str, node: Any, assumed: list[str]) -> Operation:
    start, end = int(node.start_dim), int(node.end_dim)
    shape = node.input_type["input"] if node.input_type else None
    rank = None if shape is None else len(np.ravel(shape))
    from_first = start == 0 or (rank is not None and start == -rank)
    to_last = end == -1 or (rank is not None and end == rank - 1)
    if not from_first and start == 1:
        assumed.append(f"{name}: start_dim = 1 counts a batch axis that NIR's shapes do not have")
        from_first, to_last = True, end == -1 or end == rank
    if not (from_first and to_last):
        raise SpecError(
            f"node {name!r} flattens axes {start} to {end}; a Flatten here joins all of channels, height and width"
        )
    return Operation(op=Flatten())


def _one(name: str, field: str, value: Any) -> int:
    """Return a size that is the same along both axes."""
    sizes = np.unique(np.ravel(np.asarray(value)))
    if len(sizes) != 1 or sizes.dtype.kind not in "iu":
        raise SpecError(f"node {name!r}: {field} {_shown(value)} must be one whole number for both axes")
    return int(sizes[0])


def _shown(value: Any) -> str:
    return str(np.asarray(value).tolist())
