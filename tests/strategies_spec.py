"""Random network descriptions."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from chiploop.rng import stream
from chiploop.spec.graph import LayerSpec, NetworkSpec, NeuronSpec, chain
from chiploop.spec.ops import Conv, Flatten, Linear, Op, SumPool

positive = st.floats(1e-6, 1e6) | st.integers(1, 1_000)


@st.composite
def neuron_specs(draw: st.DrawFn) -> NeuronSpec:
    kind = draw(st.sampled_from(["if", "lif"]))
    return NeuronSpec(
        kind=kind,  # type: ignore[arg-type]
        v_th=draw(positive),
        v_min=draw(st.none() | st.floats(-1e6, 0.0) | st.integers(-100, 0)),
        reset=draw(st.sampled_from(["subtract", "zero"])),
        spikes_per_step=draw(st.sampled_from(["one", "all"])),
        tau_us=draw(positive) if kind == "lif" else None,
    )


@st.composite
def network_specs(draw: st.DrawFn) -> NetworkSpec:
    """Chains of every operation, with and without neurons, biases and a clock."""
    shape = tuple(draw(st.integers(1, 7)) for _ in range(3))
    input_shape, layers = shape, []
    rng = stream(draw(st.integers(0, 2**32 - 1)), "weights")
    names = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True))
    for name in (name for name in names if name != "input"):
        op = draw(_ops(shape))
        weight, neuron, bias = None, None, None
        if isinstance(op, (Conv, Linear)):
            weight = rng.normal(size=op.weight_shape(shape)).astype(np.float32)
            neuron = draw(st.none() | neuron_specs())
            if neuron is not None and draw(st.booleans()):
                bias = rng.normal(size=op.out_shape(shape)[0]).astype(np.float32)
        layers.append(LayerSpec(name=name, op=op, weight=weight, neuron=neuron, in_shape=shape, bias=bias))
        shape = layers[-1].out_shape
    if not layers:
        layers = [LayerSpec(name="flat", op=Flatten(), weight=None, neuron=None, in_shape=shape)]
    periods = st.integers(1, 10**9)
    biased = any(layer.bias is not None for layer in layers)
    return chain(
        layers,
        input_shape=input_shape,
        dt_us=draw(st.none() | periods),
        clock_us=draw(periods if biased else st.none() | periods),
    )


@st.composite
def _ops(draw: st.DrawFn, shape: tuple[int, ...]) -> Op:
    if len(shape) == 1:
        return draw(st.sampled_from([Flatten(), Linear(features=draw(st.integers(1, 9)))]))
    kind = draw(st.sampled_from(["conv", "pool", "flatten"]))
    if kind == "flatten":
        return Flatten()
    if kind == "pool":
        return SumPool(size=draw(st.integers(1, min(shape[1:]))))
    padding = draw(st.integers(0, 2))
    kernel = draw(st.integers(1, min(shape[1:]) + 2 * padding))
    return Conv(channels=draw(st.integers(1, 4)), kernel=kernel, stride=draw(st.integers(1, 3)), padding=padding)
