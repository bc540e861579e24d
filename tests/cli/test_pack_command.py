"""`chiploop pack`: a file of a data set's recordings, and training from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from chiploop.datasets.packed_file import read_packed
from chiploop.recipes.prepare import prepare
from chiploop.recipes.recipe import read_recipe
from command_line import Command


def test_a_data_set_is_packed_once_and_something_else_is_not_overwritten(chiploop: Command, tmp_path: Path) -> None:
    first = chiploop("pack", "shapes", "--n", 40, "--out", "new/s.packed", "--json")
    assert (first.code, first.err) == (0, "")
    file = tmp_path / "new" / "s.packed"
    assert first.json == {
        "file": "new/s.packed",
        "dataset": "shapes",
        "split": "train",
        "recordings": 40,
        "bytes": file.stat().st_size,
        "written": True,
    }
    assert len(read_packed(file)) == 40
    assert chiploop("pack", "shapes", "--n", 40, "--out", "new/s.packed", "--json").json["written"] is False
    told = chiploop("pack", "shapes", "--n", 40, "--out", "new/s.packed")
    assert told.out.startswith("already there: new/s.packed: 40 recordings of shapes, 0.0")
    other = chiploop("pack", "shapes", "--split", "test", "--out", "new/s.packed")
    assert other.code == 2
    assert "holds something else: 40 recordings of shapes, split train" in other.error


def test_what_cannot_be_packed_is_one_line(chiploop: Command, tmp_path: Path) -> None:
    for arguments, message in (
        (("nonsense",), "no data set 'nonsense'"),
        (("nmnist",), "N-MNIST: no recording"),
        (("mnist5k", "--n", 3), "cannot be asked for 3 recordings"),
        (("shapes", "--split", "holdout"), "no split 'holdout'"),
    ):
        refused = chiploop("pack", *arguments, "--out", "x.packed")
        assert (refused.code, refused.out) == (2, "")
        assert message in refused.error
    assert not (tmp_path / "x.packed").exists()


def test_a_recipe_draws_the_same_batches_from_a_packed_file(chiploop: Command, tmp_path: Path) -> None:
    assert chiploop("pack", "shapes", "--out", "some/s.packed", "--quiet").code == 0
    plain = prepare(read_recipe("demo", ["data.dataset=shapes", "data.split=train", "data.n=300"]), None, seed=3)
    for root in (tmp_path / "some", tmp_path / "some" / "s.packed"):
        packed = prepare(read_recipe("demo", ["data.dataset=packed", "data.split=train", "data.n=300"]), root, seed=3)
        for one, other in (
            (plain.train, packed.train),
            (plain.validation, packed.validation),
            (plain.test, packed.test),
        ):
            np.testing.assert_array_equal(one.indices, other.indices)
            for a, b in zip(one.ordered(64), other.ordered(64), strict=True):
                assert torch.equal(a.x, b.x)
                assert a.events == b.events
                assert torch.equal(a.labels, b.labels)
