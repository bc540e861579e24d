"""Packed files: what goes in comes out, damage is named, and nobody ever sees half a file."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tests.strategies import events

from chiploop.datasets.base import Sample
from chiploop.datasets.pack import TooLongError, pack_dataset, pack_words, write_packed
from chiploop.datasets.packed import open_packed
from chiploop.datasets.packed_file import CHECK_BYTES, HEADER_BYTES, PackedInfo, field_bits, read_packed, unpack_plain
from chiploop.datasets.shapes import open_shapes
from chiploop.errors import ChiploopError, DataError
from chiploop.events.types import Events, SensorShape

SHAPE = SensorShape(2, 5, 7)
INFO = PackedInfo(name="noise", source="noise", split="train", n_classes=3, shape=SHAPE, duration_us=5_000)


def noise(n_events: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 5_000, n_events))
    return Events.from_columns(t, *(rng.integers(0, size, n_events) for size in SHAPE), SHAPE, stop_us=5_000)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(events(shape=SHAPE), st.integers(0, 2), st.integers() | st.text(max_size=5)), max_size=5),
    st.sampled_from([32, 64, None]),
)
def test_packed_files_give_back_what_went_in(
    tmp_path_factory: pytest.TempPathFactory, streams: list[tuple[Events, int, int | str]], word_bits: int | None
) -> None:
    path = tmp_path_factory.mktemp("packed") / "p.packed"
    given = [Sample(*one) for one in streams]
    write_packed(path, iter(given), INFO, word_bits=word_bits)
    packed = read_packed(path)
    packed.verify()
    assert packed.info == INFO
    assert list(packed.keys) == [one.key for one in given]
    assert packed.labels.tolist() == [one.label for one in given]
    assert [packed.events(k) for k in range(len(packed))] == [one.events for one in given]
    foreign = load_file(path)  # another program's reader
    assert foreign["offsets"].tolist() == np.cumsum([0, *(len(one.events) for one in given)]).tolist()
    assert foreign["bounds"].tolist() == [[one.events.start_us, one.events.stop_us] for one in given]


def test_words_by_hand() -> None:
    """One bit of channel, three of y, three of x; the time counts from the recording's start."""
    one = Events.from_columns([12], [1], [4], [6], SHAPE, start_us=10, stop_us=20)
    assert pack_words(one, SHAPE, 32).tolist() == [2 << 7 | 1 << 6 | 4 << 3 | 6]
    assert unpack_plain(np.array([2 << 7 | 1 << 6 | 4 << 3 | 6], np.uint32), SHAPE, 10, 20) == one
    assert field_bits(SensorShape(1, 1, 65_536)) == (0, 0, 16)


