"""Stores of every kind, for tests that must hold for all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.store import Store


class Places:
    """Where stores of each kind are: a server is started when a test first needs it."""

    def __init__(self, request: pytest.FixtureRequest, directories: pytest.TempPathFactory) -> None:
        self._request = request
        self._directories = directories
        self._stores: dict[str, Store] = {}

    def store(self, kind: str) -> Store:
        """The store of this kind, the same each time."""
        if kind not in self._stores:
            self._stores[kind] = KINDS[kind](self)
        return self._stores[kind]

    def local(self) -> Store:
        """In a directory of its own."""
        return LocalStore(self._directories.mktemp("store"))


KINDS: dict[str, Callable[[Places], Store]] = {
    "memory": lambda _places: MemoryStore(),
    "local": Places.local,
}
