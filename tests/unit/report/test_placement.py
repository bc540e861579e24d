"""The drawing of a placement: its numbers by hand, rivals by trying every subset, lanes that never overlap."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chiploop.chip.place import Placement, place, placement_on
from chiploop.chip.plan import CorePlan, Design, design
from chiploop.chip.profile import ChipProfile, CoreProfile, read_profile
from chiploop.errors import DesignRuleError
from chiploop.events.types import SensorShape
from chiploop.report.placement import (
    Link,
    contest_text,
    core_rows,
    links,
    placement_plain,
    placement_text,
    rivals,
)
from chiploop.report.placement_plot import contest_plot, lanes_of, placement_plot
from chiploop.spec import INPUT, Conv, Edge, LayerSpec, NetworkSpec, NeuronSpec, SumPool

SPECK = read_profile("speck2f")


def convolution(name: str, shape: tuple[int, int, int], features: int, *, bias: bool = False) -> LayerSpec:
    op = Conv(channels=features, kernel=3, padding=1)
    return LayerSpec(
        name=name, op=op, weight=np.zeros(op.weight_shape(shape), np.float32), neuron=NeuronSpec(), in_shape=shape,
        bias=np.ones(features, np.float32) if bias else None,
    )  # fmt: skip


def halved(name: str, shape: tuple[int, int, int]) -> LayerSpec:
    return LayerSpec(name=name, op=SumPool(size=2), weight=None, neuron=None, in_shape=shape)


def forked() -> Design:
    """Return a network in which `a` is heard by `b` and `c`, and `d` hears `b` beside `c`, both pooled."""
    big, small = (8, 16, 16), (16, 8, 8)
    layers = (
        convolution("a", (2, 16, 16), 8), convolution("b", big, 8), convolution("c", big, 8, bias=True),
        halved("b2", big), halved("c2", big), convolution("d", small, 4),
    )  # fmt: skip
    edges = (
        Edge(INPUT, "a"), Edge("a", "b"), Edge("a", "c"), Edge("b", "b2"), Edge("c", "c2"), Edge("b2", "d"),
        Edge("c2", "d", 8),
    )  # fmt: skip
    return design(NetworkSpec(layers=layers, edges=edges, input_shape=(2, 16, 16), clock_us=1000))


def placed() -> tuple[Design, Placement]:
    network = forked()
    return network, placement_on({"a": 0, "b": 4, "c": 1, "d": 8}, network.plans, SPECK)


def test_ways_by_hand() -> None:
    network, placement = placed()
    expected = [
        Link(None, 0), Link(0, 4), Link(0, 1), Link(4, 8, pool=2), Link(1, 8, pool=2, shift=8), Link(8, None),
    ]  # fmt: skip
    assert list(links(network, placement)) == expected
    assert [way.label for way in expected[3:]] == ["pool 2", "pool 2, channels +8", ""]


def test_rows_by_hand() -> None:
    rows = core_rows(placed()[1], SPECK)
    assert [row.layer for row in rows] == ["a", "c", None, None, "b", None, None, None, "d"]
    # 3 x 3 takes 4 bits: 2 * 2^(4 + 3) = 256 and 8 * 2^(4 + 3) = 1,024 kernel words; 8 * 16 * 16 = 2,048 neurons
    told = {row.core: [(one.words, one.limit) for one in row.memories] for row in rows}
    assert told[0] == [(256, 16384), (2048, 65536), (0, 1024)]
    assert told[1] == [(1024, 16384), (2048, 65536), (8, 1024)]
    assert told[5] == [(0, 65536), (0, 16384), (0, 1024)]
    assert told[8] == [(16 << 4 + 2, 16384), (4 * 64, 16384), (0, 1024)]
    assert rows[0].memories[0].share == 256 / 16384


def test_plain_data_by_hand() -> None:
    plain = placement_plain(*placed(), SPECK)
    assert plain == {
        "inputs": [{"core": 0, "layer": "a", "pool": 1, "shift": 0}],
        "outputs": [{"core": 8, "layer": "d", "pool": 1}],
        "targets": {
            "a": [{"core": 4, "layer": "b", "pool": 1, "shift": 0}, {"core": 1, "layer": "c", "pool": 1, "shift": 0}],
            "b": [{"core": 8, "layer": "d", "pool": 2, "shift": 0}],
            "c": [{"core": 8, "layer": "d", "pool": 2, "shift": 8}],
            "d": [],
        },
        "free_cores": [2, 3, 5, 6, 7],
    }


def test_text_by_hand() -> None:
    cores = tuple(
        CoreProfile(kernel_words=k, neuron_words=n, bias_words=b)
        for k, n, b in ((256, 2048, 0), (2048, 4096, 8), (1024, 4096, 0), (16384, 256, 4), (9, 9, 9))
    )
    network, chip = forked(), SPECK.model_copy(update={"cores": cores})
    assert placement_text(network, place(network.plans, chip), chip).splitlines() == [
        "input -> core 0 (a)",
        "core  layer  kernel words                    neuron words                   bias words",
        "   0  a      [##########]      256/256 100%  [##########] 2,048/2,048 100%  0/0   0%",
        "             -> core 2 (b)",
        "             -> core 1 (c)",
        "   1  c      [#####.....]  1,024/2,048  50%  [#####.....] 2,048/4,096  50%  8/8 100%",
        "             -> core 3 (d), pool 2, channels +8",
        "   2  b      [##########]  1,024/1,024 100%  [#####.....] 2,048/4,096  50%  0/0   0%",
        "             -> core 3 (d), pool 2",
        "   3  d      [#.........] 1,024/16,384   6%  [##########]     256/256 100%  0/4   0%",
        "             -> out",
        "   4  free   [..........]          0/9   0%  [..........]         0/9   0%  0/9   0%",
    ]


def test_a_chip_without_limits_has_no_bars_and_no_free_cores() -> None:
    network, chip = forked(), read_profile("ideal")
    lines = placement_text(network, place(network.plans, chip), chip).splitlines()
    assert "[" not in "".join(lines)
    assert re.split(r"  +", lines[2].strip()) == ["0", "a", "256 no limit", "2,048 no limit", "0 no limit"]
    assert placement_plain(network, place(network.plans, chip), chip)["free_cores"] == []


def plan(number: int, kernel_words: int, neuron_bits: int) -> CorePlan:
    """Return a plan that takes so many kernel words and 2^neuron_bits neuron words."""
    return CorePlan(
        layer=f"layer{number}", fully_connected=False, in_shape=SensorShape(kernel_words, 1 << neuron_bits, 1),
        kernel=(1, 1), stride=1, padding=0, neuron_shape=SensorShape(1, 1 << neuron_bits, 1), neuron=NeuronSpec(),
        has_bias=False, targets=(), pools=(1,), heard=(),
    )  # fmt: skip


def chip_of(sizes: list[tuple[int, int]]) -> ChipProfile:
    cores = tuple(CoreProfile(kernel_words=k, neuron_words=n, bias_words=0) for k, n in sizes)
    return ChipProfile(name="small", revision="1", cores=cores, sources={"cores": "assumed"})


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([1, 2, 4])), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=5),
)
def test_rivals_are_a_smallest_set_that_is_one_core_short(
    sizes: list[tuple[int, int]], needs: list[tuple[int, int]]
) -> None:
    plans, chip = [plan(i, words, bits) for i, (words, bits) in enumerate(needs)], chip_of(sizes)
    fits = {
        f"layer{i}": {c for c, (k, n) in enumerate(sizes) if words <= k and 2**bits <= n}
        for i, (words, bits) in enumerate(needs)
    }

    def cores(names: tuple[str, ...]) -> set[int]:
        return set().union(*(fits[name] for name in names))

    # Hall: a placement exists exactly when no set of layers fits, together, fewer cores than it has layers.
    subsets = [names for size in range(1, len(plans) + 1) for names in itertools.combinations(fits, size)]
    short = [names for names in subsets if len(cores(names)) < len(names)]
    found, contested = rivals(plans, chip)
    if not short:
        assert (found, contested) == ((), ())
        return
    assert found in short
    assert set(contested) == cores(found)
    assert len(contested) == len(found) - 1
    assert not any(set(names) < set(found) for names in short)
    # The message of the placement names the same layers and cores.
    with pytest.raises(DesignRuleError) as caught:
        place(plans, chip)
    assert set(re.findall(r"'(layer\d)'", str(caught.value))) == set(found)
    assert f"core(s) {list(contested)}" in str(caught.value)
    rows = {line.split()[0]: line for line in contest_text(plans, chip).splitlines()[2:]}
    for name, line in rows.items():
        signs = line.split()[1 : len(sizes) + 1]
        mark = "#" if name in found else "x"
        assert signs == [mark if core in fits[name] else "." for core in range(len(sizes))]
        assert line.endswith(": no core") == (not fits[name])


@st.composite
def wirings(draw: st.DrawFn) -> tuple[int, list[Link]]:
    n = draw(st.integers(1, 7))
    ends = st.none() | st.integers(0, n - 1)
    ways = draw(st.lists(st.builds(Link, ends, ends, st.sampled_from([1, 2]), st.integers(0, 2)), max_size=10))
    return n, [way for way in ways if way.source != way.target]


@given(wirings())
def test_ways_in_one_lane_never_meet_and_no_two_leave_or_arrive_at_one_place(wiring: tuple[int, list[Link]]) -> None:
    n, ways = wiring
    assume(len(set(ways)) == len(ways))
    lanes = lanes_of(ways, {core: core for core in range(n)})
    assert sorted(map(str, (one.way for one in lanes))) == sorted(map(str, ways))
    for one in lanes:
        low, high = sorted((one.begin, one.end))
        for other in lanes:
            if other is not one and other.lane == one.lane:
                assert not (low <= max(other.begin, other.end) and min(other.begin, other.end) <= high)
        if one.way.source is not None:
            assert 0 < one.begin - one.way.source < 0.5
        if one.way.target is not None:
            assert 0 < one.way.target - one.end < 0.5
    for core in range(n):
        leaving = [one.begin for one in lanes if one.way.source == core]
        arriving = [one.end for one in lanes if one.way.target == core]
        assert len(set(leaving)) == len(leaving)
        assert len(set(arriving)) == len(arriving)


def words_of(svg: str) -> set[str]:
    """Return the texts of a drawing (letters are drawn as paths, with the text beside them as a comment)."""
    ElementTree.fromstring(svg)
    return set(re.findall(r"<!-- (.*?) -->", svg))


def test_the_drawing_names_cores_words_and_ways() -> None:
    plot = placement_plot(*placed(), SPECK)
    words = words_of(plot.svg)
    assert {"0  a", "1  c", "4  b", "8  d", "2  free", "input", "out", "pool 2", "channels +8"} <= words
    assert {"kernel words", "neuron words", "bias words", "256 of 16,384", "8 of 1,024"} <= words
    assert "speck2f: 4 layers on 9 cores, 5 free" in words
    assert "core 0 holds a (256 kernel, 2048 neuron words) and sends to core 4, core 1;" in plot.alt
    assert placement_plot(*placed(), SPECK).svg == plot.svg


def test_the_drawing_of_a_contest_names_who_competes() -> None:
    plans, chip = [plan(0, 1, 0), plan(1, 4, 0), plan(2, 4, 0), plan(3, 5, 0)], chip_of([(1, 1), (4, 1), (1, 1)])
    words = words_of(contest_plot(plans[:3], chip).svg)
    assert "small: which core holds which layer; orange: 2 layers compete for 1 core(s)" in words
    assert {"layer0", "layer1", "layer2", "4 kernel, 1 neuron words"} <= words
    plot = contest_plot(plans[3:], chip)
    assert "5 kernel, 1 neuron words: no core" in words_of(plot.svg)
    assert plot.alt == "layer3 fits cores none"