def test_times_past_narrow_words_are_packed_in_wide_ones(tmp_path: Path) -> None:
    @dataclass(frozen=True, eq=False)
    class Long:
        name: str = "long"
        n_classes: int = 1
        shape: SensorShape = SHAPE
        duration_us: int = 100
        labels: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
        keys: tuple[str, ...] = ("a", "b")

        def __len__(self) -> int:
            return 2

        def sample(self, index: int) -> Sample:
            last = (1 << 25) - 1 + index  # 25 bits are what the sensor's 7 leave of 32
            return Sample(Events.from_columns([0, last], [0, 1], [0, 4], [0, 6], SHAPE), 0, self.keys[index])

    data = Long()
    with pytest.raises(TooLongError, match="does not fit the 25 bits"):
        write_packed(tmp_path / "x", (data.sample(i) for i in range(2)), replace(INFO, duration_us=100))
    assert list(tmp_path.iterdir()) == []
    assert pack_dataset(data, tmp_path / "x.packed", source="long", split="train")
    packed = open_packed(tmp_path)
    assert [packed.sample(i) for i in range(2)] == [data.sample(i) for i in range(2)]
    assert packed.parts[0].words.dtype == np.uint64


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    """Every byte of a small file matters: whichever is changed, either the file is refused or its recordings are."""
    path, n = tmp_path / "p.packed", 3
    write_packed(path, (Sample(noise(20, k), k, f"key-{k}") for k in range(n)), INFO)
    whole = path.read_bytes()
    text = whole[: whole.index(b"  ")]

    def refusal(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_packed(path).verify()
        return str(caught.value)

    changed = [*range(len(text)), *range(HEADER_BYTES, len(whole))]
    for at in changed[:: 1 if len(changed) < 1_500 else 3]:
        assert str(path) in refusal(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for content in (b"", whole[:100], whole[:-8], whole + b"x", b"\0" * 5_000):
        assert str(path) in refusal(content)
    assert "schema 1, expected" in refusal(whole.replace(b'"schema": "2"', b'"schema": "1"'))
    assert "no packed file" in refusal(b"\x10" + whole[1:])
    path.write_bytes(whole)
    read_packed(path).verify()


def test_a_damaged_block_is_refused_when_it_is_met_and_the_others_are_read(tmp_path: Path) -> None:
    path, per = tmp_path / "p.packed", CHECK_BYTES // 4 // 4
    write_packed(path, (Sample(noise(per, k), 0, k) for k in range(12)), INFO)  # four recordings a block
    content = bytearray(path.read_bytes())
    content[HEADER_BYTES + CHECK_BYTES + 5] ^= 8  # recording 4
    path.write_bytes(content)
    packed = read_packed(path)
    assert packed.events(3) == noise(per, 3)
    assert packed.events(8) == noise(per, 8)
    for index in (4, 7):
        with pytest.raises(DataError, match=r"checksum of its MiB 1 differs.*pack the data set again"):
            packed.events(index)


def test_words_that_are_no_recording_are_refused_though_their_checksums_hold(tmp_path: Path) -> None:
    """A file may be made by another program: addresses outside the sensor must not reach anything that counts them."""
    path = tmp_path / "p.packed"
    write_packed(path, [Sample(noise(20), 0, 0)], INFO)
    content = bytearray(path.read_bytes())
    header = json.loads(content[8:HEADER_BYTES])
    content[HEADER_BYTES] |= 7  # x = 7 of a sensor seven wide
    first, last = header["checks"]["data_offsets"]
    words = content[HEADER_BYTES : HEADER_BYTES + header["words"]["data_offsets"][1]]
    content[HEADER_BYTES + first : HEADER_BYTES + last] = zlib.crc32(words).to_bytes(4, "little")
    meta = header["__metadata__"]
    described = json.dumps([json.loads(meta["info"]), json.loads(meta["layout"])]).encode()
    index = bytes(content[HEADER_BYTES + header["offsets"]["data_offsets"][0] :])
    meta["crc32"] = str(zlib.crc32(index, zlib.crc32(described)))
    content[8:HEADER_BYTES] = json.dumps(header).encode().ljust(HEADER_BYTES - 8)
    path.write_bytes(content)
    packed = read_packed(path)
    with pytest.raises(DataError, match="event 0 of recording 0 is out of"):
        packed.events(0)
    with pytest.raises(DataError, match="outside the sensor"):
        unpack_plain(packed.words[:20], SHAPE, 0, 5_000)


def test_packing_refuses_another_sensor_and_labels_that_are_none(tmp_path: Path) -> None:
    other = Events.from_columns([1], [0], [0], [0], SensorShape(1, 5, 7))
    for sample, message in (
        (Sample(other, 0, 1), "cannot pack"),
        (Sample(noise(3), 3, 1), r"label 3 is outside 0\.\.2"),
    ):
        with pytest.raises(DataError, match=message):
            write_packed(tmp_path / "p", [sample], INFO)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path, data = tmp_path / "s.packed", open_shapes(n=5)
    assert pack_dataset(data, path, source="shapes", split="train")
    stamp = path.stat().st_mtime_ns
    assert not pack_dataset(data, path, source="shapes", split="train")
    with pytest.raises(DataError, match="holds something else: 5 recordings of shapes, split train"):
        pack_dataset(open_shapes(n=6), path, source="shapes", split="train")
    assert path.stat().st_mtime_ns == stamp
    path.write_text("mine")
    with pytest.raises(ChiploopError, match="no packed file"):
        pack_dataset(data, path, source="shapes", split="train")
    assert path.read_text() == "mine"


def test_files_of_a_split_follow_one_another_and_may_leave_keys_out(tmp_path: Path) -> None:
    whole = open_shapes(n=10)
    for name, some in (("b", range(6, 10)), ("a", range(6))):
        info = PackedInfo(
            name="shapes", source="shapes", split="train", n_classes=3, shape=whole.shape, duration_us=16_000
        )
        write_packed(tmp_path / "packed" / f"{name}.packed", (whole.sample(i) for i in some), info)
    packed = open_packed(tmp_path)
    assert [packed.sample(i) for i in range(10)] == [whole.sample(i) for i in range(10)]
    assert packed.keys[-2:] == list(whole.keys[-2:])
    less = open_packed(tmp_path, exclude=["train-0", "train-7", "elsewhere"], n=7)
    assert list(less.keys) == [f"train-{i}" for i in (1, 2, 3, 4, 5, 6, 8)]
    assert less.sample(6) == whole.sample(8)
    assert less.labels.tolist() == [i % 3 for i in (1, 2, 3, 4, 5, 6, 8)]
    with pytest.raises(DataError, match="10 recordings are asked for, there are 9"):
        open_packed(tmp_path, exclude=["train-0"], n=10)
    assert len(open_packed(tmp_path / "packed" / "b.packed")) == 4
    pack_dataset(open_shapes(n=3, split="test"), tmp_path / "packed" / "c.packed", source="other", split="test")
    with pytest.raises(DataError, match="keep each data set in a folder of its own"):
        open_packed(tmp_path)


PACKER = """
import sys, time
from pathlib import Path
from chiploop.datasets.pack import pack_dataset
from chiploop.datasets.shapes import open_shapes

path, start = Path(sys.argv[1]), float(sys.argv[2])
data = open_shapes(n=400)
time.sleep(max(0.0, start - time.time()))
print(pack_dataset(data, path, source="shapes", split="train"))
"""


def test_processes_may_pack_the_same_file_at_once(tmp_path: Path) -> None:
    """However they interleave, every file that is ever seen at the place is whole."""
    import time

    path, start = tmp_path / "s.packed", time.time() + 2.0
    command = [sys.executable, "-c", PACKER, str(path), str(start)]
    packers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    seen = 0
    while any(packer.poll() is None for packer in packers):
        if path.exists():
            read_packed(path).verify()
            seen += 1
    said = [packer.communicate()[0].strip() for packer in packers]
    assert [packer.returncode for packer in packers] == [0, 0, 0]
    assert "True" in said
    assert set(said) <= {"True", "False"}
    packed, data = open_packed(path), open_shapes(n=400)
    assert [packed.sample(i) for i in range(0, 400, 37)] == [data.sample(i) for i in range(0, 400, 37)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.packed"]  # nothing half done is left
