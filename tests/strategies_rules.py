"""Random tiny chips and random small networks for the design rules."""

from __future__ import annotations

import numpy as np

from chiploop.chip.profile import ChipProfile, CoreProfile, read_profile
from chiploop.errors import SpecError
from chiploop.spec import INPUT, Conv, Edge, Flatten, LayerSpec, Linear, NetworkSpec, NeuronSpec, SumPool

IDEAL = read_profile("ideal")


def random_profile(rng: np.random.Generator) -> ChipProfile:
    """Return a chip of two to four tiny cores, each limit absent now and then."""

    def maybe(*choices: object) -> object:
        return None if rng.random() < 0.65 else choices[rng.integers(len(choices))]

    cores = tuple(
        CoreProfile(
            kernel_words=int(rng.choice([32, 64, 128, 512, 2048])),
            neuron_words=int(rng.choice([16, 32, 64, 128, 512])),
            bias_words=int(rng.choice([0, 2, 4, 8])),
        )
        for _ in range(rng.integers(2, 5))
    )
    return IDEAL.model_copy(
        update={
            "cores": cores,
            "unlimited_cores": False,
            "neurons": ("if",) if rng.random() < 0.7 else ("if", "lif"),
            "square_kernels": bool(rng.random() < 0.4),
            "max_kernel": maybe(2, 3, 4),
            "max_input_side": maybe(5, 7, 8),
            "max_output_side": maybe(4, 6, 8),
            "max_channels": maybe(3, 5, 8),
            "strides": maybe((1,), (1, 2), (1, 2, 4)),
            "pools": maybe((1,), (1, 2), (1, 2, 4)),
            "max_padding": maybe(0, 1),
            "fan_out": maybe(1, 2),
            "readout_classes": maybe(3, 8, 20),
        }
    )


def random_network(rng: np.random.Generator) -> NetworkSpec:
    """Return a small network with branches, merges, shifts, biases, pools; every unweighted layer leads somewhere."""
    side = int(rng.integers(1, 10))
    shape = (int(rng.integers(1, 4)), side, side if rng.random() < 0.7 else int(rng.integers(1, 10)))
    shapes: dict[str, tuple[int, ...]] = {INPUT: shape if rng.random() < 0.9 else (int(rng.integers(1, 9)),)}
    layers: list[LayerSpec] = []
    edges: list[Edge] = []
    wanted = int(rng.integers(1, 7))
    while len(layers) < wanted:
        name = f"layer{len(layers)}"
        into = random_sources(rng, name, shapes, edges)
        in_shape = (max(e.shift + shapes[e.source][0] for e in into), *shapes[into[0].source][1:])
        try:
            layer = random_layer(rng, name, in_shape, last=len(layers) == wanted - 1)
        except SpecError:  # a kernel or a pool larger than the map
            continue
        layers.append(layer)
        edges += into
        shapes[name] = layer.out_shape
    return NetworkSpec(**pruned(layers, edges), input_shape=shapes[INPUT], clock_us=1_000)


def random_sources(
    rng: np.random.Generator, name: str, shapes: dict[str, tuple[int, ...]], edges: list[Edge]
) -> list[Edge]:
    unheard = [known for known in shapes if all(edge.source != known for edge in edges)]
    first = str(rng.choice(unheard[-1:] if rng.random() < 0.8 else list(shapes)))
    into = [Edge(first, name, int(rng.integers(1, 4)) if rng.random() < 0.05 else 0)]
    top = into[0].shift + shapes[first][0]
    for other in rng.permutation([known for known in shapes if shapes[known][1:] == shapes[first][1:]]):
        if len(into) < 3 and rng.random() < 0.3 and (other != first or rng.random() < 0.1):
            shift = int(rng.choice([0, top, int(rng.integers(0, top + 1))]))
            into.append(Edge(str(other), name, shift))
            top = max(top, shift + shapes[other][0])
    return into


def random_layer(rng: np.random.Generator, name: str, shape: tuple[int, ...], *, last: bool) -> LayerSpec:
    if len(shape) == 1:
        op = Linear(features=int(rng.integers(1, 7))) if last or rng.random() < 0.9 else Flatten()
    elif rng.random() < (0.9 if last else 0.6):
        op = Conv(
            channels=int(rng.integers(1, 7)), kernel=int(rng.integers(1, 5)), stride=int(rng.choice([1, 1, 1, 2, 3])),
            padding=int(rng.choice([0, 0, 1, 2])),
        )  # fmt: skip
    else:
        op = SumPool(size=int(rng.choice([1, 2, 2, 3, 4]))) if rng.random() < 0.5 else Flatten()
    op.out_shape(shape)
    if not isinstance(op, (Conv, Linear)):
        return LayerSpec(name=name, op=op, weight=None, neuron=None, in_shape=shape)
    kind = rng.random()
    neuron = None if kind < 0.02 else NeuronSpec(kind="lif", tau_us=5e3) if kind < 0.07 else NeuronSpec()
    biased = neuron is not None and rng.random() < 0.2
    return LayerSpec(
        name=name, op=op, weight=rng.uniform(0.2, 1.0, op.weight_shape(shape)).astype(np.float32), neuron=neuron,
        in_shape=shape, bias=np.full(op.out_shape(shape)[0], 0.1, np.float32) if biased else None,
    )  # fmt: skip


def pruned(layers: list[LayerSpec], edges: list[Edge]) -> dict[str, object]:
    """Leave out pools and Flattens that lead nowhere, but for the last layer."""
    while True:
        heard = {edge.source for edge in edges}
        idle = {one.name for one in layers[:-1] if one.weight is None and one.name not in heard}
        if not idle:
            return {"layers": tuple(layers), "edges": tuple(edges)}
        layers = [one for one in layers if one.name not in idle]
        edges = [edge for edge in edges if edge.target not in idle]


def described(network: NetworkSpec, profile: ChipProfile) -> str:
    lines = [f"{one.name}: {one.op} of {one.in_shape}, {one.neuron and one.neuron.kind}" for one in network.layers]
    edges = ", ".join(f"{edge.source}->{edge.target}+{edge.shift}" for edge in network.edges)
    return "\n".join([f"input {network.input_shape}", *lines, edges, str(profile.model_dump(exclude={"sources"}))])
