"""The stores that this host has used: which identity is at which address. In `ROOT/vault/stores.json`.

A disk that is not mounted leaves an empty directory, and a copy of a store carries the identity of the original. Both
are noticed here before anything is written or deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.errors import StorageError
from drunner_vault.hoststate.state import State


@dataclass(frozen=True)
class KnownStore:
    """One address and the identity that was found there."""

    address: str
    identity: str


class StoreChanged(StorageError):
    """A store does not show the identity that this host knows."""


class KnownStores:
    """The stores that this host knows. directory: `ROOT/vault`."""

    def __init__(self, directory: Path) -> None:
        self._state = State(directory / "stores.json")

    def all(self) -> list[KnownStore]:
        """Return all that are known. Raises StorageError."""
        found = self._state.read().get("stores", ())
        return [
            KnownStore(item["address"], item["identity"])
            for item in (found if isinstance(found, list) else ())
            if isinstance(item, dict) and isinstance(item.get("address"), str) and isinstance(item.get("identity"), str)
        ]

    def check(self, address: str, identity: str, name: str) -> None:
        """Check that an address shows the identity that is known of it, and that the identity is of no other store.

        identity: as read; empty if there is none. name: of the store, for messages. Raises StoreChanged.
        """
        known = self.all()
        here = [item.identity for item in known if item.address == address]
        accept = f"if that is right: drunner-vault store identity {name} --accept"
        if here and not identity:
            raise StoreChanged(
                f"{name} is not the store that was used before: its identity is missing",
                f"is the disk mounted at {name}? {accept}" if name.startswith("/") else accept,
            )
        if here and identity not in here:
            mounted = f"is the right disk mounted at {name}? " if name.startswith("/") else ""
            raise StoreChanged(
                f"{name} is not the store that was used before: it shows another identity", f"{mounted}{accept}"
            )
        elsewhere = [item.address for item in known if item.identity == identity and item.address != address]
        if identity and not here and elsewhere:
            raise StoreChanged(
                f"{name} shows the identity of {elsewhere[0]}: it is a copy of that store, or that store under "
                "another address",
                accept,
            )

    def remember(self, address: str, identity: str) -> None:
        """Remember the identity at an address. Raises StorageError."""
        if KnownStore(address, identity) not in self.all():
            self._change(lambda known: [*known, KnownStore(address, identity)])

    def accept(self, address: str, identity: str) -> None:
        """Remember this identity as the only one at the address. Raises StorageError."""
        self._change(
            lambda known: [*(item for item in known if item.address != address), KnownStore(address, identity)]
        )

    def _change(self, change: Callable[[list[KnownStore]], list[KnownStore]]) -> None:
        with self._state.locked():
            known = change(self.all())
            self._state.write({"stores": [{"address": item.address, "identity": item.identity} for item in known]})
