"""Whose spikes arrive where, and what is added to what."""

from __future__ import annotations

from hypothesis import given

from chiploop.learn.owners import heard_owners, merged_groups
from chiploop.rng import stream
from chiploop.spec.graph import INPUT, NetworkSpec, NeuronSpec
from chiploop.spec.notation import parse_notation
from strategies_dag import dag_specs


def parsed(text: str, shape: tuple[int, ...] = (2, 4, 4)) -> NetworkSpec:
    return parse_notation(text, shape, NeuronSpec(), stream(0, "weights"))


def names(*sets: str) -> list[set[str]]:
    return [set(one.split()) for one in sets]


def test_channels_of_a_sum_have_several_owners_and_those_of_a_concatenation_one_each() -> None:
    heard = heard_owners(parsed("2c3p1-(2c3p1)-[1c1]-P2-3"))
    assert [set(owners) for owners in heard["conv1"]] == names("input", "input")
    assert [set(owners) for owners in heard["conv3"]] == names("conv1 conv2", "conv1 conv2")
    assert [set(owners) for owners in heard["pool1"]] == names("conv1 conv2", "conv1 conv2", "conv3")
    # Channel slowest: each of the three channels is 2 x 2 features of fc1.
    assert [set(owners) for owners in heard["fc1"]] == names(*["conv1 conv2"] * 8, *["conv3"] * 4)


def test_groups_join_what_is_added_directly_or_through_others() -> None:
    groups = merged_groups(heard_owners(parsed("2c3p1-(2c3p1)-(2c3p1)-[1c1]-P2-3")))
    assert groups["conv1"] == groups["conv2"] == groups["conv3"] == {"conv1", "conv2", "conv3"}
    assert groups["conv4"] == {"conv4"}
    around = merged_groups(heard_owners(parsed("(2c3p1)-3c3p1-3")))
    assert around["conv1"] == {INPUT, "conv1"}
    assert around["conv2"] == {"conv2"}


@given(dag_specs())
def test_every_channel_that_an_edge_fills_has_an_owner_and_groups_are_a_partition(spec: NetworkSpec) -> None:
    heard = heard_owners(spec)
    reach = {INPUT: spec.input_shape[0], **{layer.name: layer.out_shape[0] for layer in spec.layers}}
    for layer in spec.layers:
        filled = {c + e.shift for e in spec.edges if e.target == layer.name for c in range(reach[e.source])}
        straight = all(e.source == INPUT for e in spec.edges if e.target == layer.name)
        owned = {channel for channel, owners in enumerate(heard[layer.name]) if owners}
        assert owned == filled if straight else owned <= filled  # a gap before stays a gap behind a pool
    groups = merged_groups(heard)
    for owner, group in groups.items():
        assert owner in group
        assert all(groups[other] == group for other in group)
