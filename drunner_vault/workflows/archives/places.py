"""What a person can name: the stores of the settings, by name, and any other by URL or path."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drunner_vault.stores.address import Address, is_address, parse_address
from drunner_vault.stores.store import Store


@dataclass(frozen=True)
class Places:
    """What a text can name. named: the stores of the settings. open: an address's store, to be read and written.
    notice: told, a line each, what a person should know."""

    named: Mapping[str, Address]
    open: Callable[[Address], Store]
    now: Callable[[], dt.datetime]
    notice: Callable[[str], None]

    def address(self, text: str) -> Address:
        """The place a text names. Raises BadUsage."""
        return parse_address(text, self.named)

    def store(self, text: str) -> Store:
        """The store that a text names. Raises BadUsage, StorageError."""
        return self.open(self.address(text))

    def is_store(self, text: str) -> bool:
        """Whether a text names a store by URL or name, rather than a path of this host."""
        return is_address(text, self.named)
