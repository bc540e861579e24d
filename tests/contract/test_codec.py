"""What every event format keeps, whoever wrote it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from tests.strategies import events

from chiploop.errors import DataError
from chiploop.events.codecs import CODECS
from chiploop.events.types import Events, SensorShape

SHAPE = SensorShape(2, 34, 34)
NAMES = CODECS.names()


def test_the_registry_is_filled() -> None:
    assert {"nmnist", "npz", "csv"} <= set(NAMES)
    assert len({CODECS.get(name).suffix for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(stream=events(shape=SHAPE, min_size=1, start_us=0))
def test_columns_survive_a_round_trip(name: str, stream: Events) -> None:
    codec = CODECS.get(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"e{codec.suffix}"
        codec.write(path, stream)
        again = codec.read(path, SHAPE)
        for column in ("t_us", "channel", "y", "x"):
            assert getattr(again, column).tolist() == getattr(stream, column).tolist()
        assert again.shape == SHAPE
        codec.write(Path(folder) / "again", again)
        assert codec.read(Path(folder) / "again", SHAPE) == again


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file_and_no_file_are_data_errors(name: str, tmp_path: Path) -> None:
    codec = CODECS.get(name)
    path = tmp_path / f"empty{codec.suffix}"
    with pytest.raises(DataError, match=r"empty"):
        codec.read(path, SHAPE)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"byte 0|line 1"):
        codec.read(path, SHAPE)


@pytest.mark.parametrize("name", NAMES)
def test_no_truncation_goes_unnoticed_or_crashes(name: str, tmp_path: Path) -> None:
    codec = CODECS.get(name)
    stream = Events.from_columns([10, 200, 3_000], [0, 1, 0], [1, 22, 3], [4, 15, 6], SHAPE)
    path = tmp_path / f"e{codec.suffix}"
    codec.write(path, stream)
    whole = path.read_bytes()
    refused = 0
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            codec.read(path, SHAPE)
        except DataError:
            refused += 1
    # A record format cut between two records, and text cut between two digits, are shorter files, not damaged ones.
    whole_records = {"nmnist": 2, "npz": 0}.get(name, 10)
    assert refused >= len(whole) - whole_records
