"""The identity of a store: one small object at its root, written once by `init` or by the first backup.

    drunner-vault-store.json    {"format":"drunner-vault-store","version":1,"id":"…"}

A place or a record names the identity of the store it is about. So statements from one store prove nothing in another,
and a disk that is not mounted is not mistaken for the store that should be there.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass

from drunner_vault.archive.documents import Fields
from drunner_vault.archive.statements import parse_statement
from drunner_vault.errors import AlreadyExists, ArchiveError, NotFound, StorageError
from drunner_vault.stores.address import Address
from drunner_vault.stores.store import Store, put

IDENTITY_KEY = "drunner-vault-store.json"
_FORMAT, _VERSION = "drunner-vault-store", 1
_LIMIT = 4096  # bytes
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class StoreRoot:
    """A store that is open at its root, and the directory in it that a command is about.

    identity: of the store; empty if it has none, cannot be read, or is not accepted on this host. address: of the root;
    None for a store that has none. prefix: a directory below the root, empty for the whole store.
    readable: False for a login that may only add.
    """

    store: Store
    identity: str = ""
    address: Address | None = None
    prefix: str = ""
    readable: bool = True

    @property
    def name(self) -> str:
        """Return the name of the store, for messages."""
        return self.store.name

    @property
    def token(self) -> str:
        """Return what this host remembers the store by: its identity, else its name."""
        return self.identity or self.name

    def key(self, name: str) -> str:
        """Return the key of something in the directory."""
        return f"{self.prefix}/{name}" if self.prefix else name


class BadIdentity(StorageError):
    """The identity of a store is not one that this program wrote."""


def read_identity(store: Store) -> str:
    """Return the identity of a store; empty if it has none. Raises BadIdentity for a malformed one, StorageError."""
    try:
        data = store.read(IDENTITY_KEY, 0, _LIMIT + 1)
    except NotFound:
        return ""
    try:
        return parse_statement(data, _FORMAT, _VERSION, _id)
    except ArchiveError as error:
        raise BadIdentity(
            f"{IDENTITY_KEY} in {store.name} is not valid: {error.message}", "check who changed it"
        ) from error


def make_identity(store: Store) -> str:
    """Write an identity into a store that has none; returns it, or that of a host that was faster.

    Raises StorageError.
    """
    identity = secrets.token_hex(16)
    document = {"format": _FORMAT, "version": _VERSION, "id": identity}
    try:
        put(store, IDENTITY_KEY, json.dumps(document, separators=(",", ":")).encode() + b"\n")
    except AlreadyExists:
        return read_identity(store)
    return identity


def _id(document: Fields) -> str:
    found = document.text("id")
    if not _ID.fullmatch(found):
        raise ValueError("the identity is not 32 hexadecimal digits")
    return found
