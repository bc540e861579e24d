"""The next batch is made while a step runs."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterates as `items` does, in its order; a thread of its own makes up to `depth` of them ahead.

    An error of `items` is raised where its item would have come, with its traceback. The thread ends with the items,
    or at `close`, at the end of a `with` block, or when nobody holds the iterator any more.

    >>> with Prefetch(n * n for n in range(4)) as squares:
    ...     list(squares)
    [0, 1, 4, 9]
    """

    def __init__(self, items: Iterable[T], depth: int = 1) -> None:
        if depth < 1:
            raise ValueError(f"depth = {depth} must be at least 1")
        self._shared: _Shared[T] = _Shared(iter(items), depth)
        # The thread holds what is shared and not this object, which may so be forgotten by its last user.
        self._thread = threading.Thread(target=self._shared.make, name="chiploop-prefetch", daemon=True)
        self._finish = weakref.finalize(self, _end, self._shared, self._thread)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self._shared.take()

    def close(self) -> None:
        """Stop the thread after the item it is at, and wait for it; what was made ahead is forgotten."""
        self._finish()

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Shared(Generic[T]):
    """What passes between the thread that makes and the one that takes, under one lock."""

    def __init__(self, source: Iterator[T], depth: int) -> None:
        self._source, self._depth = source, depth
        self._made: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._end: BaseException | None = None  # StopIteration, or the error, once there is nothing more to come

    def make(self) -> None:
        """Make items while there is room for them; runs in the thread."""
        while True:
            with self._changed:
                # An item is begun only when there is room for it: never are there more than `depth` ahead.
                self._changed.wait_for(lambda: self._closed or len(self._made) < self._depth)
                if self._closed:
                    break
            try:
                item = next(self._source)
            except BaseException as error:  # whatever it is, it is the taker's
                with self._changed:
                    self._end = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._made.append(item)
                self._changed.notify_all()
            del item  # or it would live until the next one is made
        close = getattr(self._source, "close", None)  # a generator's own end, in the thread that ran it
        if close is not None:
            close()

    def take(self) -> T:
        """Return the next item, or raise what came in its place, again and again."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._made) or self._end is not None or self._closed)
            if self._made:
                item = self._made.popleft()
                self._changed.notify_all()
                return item
            if self._end is None or isinstance(self._end, StopIteration):
                raise StopIteration
            raise self._end

    def end(self) -> None:
        """Let the thread end, and forget what was made."""
        with self._changed:
            self._closed = True
            self._made.clear()
            self._changed.notify_all()


def _end(shared: _Shared[T], thread: threading.Thread) -> None:
    shared.end()
    if thread is not threading.current_thread():  # the last user may be forgotten by what the thread itself runs
        thread.join()
