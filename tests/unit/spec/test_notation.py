"""Networks written down: words, residual blocks, concatenations, and every way to get them wrong."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.errors import SpecError
from chiploop.rng import stream
from chiploop.spec.graph import NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation


def parsed(text: str, shape: tuple[int, ...] = (2, 8, 8)) -> NetworkSpec:
    return parse_notation(text, shape, NeuronSpec(), stream(0, "weights"))


def edges(text: str, shape: tuple[int, ...] = (2, 8, 8)) -> list[str]:
    """Edges as "source>target", with the channel they begin at where that is not 0."""
    shown = [f"{e.source}>{e.target}" + (f"@{e.shift}" if e.shift else "") for e in parsed(text, shape).edges]
    return sorted(shown, key=lambda edge: [layer.name for layer in parsed(text, shape).layers].index(target(edge)))


def target(edge: str) -> str:
    return edge.split(">")[1].split("@")[0]


def test_what_follows_a_residual_block_hears_its_beginning_and_its_end() -> None:
    assert edges("8c3p1-(8c3p1-8c3p1)-P2-10") == [
        "input>conv1",
        "conv1>conv2",
        "conv2>conv3",
        "conv1>pool1",
        "conv3>pool1",
        "pool1>flatten",
        "flatten>fc1",
    ]


def test_what_follows_brackets_hears_the_blocks_channels_behind_those_before_it() -> None:
    text = "8c3p1-[6c3p1-5c1]-4c3-10"
    assert edges(text)[:5] == ["input>conv1", "conv1>conv2", "conv2>conv3", "conv1>conv4", "conv3>conv4@8"]
    assert parsed(text).layer("conv4").in_shape == (13, 8, 8)


def test_the_input_may_go_around_a_block() -> None:
    assert edges("(2c3p1)-10") == ["input>conv1", "input>flatten", "conv1>flatten", "flatten>fc1"]
    assert edges("[4c3p1]-3c3") == ["input>conv1", "input>conv2", "conv1>conv2@2"]


def test_blocks_hold_blocks() -> None:
    assert edges("4c3p1-[4c3p1-(4c3p1)-2c1-[3c1]]-10") == [
        "input>conv1",
        "conv1>conv2",
        "conv2>conv3",
        "conv2>conv4",
        "conv3>conv4",
        "conv4>conv5",
        "conv1>flatten",
        "conv4>flatten@4",
        "conv5>flatten@6",
        "flatten>fc1",
    ]
    assert parsed("4c3p1-[4c3p1-(4c3p1)-2c1-[3c1]]-10").layer("flatten").in_shape == (9, 8, 8)


def test_a_block_behind_a_block_adds_a_third() -> None:
    assert edges("4c3p1-(4c3p1)-(4c3p1)-10") == [
        "input>conv1",
        "conv1>conv2",
        "conv1>conv3",
        "conv2>conv3",
        "conv1>flatten",
        "conv2>flatten",
        "conv3>flatten",
        "flatten>fc1",
    ]


def test_brackets_around_parentheses_hear_the_same_source_on_channels_of_its_own() -> None:
    assert edges("[(2c3p1)]-10")[1:4] == ["input>flatten", "input>flatten@2", "conv1>flatten@2"]


def test_blocks_of_features() -> None:
    assert edges("8-(8-8)-[4]-3", (5,)) == [
        "input>fc1",
        "fc1>fc2",
        "fc2>fc3",
        "fc1>fc4",
        "fc3>fc4",
        "fc1>fc5",
        "fc3>fc5",
        "fc4>fc5@8",
    ]


def test_a_chain_is_drawn_as_ever_and_a_block_draws_in_the_order_of_the_text() -> None:
    chain, block = parsed("4c3p1-4c3p1-10"), parsed("4c3p1-(4c3p1)-10")
    assert chain.is_chain
    assert not block.is_chain
    for one, other in zip(chain.layers, block.layers, strict=True):
        assert one == other


def test_fan_in_counts_joined_channels() -> None:
    # Uniform up to sqrt(6 / 3 fan-in), fan-in (8 + 40) * 9: 0.0680; without the joined 40 channels it would be 0.167.
    weight = parsed("8c3p1-[40c3p1]-50c3-10").layer("conv3").weight
    assert weight is not None
    assert 0.066 < float(np.abs(weight).max()) <= (6 / 3 / (48 * 9)) ** 0.5


def test_a_bias_ticks_in_every_layer_with_a_neuron() -> None:
    spec = parse_notation("4c3p1-(4c3p1)-P2-3", (2, 8, 8), NeuronSpec(), stream(0, "w"), bias=-0.25, clock_us=500)
    assert spec.clock_us == 500
    for layer in spec.layers:
        assert (layer.bias is None) == (layer.neuron is None)
        if layer.bias is not None:
            assert layer.bias.tolist() == [-0.25] * layer.out_shape[0]
    with pytest.raises(SpecError, match="'conv1' has a bias, which a slow clock adds"):
        parse_notation("4c3p1-3", (2, 8, 8), NeuronSpec(), stream(0, "w"), bias=-0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4c3p1-(2c3p1)-10", r"block '\(2c3p1\)' gives 2x8x8, what it is added to is 4x8x8"),
        ("(4c3p1)-10", r"block '\(4c3p1\)' gives 4x8x8, what it is added to is 2x8x8"),
        ("4c3p1-(4c3)-10", r"block '\(4c3\)' gives 4x6x6, what it is added to is 4x8x8"),
        ("4c3p1-(4c3p1-[P2])-10", r"block '\[P2\]' gives 4x4x4, what it is put beside is 4x8x8: only channels may"),
        ("4c3p1-[10]-10", r"block '\[10\]' gives 10, what it is put beside is 4x8x8"),
        ("4c3p1-((4c3p1))-10", r"block '\(\(4c3p1\)\)' gives what stands before it once more"),
        ("4c3p1-(4c3p1)", r"block '\(4c3p1\)' ends the network; a layer must follow it"),
        ("4c3p1-(4c3p1", r"'\(' at character 7 is never closed"),
        ("4c3p1-[4c3p1-(4c3p1]-10", r"'\(' at character 14 is closed by '\]' at 20"),
        ("4c3p1)-10", r"'\)' at character 6 closes no block"),
        ("4c3p1(4c3p1)-10", r"write '-' before '\(' at character 6"),
        ("(2c3p1)10", r"write '-' before '10' at character 8"),
        ("()-10", r"cannot read ''; words are 16c3s2p1 .* blocks are \(\.\.\.\) \(residual\)"),
        ("4c3p1-(4c3p1-)-10", "cannot read ''"),
        ("4c3p1-(-4c3p1)-10", "cannot read ''"),
        ("4c3p1-{4c3p1}-10", r"cannot read '\{4c3p1\}'"),
    ],
)
def test_blocks_that_cannot_be_are_named(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=rf"^network '.*': {message}"):
        parsed(text)
