"""What stays in memory over an epoch: as many bytes as were allowed, and nothing of what is mapped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chiploop.datasets.pack import pack_dataset
from chiploop.datasets.packed import open_packed
from chiploop.datasets.shapes import open_shapes
from chiploop.events.types import Events, SensorShape
from chiploop.learn.batch import Samples
from chiploop.learn.cache import EVENT_BYTES, OBJECT_BYTES, EventCache

LINE = SensorShape(1, 1, 8)


def recording(n: int) -> Events:
    nothing = np.zeros(n, np.int64)
    return Events.from_columns(np.arange(n), nothing, nothing, nothing, LINE)


def test_bytes_are_bounded_and_what_is_kept_is_not_decoded_again() -> None:
    decoded: list[int] = []

    def decode(index: int) -> Events:
        decoded.append(index)
        return recording(100 * index)

    cache = EventCache(2 * OBJECT_BYTES + 500 * EVENT_BYTES)
    first = [cache.get(index, decode) for index in (2, 4, 1, 3)]  # 200 events fit, 400 more do not, then 100 do
    assert decoded == [2, 4, 1, 3]
    assert (len(cache), cache.n_bytes) == (2, 2 * OBJECT_BYTES + 300 * EVENT_BYTES)
    again = [cache.get(index, decode) for index in (2, 4, 1, 3)]
    assert decoded == [2, 4, 1, 3, 4, 3]
    assert again == first
    assert again[0] is first[0]


def test_the_bytes_of_an_event_are_those_of_its_columns() -> None:
    one = recording(1_000)
    assert sum(column.nbytes for column in (one.t_us, one.channel, one.y, one.x)) == 1_000 * EVENT_BYTES


def test_mapped_recordings_are_not_kept_and_train_alike(tmp_path: Path) -> None:
    data = open_shapes(n=30)
    pack_dataset(data, tmp_path / "s.packed", source="shapes", split="train")
    plain, packed = (Samples.of(one, np.arange(30), 4) for one in (data, open_packed(tmp_path)))
    batches = [list(one.shuffled(8, seed=0, epoch=1, transform=None)) for one in (plain, packed)]
    for one, other in zip(*batches, strict=True):
        assert one.events == other.events
        np.testing.assert_array_equal(one.x, other.x)
    assert len(plain.cache) == 30
    assert len(packed.cache) == 0


STREAMED = """
import sys
from pathlib import Path

import numpy as np

from chiploop.datasets.base import Sample
from chiploop.datasets.pack import write_packed
from chiploop.datasets.packed import open_packed
from chiploop.datasets.packed_file import PackedInfo
from chiploop.events.types import Events, SensorShape
from chiploop.learn.batch import Samples
from chiploop.learn.prefetch import Prefetch

path, n, n_events = Path(sys.argv[1]), int(sys.argv[2]), 4_000
shape, rng = SensorShape(2, 34, 34), np.random.default_rng(0)
t = np.sort(rng.integers(0, 300_000, n_events))
seen = {}


def anonymous():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) << 10


def recordings():
    for i in range(n):
        addresses = [rng.integers(0, size, n_events) for size in shape]
        yield Sample(Events.from_columns(t, *addresses, shape, stop_us=300_000), i % 10, i)
        if i == n // 8:
            seen["build"] = anonymous()


info = PackedInfo(name="noise", source="noise", split="train", n_classes=10, shape=shape, duration_us=300_000)
write_packed(path, recordings(), info)
seen["built"] = anonymous()
samples, total = Samples.of(open_packed(path), np.arange(n), 10), 0
for epoch in range(2):
    for i, batch in enumerate(Prefetch(samples.shuffled(32, seed=0, epoch=epoch, transform=None))):
        total += int(batch.x.sum())
        if (epoch, i) == (0, 8):
            seen["begun"] = anonymous()
seen["ended"] = anonymous()
assert total == 2 * n * n_events
print(path.stat().st_size, seen["built"] - seen["build"], seen["ended"] - seen["begun"])
"""


def test_memory_stays_flat_while_a_file_is_built_and_read(tmp_path: Path) -> None:
    """Of 64 MB on disk, 224 MB decoded, nearly nothing is ever held: pages of the file are the kernel's to drop."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs the kernel's account of a process's memory, /proc/self/status")
    done = subprocess.run(
        [sys.executable, "-c", STREAMED, str(tmp_path / "noise.packed"), "4000"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    size, build, epochs = map(int, done.stdout.split())
    assert size > 60 << 20
    # A block of words and the index while building; while reading, how many batches of 3 MB are held at one moment (in
    # use, made, being made, freed and not given back). Keeping what was read would take 224 MB, or 64 as it is packed.
    assert build < 6 << 20
    assert epochs < 20 << 20
