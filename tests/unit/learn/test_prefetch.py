"""Making items ahead changes nothing but when they are made; its thread never outlives its use."""

from __future__ import annotations

import gc
import threading
import traceback
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from chiploop.learn.augment import Augment
from chiploop.learn.prefetch import Prefetch
from strategies_network import shapes_samples


def n_threads() -> int:
    return sum(thread.name == "chiploop-prefetch" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    assert n_threads() == 0
    yield
    gc.collect()
    assert n_threads() == 0


@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_items_come_in_their_order_and_then_end(n: int, depth: int) -> None:
    ahead = Prefetch(iter(range(n)), depth)
    assert list(ahead) == list(range(n))
    assert list(ahead) == []


def test_batches_are_the_same_bits() -> None:
    augment = Augment(shift_px=2.0, rotate_deg=10.0, drop=0.2)
    plain = shapes_samples(23).shuffled(4, seed=1, epoch=2, transform=augment)
    ahead = Prefetch(shapes_samples(23).shuffled(4, seed=1, epoch=2, transform=augment))
    for one, other in zip(plain, ahead, strict=True):
        assert one.events == other.events
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_are_ever_made_ahead(depth: int) -> None:
    begun, taken = 0, 0
    reached = threading.Event()

    def items() -> Iterator[int]:
        nonlocal begun
        for i in range(20):
            begun += 1
            assert begun <= taken + 1 + depth  # the one being taken, and those ahead of it
            if begun == depth:
                reached.set()
            yield i

    with Prefetch(items(), depth) as ahead:
        assert reached.wait(10)  # they are made though nobody has asked yet
        for item in ahead:
            assert item == taken
            taken += 1
    assert taken == 20


def test_an_error_comes_where_its_item_would_have_with_the_lines_that_raised_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("lost on the way")

    ahead = Prefetch(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="lost on the way") as caught:
        next(ahead)
    lines = "".join(traceback.format_tb(caught.value.__traceback__))
    assert 'raise KeyError("lost on the way")' in lines
    with pytest.raises(KeyError):
        next(ahead)


def endless(ended: list[bool]) -> Iterator[int]:
    try:
        i = 0
        while True:
            yield i
            i += 1
    finally:
        ended.append(True)


def test_closing_early_ends_the_thread_and_the_items() -> None:
    ended: list[bool] = []
    with Prefetch(endless(ended), 2) as ahead:
        assert next(ahead) == 0
        assert n_threads() == 1
    assert n_threads() == 0
    assert ended == [True]
    with pytest.raises(StopIteration):
        next(ahead)
    ahead.close()


def test_leaving_a_loop_early_ends_the_thread() -> None:
    ended: list[bool] = []
    for item in Prefetch(endless(ended)):
        if item == 3:
            break
    gc.collect()
    assert n_threads() == 0
    assert ended == [True]


def test_an_error_in_the_loop_ends_the_thread() -> None:
    ended: list[bool] = []

    def consume() -> None:
        for item in Prefetch(endless(ended)):
            _ = 1 / (2 - item)

    with pytest.raises(ZeroDivisionError):
        consume()
    gc.collect()
    assert n_threads() == 0
    assert ended == [True]


def test_items_that_were_taken_are_not_held() -> None:
    """A batch may be large: the iterator must not keep one that its user has let go."""
    import weakref

    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def items() -> Iterator[Large]:
        for _ in range(6):
            one = Large()
            held.append(weakref.ref(one))
            yield one
            del one

    for _ in Prefetch(items(), 1):
        gc.collect()
        assert sum(ref() is not None for ref in list(held)) <= 3  # in use, made, and being made


def test_a_depth_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="depth = 0"):
        Prefetch(iter(np.arange(3)), 0)
