"""Equality and hash by content."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.digest import ByContent, digest, read_only

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def same(one: Any, other: Any) -> bool:
    """Equality that tells True from 1 from 1.0 and 0.0 from -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return repr(one) == repr(other)


@given(plain, plain)
def test_digests_agree_where_values_do(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([["a"], "b"], [["a", "b"]]),
        ([[], []], [[[]]]),
        ({"a": 1}, ["a", 1]),
        ({"1": 0}, {1: 0}),
        ("1", 1),
        ([1, 2], [12]),
        (None, "null"),
        (np.zeros(4, np.int8), np.zeros(1, np.int32)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(2, "<f4"), np.zeros(2, ">f4")),
        (np.array([0.0]), np.array([-0.0])),
    ],
)
def test_what_is_not_the_same_has_another_digest(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


def test_layout_and_order_of_keys_do_not_count() -> None:
    a = np.arange(12).reshape(3, 4)
    assert digest(a) == digest(np.asfortranarray(a)) == digest(np.repeat(a, 2, axis=1)[:, ::2])
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest((1, 2)) == digest([1, 2])


@dataclasses.dataclass(frozen=True, eq=False)
class Thing(ByContent):
    """Something with an array."""

    x: Any
    y: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Other(ByContent):
    """The same fields by another name."""

    x: Any
    y: int = 0


def test_things_are_equal_by_what_they_hold() -> None:
    one, two = Thing(np.arange(3)), Thing(np.arange(3))
    assert one == two
    assert hash(one) == hash(two)
    assert len({one, two, Thing(np.arange(4))}) == 2
    assert one != Other(np.arange(3))
    assert one != "thing"
    assert Thing(1, 2) != Thing(2, 1)


def test_a_digest_is_the_same_in_every_process() -> None:
    """Python's own hash changes from process to process; this one names files."""
    code = "from chiploop.digest import digest; print(digest({'b': [1.5, None, 'µ'], 'a': (True, -3)}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert out == digest({"a": (True, -3), "b": [1.5, None, "µ"]})
    written = b"{'a':(true,-3,)'b':(1.5,null,\"\\u00b5\",)}"  # what is hashed: files of today are to be known tomorrow
    assert out == hashlib.sha256(written).hexdigest()


def test_what_has_no_digest_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot digest a set"):
        digest({"a": {1, 2}})


def test_read_only_copies_what_its_owner_could_still_change() -> None:
    mine = np.arange(4.0)
    for given_array in (mine, mine[:], mine[::2], mine.reshape(2, 2)):
        kept = read_only(given_array)
        before = kept.copy()
        mine += 1
        np.testing.assert_array_equal(kept, before)
        with pytest.raises(ValueError, match="read-only"):
            kept[0] = 9
    frozen = read_only(mine)
    assert read_only(frozen) is frozen
    assert mine.flags.writeable
