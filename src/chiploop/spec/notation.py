"""Networks written the way the field's papers write them, such as "16c3p1-P2-32c3p1-P2-10", with blocks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

from chiploop.errors import SpecError
from chiploop.spec.graph import INPUT, Edge, LayerSpec, NetworkSpec, NeuronSpec
from chiploop.spec.ops import Conv, Flatten, Linear, Op, Shape, SumPool

_CONV = re.compile(r"(?P<channels>\d+)[cC](?P<kernel>\d+)(?:s(?P<stride>\d+))?(?:p(?P<padding>\d+))?")
_POOL = re.compile(r"P(?P<size>\d+)")
_LINEAR = re.compile(r"(?P<features>\d+)")
_TOKEN = re.compile(r"[-()\[\]]|[^-()\[\]]+")
_CLOSING = {"(": ")", "[": "]"}
_KINDS = {Conv: "conv", SumPool: "pool", Linear: "fc", Flatten: "flatten"}
_MAP_AXES = 3


def parse_notation(
    text: str,
    input_shape: Shape,
    neuron: NeuronSpec,
    rng: np.random.Generator,
    *,
    dt_us: int | None = None,
    bias: float | None = None,
    clock_us: int | None = None,
) -> NetworkSpec:
    """Build a network from its notation, with weights drawn anew.

    Words are joined by "-": `16c3s2p1` is a convolution to 16 channels, kernel 3, stride 2 (default 1), padding 1
    (default 0); `P2` is sum pooling by 2; a bare number is a fully connected layer. Parentheses are a residual block:
    what stands before `(8c3p1-8c3p1)` goes into the block, and what follows hears both, added up. Brackets concatenate:
    what follows `[8c3p1]` hears what stood before, and the block's channels behind those. Blocks may hold blocks, and
    may stand first: the input then goes around them.

    Every convolution and fully connected layer ends in `neuron`; a `bias` is added to each by every edge of the slow
    clock of period `clock_us`. Weights are uniform with variance 2 / (3 fan-in) (He et al. 2015, for ReLU, up to the
    gain that balancing sets later). Raises SpecError that names the word or the block that does not fit.

    >>> net = parse_notation("4c3p1-(4c3p1)-P2-10", (2, 34, 34), NeuronSpec(), np.random.default_rng(0))
    >>> [layer.name for layer in net.layers]
    ['conv1', 'conv2', 'pool1', 'flatten', 'fc1']
    >>> [edge.source for edge in net.sources("pool1")]
    ['conv1', 'conv2']
    """
    builder = _Builder(text, neuron, rng, bias)
    end = builder.sequence(_parse(text), _Stream(tuple(input_shape), ((INPUT, 0),)))
    if end.block is not None:
        raise builder.error(end.block, "ends the network; a layer must follow it, to hear what it joins")
    return NetworkSpec(
        layers=tuple(builder.layers),
        edges=tuple(builder.edges),
        input_shape=input_shape,
        dt_us=dt_us,
        clock_us=clock_us,
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """Items between "(" and ")" or "[" and "]", and how they are written."""

    sums: bool
    items: tuple[str | _Block, ...]
    text: str


@dataclass(frozen=True, slots=True)
class _Stream:
    """What flows at a point of the text: its shape, the sources (layer, shift) that make it, the block it left."""

    shape: Shape
    sources: tuple[tuple[str, int], ...]
    block: str | None = None


@dataclass
class _Builder:
    """Layers and edges as the text is walked."""

    text: str
    neuron: NeuronSpec
    rng: np.random.Generator
    bias: float | None
    layers: list[LayerSpec] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def sequence(self, items: tuple[str | _Block, ...], stream: _Stream) -> _Stream:
        """Add items one after the other; return what leaves the last."""
        for item in items:
            if isinstance(item, _Block):
                stream = self.block(item, stream)
                continue
            op = _op(self.text, item)
            if isinstance(op, Linear) and len(stream.shape) == _MAP_AXES:
                stream = self.layer(Flatten(), stream)
            stream = self.layer(op, stream)
        return stream

    def block(self, block: _Block, before: _Stream) -> _Stream:
        """Add a block; return its end joined with what stood before it."""
        end = self.sequence(block.items, before)
        if block.sums:
            if end.shape != before.shape:
                raise self.error(
                    block.text, f"gives {_sizes(end.shape)}, what it is added to is {_sizes(before.shape)}"
                )
            if set(end.sources) & set(before.sources):
                raise self.error(block.text, "gives what stands before it once more; it would be added twice")
            return _Stream(before.shape, before.sources + end.sources, block.text)
        if end.shape[1:] != before.shape[1:]:
            found, stood = _sizes(end.shape), _sizes(before.shape)
            raise self.error(block.text, f"gives {found}, what it is put beside is {stood}: only channels may differ")
        shift = before.shape[0]
        beside = tuple((name, at + shift) for name, at in end.sources)
        return _Stream((shift + end.shape[0], *before.shape[1:]), before.sources + beside, block.text)

    def layer(self, op: Op, stream: _Stream) -> _Stream:
        """Add a layer that hears the stream."""
        kind = _KINDS[type(op)]
        number = 1 + sum(type(layer.op) is type(op) for layer in self.layers)
        name = kind if kind == "flatten" else f"{kind}{number}"
        weight = neuron = bias = None
        if isinstance(op, (Conv, Linear)):
            size = op.weight_shape(stream.shape)
            bound = math.sqrt(6 / math.prod(size[1:]) / 3)
            weight, neuron = self.rng.uniform(-bound, bound, size).astype(np.float32), self.neuron
            bias = None if self.bias is None else np.full(size[0], self.bias, np.float32)
        layer = LayerSpec(name=name, op=op, weight=weight, neuron=neuron, in_shape=stream.shape, bias=bias)
        self.layers.append(layer)
        self.edges.extend(Edge(source, name, shift) for source, shift in stream.sources)
        return _Stream(layer.out_shape, ((name, 0),))

    def error(self, block: str, what: str) -> SpecError:
        """Return the error of a block."""
        return SpecError(f"network {self.text!r}: block {block!r} {what}")


def _op(text: str, word: str) -> Op:
    if match := _CONV.fullmatch(word):
        return Conv(**{key: int(value) for key, value in match.groupdict().items() if value is not None})
    if match := _POOL.fullmatch(word):
        return SumPool(size=int(match["size"]))
    if match := _LINEAR.fullmatch(word):
        return Linear(features=int(match["features"]))
    raise _unreadable(text, word)


def _unreadable(text: str, word: str) -> SpecError:
    return SpecError(
        f"network {text!r}: cannot read {word!r}; words are 16c3s2p1 (convolution), P2 (sum pooling), "
        "10 (fully connected), joined by '-'; blocks are (...) (residual) and [...] (concatenation)"
    )


def _parse(text: str) -> tuple[str | _Block, ...]:
    """Return the words and blocks of a text; raises SpecError for an empty word and for signs that do not pair."""
    opened: list[int] = []
    items: list[list[str | _Block]] = [[]]
    due = True  # a word or a block, not a "-" or an end
    for match in _TOKEN.finditer(text):
        token, at = match[0], match.start()
        if due and token in ("-", ")", "]"):
            raise _unreadable(text, "")
        if not due and token not in ("-", ")", "]"):
            raise SpecError(f"network {text!r}: write '-' before {token!r} at character {at + 1}")
        if token in _CLOSING:
            opened.append(at)
            items.append([])
        elif token in _CLOSING.values():
            if not opened:
                raise SpecError(f"network {text!r}: {token!r} at character {at + 1} closes no block")
            begin, inner = opened.pop(), tuple(items.pop())
            if token != _CLOSING[text[begin]]:
                raise SpecError(
                    f"network {text!r}: {text[begin]!r} at character {begin + 1} is closed by {token!r} at {at + 1}"
                )
            items[-1].append(_Block(text[begin] == "(", inner, text[begin : at + 1]))
        elif token != "-":
            items[-1].append(token)
        due = token in ("-", *_CLOSING)
    if opened:
        raise SpecError(f"network {text!r}: {text[opened[-1]]!r} at character {opened[-1] + 1} is never closed")
    if due:
        raise _unreadable(text, "")
    return tuple(items[0])


def _sizes(shape: Shape) -> str:
    return "x".join(map(str, shape))
