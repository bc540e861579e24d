"""chiploop map: the drawing on the terminal, as a file and as data; and who competes when there is no placement."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from command_line import Command

TABLE1 = ("map", "nmnist-table1", "--input", "2x34x34", "--chip", "speck2f")
CROWDED = ("map", "nmnist-table1", "--input", "2x64x64", "--set", "network.layers=16c1-16c1-16c1-16c1-P4-4c2s2-10")
# 16 maps of 64 x 64 fill the neuron memory of the three largest cores.


def test_map_draws_cores_destinations_and_free_cores(chiploop: Command) -> None:
    drawn = chiploop(*TABLE1, "--set", "network.layers=16c3p1-P2-8c3-P2-10")
    assert drawn.code == 0
    lines = [line.split() for line in drawn.out.splitlines()]
    assert lines[0] == ["fits", "speck2f"]
    assert ["input", "->", "core", "0", "(conv1)"] in lines
    first = next(i for i, line in enumerate(lines) if line[:2] == ["0", "conv1"])
    # 2 * 2^(4 + 4) kernel words; 16 * 2^(6 + 6) neuron words fill the memory
    assert lines[first][3:5] == ["512/16,384", "3%"]
    assert lines[first][5:] == ["[##########]", "65,536/65,536", "100%"]
    assert lines[first + 1] == ["->", "core", "1", "(conv2),", "pool", "2"]
    assert [line[0] for line in lines if "free" in line] == ["3", "4", "5", "6", "7", "8"]


def test_map_tells_destinations_and_free_cores_as_data(chiploop: Command) -> None:
    plain = chiploop(*TABLE1, "--set", "network.layers=16c3p1-P2-8c3-P2-10", "--json").json
    assert plain["inputs"] == [{"core": 0, "layer": "conv1", "pool": 1, "shift": 0}]
    conv1, conv2, fc1 = plain["layers"]
    assert conv1["targets"] == [{"core": 1, "layer": "conv2", "pool": 2, "shift": 0}]
    assert conv2["targets"] == [{"core": fc1["core"], "layer": "fc1", "pool": 2, "shift": 0}]
    assert (fc1["targets"], plain["outputs"]) == ([], [{"core": fc1["core"], "layer": "fc1", "pool": 1}])
    assert plain["free_cores"] == [3, 4, 5, 6, 7, 8]
    assert (conv1["bias_words"], conv1["bias_limit"]) == (0, 1024)


def test_map_writes_the_drawing_to_a_file(chiploop: Command, tmp_path: Path) -> None:
    drawn = chiploop(*TABLE1, "--set", "network.layers=4c3-P4-10", "--svg", "cores.svg", "--json")
    assert (drawn.code, drawn.err) == (0, "wrote cores.svg\n")
    assert drawn.json["fits"]
    svg = (tmp_path / "cores.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "<!-- 0  conv1 -->" in svg


def test_map_says_which_layers_compete_for_which_cores(chiploop: Command, tmp_path: Path) -> None:
    refused = chiploop(*CROWDED, "--svg", "contest.svg")
    assert refused.code == 1
    assert "compete for 3 core(s) [0, 1, 2]" in refused.out
    assert "#: so it does, but 4 layers compete for 3 core(s)" in refused.out
    lines = {line.split()[0]: line.split() for line in refused.out.splitlines() if line.strip()}
    for name in ("conv1", "conv2", "conv3", "conv4"):
        assert lines[name][1:10] == ["#"] * 3 + ["."] * 6
    assert lines["fc1"][1:10] == ["x"] * 9
    assert "4 layers compete for 3 core(s)" in (tmp_path / "contest.svg").read_text(encoding="utf-8")
    (violation,) = chiploop(*CROWDED, "--json").json["violations"]
    assert violation["rule"] == "placement"
    assert violation["layers"] == ["conv1", "conv2", "conv3", "conv4"]
    assert violation["cores"] == [0, 1, 2]


def test_map_counts_the_bias_of_a_leak(chiploop: Command) -> None:
    leak = ("--set", "network.leak=0.01", "--set", "network.clock_us=1000")
    drawn = chiploop(*TABLE1, "--set", "network.layers=16c3p1-P4-10", *leak)
    assert drawn.code == 0
    (conv,) = (line.split() for line in drawn.out.splitlines() if "conv1  [" in line)
    assert conv[-2:] == ["16/1,024", "2%"]


def test_map_refuses_a_leaky_neuron_where_the_chip_has_none(chiploop: Command) -> None:
    leaky = ("map", "nmnist-table1", "--input", "2x34x34", "--set", "network.neuron=lif", "--set")
    refused = chiploop(*leaky, "network.tau_us=20000", "--chip", "speck2f", "--json")
    assert (refused.code, {violation["rule"] for violation in refused.json["violations"]}) == (1, {"neuron"})
    assert chiploop(*leaky, "network.tau_us=inf", "--chip", "ideal").code == 0


def test_map_shows_the_layer_that_no_core_holds(chiploop: Command) -> None:
    refused = chiploop(*TABLE1, "--set", "network.layers=4c3-512-10", "--json")
    assert {violation["rule"] for violation in refused.json["violations"]} == {"kernel_size", "kernel_memory"}
    assert (refused.json["layers"], refused.json["free_cores"]) == ([], [])
    text = chiploop(*TABLE1, "--set", "network.layers=4c3-512-10").out
    # a kernel that covers 4 maps of 32 x 32: 4 * 2^(10 + 9) words
    assert "fc1    . . . . . . . . .  2,097,152 kernel, 512 neuron words: no core" in text


def test_map_has_nothing_to_draw_for_a_chip_without_cores(chiploop: Command, tmp_path: Path) -> None:
    refused = chiploop(
        "map", "nmnist-table1", "--input", "2x34x34", "--chip", "ideal", "--set", "network.layers=P2-10", "--svg",
        "none.svg",
    )  # fmt: skip
    assert refused.code == 2
    assert "nothing to draw in none.svg" in refused.error
    assert not (tmp_path / "none.svg").exists()
