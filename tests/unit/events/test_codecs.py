from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import DataError
from chiploop.events.codecs.csv import read_csv
from chiploop.events.codecs.nmnist import decode_nmnist, read_nmnist, write_nmnist
from chiploop.events.codecs.npz import read_npz, write_npz
from chiploop.events.io import read_events, write_events
from chiploop.events.types import Events, SensorShape

SHAPE = SensorShape(2, 34, 34)
EVENTS = Events.from_columns([0, 70_000, 8_388_607], [1, 0, 1], [33, 0, 7], [0, 33, 8], SHAPE)


def test_nmnist_bytes_by_hand() -> None:
    # t = 0x012345, on: byte 2 = 0x80 | 0x01.
    events = decode_nmnist(bytes([3, 4, 0x81, 0x23, 0x45]))
    assert (events.x[0], events.y[0], events.channel[0], events.t_us[0]) == (3, 4, 1, 0x012345)
    assert (events.start_us, events.stop_us) == (0, 0x012346)


def test_nmnist_overflow_marker_moves_what_follows() -> None:
    event, marker = bytes([1, 2, 0, 0, 100]), bytes([0, 240, 0, 0, 0])
    events = decode_nmnist(event + marker + event + marker + marker + event)
    assert events.t_us.tolist() == [100, 100 + 8192, 100 + 3 * 8192]


def test_nmnist_writes_the_bytes_it_reads(tmp_path: Path) -> None:
    content = bytes([3, 4, 0x81, 0x23, 0x45, 33, 0, 0x7F, 0xFF, 0xFF])
    (tmp_path / "a.bin").write_bytes(content)
    write_nmnist(tmp_path / "b.bin", read_nmnist(tmp_path / "a.bin"))
    assert (tmp_path / "b.bin").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty \(byte 0\)"),
        (bytes(13), "truncated at byte 10"),
        (bytes([0, 0, 0, 0, 1, 34, 0, 0, 0, 2]), r"x = 34 at byte 5 .*0\.\.33"),
        (bytes([0, 0, 0, 0, 1, 0, 99, 0, 0, 2]), "y = 99 at byte 6"),
        (bytes([0, 0, 0, 0, 9, 0, 0, 0, 0, 2]), "goes back from 9 to 2 us at byte 7"),
        # The offset counts overflow markers, which are no events.
        (bytes([0, 240, 0, 0, 0, 0, 0, 0, 0, 9, 0, 77, 0, 0, 9]), "y = 77 at byte 11"),
    ],
)
def test_nmnist_damage_is_located(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_nmnist(content)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (Events.empty(SHAPE), "at least one event"),
        (Events.from_columns([1 << 23], [0], [0], [0], SHAPE), r"times 0\.\.8388607"),
        (Events.from_columns([0], [2], [0], [0], SensorShape(3, 34, 34)), "3 channels"),
        (Events.from_columns([0], [0], [240], [0], SensorShape(2, 256, 256)), "y < 240"),
    ],
)
def test_nmnist_refuses_what_it_cannot_hold(tmp_path: Path, events: Events, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_nmnist(tmp_path / "x.bin", events)
    assert not (tmp_path / "x.bin").exists()


@pytest.mark.parametrize("name", ["nmnist_tonic.bin", "nmnist_00001.bs2"])
def test_real_files_decode_to_what_another_decoder_found(data_root: Path, name: str) -> None:
    folder = data_root / "event_samples"
    (known,) = [entry for entry in json.loads((folder / "manifest.json").read_text()) if entry["file"] == name]
    content = (folder / name).read_bytes()
    assert hashlib.md5(content).hexdigest() == known["md5"]
    events, found = decode_nmnist(content), known["verified"]
    assert len(events) == found["events"]
    assert [int(events.t_us[0]), int(events.t_us[-1])] == found["t"]
    assert [int(events.x.min()), int(events.x.max())] == found["x"]
    assert [int(events.y.min()), int(events.y.max())] == found["y"]
    assert round(float(events.channel.mean()), 3) == found["on"]


def test_real_recordings_agree_with_a_bytewise_decoder(data_root: Path) -> None:
    path = sorted((data_root / "N-MNIST" / "Train").glob("*/*.bin"))[0]
    content = path.read_bytes()
    slow = [
        (((c[2] & 0x7F) << 16) | (c[3] << 8) | c[4], c[2] >> 7, c[1], c[0])
        for c in (content[i : i + 5] for i in range(0, len(content), 5))
    ]
    events = read_events(path)
    fast = list(zip(events.t_us.tolist(), events.channel.tolist(), events.y.tolist(), events.x.tolist(), strict=True))
    assert fast == slow


def test_npz_keeps_bounds_and_is_reproducible(tmp_path: Path) -> None:
    events = Events.from_columns([5], [0], [1], [2], SensorShape(1, 2, 3), start_us=-7, stop_us=99)
    write_npz(tmp_path / "a.npz", events)
    write_npz(tmp_path / "b.npz", events)
    assert read_npz(tmp_path / "a.npz") == events
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with pytest.raises(DataError, match=r"of a \(1, 2, 3\) sensor"):
        read_npz(tmp_path / "a.npz", SHAPE)


def test_npz_refuses_objects_and_missing_fields(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, t_us=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="lacks version"):
        read_npz(path)
    np.savez(
        path,
        **{
            name: np.array([{}], dtype=object)
            for name in ("version", "t_us", "channel", "y", "x", "shape", "start_us", "stop_us")
        },
    )
    with pytest.raises(DataError, match="damaged"):
        read_npz(path)


def test_csv_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for text, message in [
        ("t_us,x,y\n", "line 1: header"),
        ("t_us,x,y,channel\n1,2,3,0\n1,2,3\n", "line 3: '1,2,3'"),
        ("t_us,x,y,channel\n1,2,3,0\n2,2,3.5,1\n", "line 3"),
        ("t_us,x,y,channel\n1,2,3,0\n2,34,3,1\n", "line 3: x = 34"),
        ("t_us,x,y,channel\n5,2,3,0\n2,2,3,1\n", "line 3: time goes back from 5 to 2"),
        ("# channels=2 height=34 width=34 start_us=0 stop_us=9\nt_us,x,y,channel\n5,2,3,7\n", "line 3: channel = 7"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_csv(path, SHAPE)
    path.write_text("t_us,x,y,channel\n1,2,3,0\n")
    with pytest.raises(DataError, match="give its shape"):
        read_csv(path)


def test_the_suffix_chooses_the_format(tmp_path: Path) -> None:
    for suffix in (".bin", ".npz", ".csv"):
        write_events(tmp_path / f"e{suffix}", EVENTS)
        assert read_events(tmp_path / f"e{suffix}") == EVENTS
    with pytest.raises(DataError, match=r"no event format has the suffix '\.xyz'.*\.bin \(nmnist\)"):
        read_events(tmp_path / "e.xyz")
