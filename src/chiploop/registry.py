"""Registries: what a user may add registers itself, by a decorator in a file of its own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from chiploop.errors import ChiploopError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind of thing; the package's files are imported at the first look-up.

    >>> colours: Registry[int] = Registry("colour")
    >>> _ = colours.register("red")(0xFF0000)
    >>> colours.get("rad")
    Traceback (most recent call last):
    ...
    chiploop.errors.ChiploopError: no colour 'rad': did you mean 'red'? Choices: red
    """

    def __init__(self, kind: str, package: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}
        self._walked = package is None

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters its argument under the name; a name is taken once."""

        def enter(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise ChiploopError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str) -> T:
        """Return the entry, or raise with the nearest valid name."""
        self._walk()
        if name not in self._entries:
            raise ChiploopError(f"no {self.kind} {name!r}: {nearest(name, self._entries)}")
        return self._entries[name]

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._walk()
        return sorted(self._entries)

    def _walk(self) -> None:
        if self._walked or self._package is None:
            return
        self._walked = True  # before the imports, since a file may look something up while it is imported
        try:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__, self._package + "."):
                importlib.import_module(module.name)
        except BaseException:
            self._walked = False  # or the next look-up would not find what this one failed to import
            raise
