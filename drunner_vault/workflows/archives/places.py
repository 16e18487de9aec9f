"""What an operator can name: the stores of the settings, by name, and others by URL or path; and what they hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drunner_vault.errors import AccessDenied, StorageError
from drunner_vault.hoststate.known_stores import KnownStores, StoreChanged
from drunner_vault.stores.address import Address, is_address, parse_address
from drunner_vault.stores.store import Store

if TYPE_CHECKING:
    from drunner_vault.catalog.catalog import (
        Catalog,
        CatalogReader,
    )  # a file that is named is found without a catalogue
    from drunner_vault.catalog.identity import StoreRoot

_LEVELS_UP = 2  # from HOST/WORKLOAD to the root


@dataclass(frozen=True)
class Places:
    """What a text can name.

    named: the stores of the settings. open: an address's store. now: the time. notice: called with a line for the
    operator. text_of: an address as text, the same however it was written. known: the stores that this host has used;
    None if it remembers none. reader: reads catalogs by this host's trust.
    """

    named: Mapping[str, Address]
    open: Callable[[Address], Store]
    now: Callable[[], dt.datetime]
    notice: Callable[[str], None]
    reader: Callable[[], CatalogReader]
    text_of: Callable[[Address], str] = str
    known: KnownStores | None = None
    opened: Callable[[StoreRoot], None] = lambda _root: None

    def address(self, text: str) -> Address:
        """Return the place a text names. Raises BadUsage."""
        return parse_address(text, self.named)

    def store(self, text: str) -> Store:
        """Return the store that a text names. Raises BadUsage, StorageError."""
        return self.open(self.address(text))

    def is_store(self, text: str) -> bool:
        """Return True if a text names a store by URL or name, rather than a path of this host."""
        return is_address(text, self.named)

    def root(self, address: Address) -> StoreRoot:
        """Return the store that a place to read from is in: its own root, or the root up to two levels above it.

        An identity that this host does not accept is announced and then ignored. Raises StorageError.
        """
        found, problem = self._find(address)
        if problem:
            self.notice(problem.message)
        return replace(found, identity="") if problem else found

    def decisive_root(self, address: Address) -> StoreRoot:
        """Return the root of a store in which something is deleted or decided.

        Raises StoreChanged if it is not the store that this host knows, StorageError.
        """
        found, problem = self._find(address, strict=True)
        if problem:
            raise problem
        self._remember(found)
        return found

    def writable_root(self, address: Address) -> StoreRoot:
        """Return a store to write to, whose root is the address itself. See `identified`.

        Raises StoreChanged if it is not the store that this host knows, StorageError.
        """
        found = self._read(address)
        problem = self._problem(found)
        if problem:
            raise problem
        self._remember(found)
        return found

    def identified(self, root: StoreRoot) -> StoreRoot:
        """Return a store to write to with its identity: it gets one if it has none, before something is written.

        A login that may not write it is no reason to fail: archives are then stated and not proven. Raises
        StorageError.
        """
        from drunner_vault.catalog.identity import make_identity

        if root.identity or not root.readable:
            return root
        try:
            found = replace(root, identity=make_identity(root.store))
        except AccessDenied as error:
            self.notice(f"{root.name} has no identity, and this login may not write one: {error.message}")
            return root
        self._remember(found)
        return found

    def text(self, root: StoreRoot) -> str:
        """Return the address of a store as text, the same however it was written."""
        return self.text_of(root.address) if root.address else root.name

    def catalog(self, root: StoreRoot, service: str | None = None, host: str | None = None) -> Catalog:
        """Return the archives in a directory of a store. Raises StorageError."""
        return self.reader().read(root, service, host)

    def _find(self, address: Address, *, strict: bool = False) -> tuple[StoreRoot, StoreChanged | None]:
        """The root of a place, and what is wrong with its identity. strict: see `_read`."""
        nearest: StoreRoot | None = None
        for place, prefix in _upwards(address) if not self._is_named(address) else ((address, ""),):
            try:
                found = replace(self._read(place, strict=strict), prefix=prefix)
            except StorageError:
                if nearest is None:
                    raise
                continue  # what is above a store need not be readable
            problem = self._problem(found)
            above = nearest is not None
            if (found.identity and (not above or _holds_archives(found))) or (problem and not above):
                return found, problem
            nearest = nearest or found
        assert nearest is not None  # noqa: S101 (the first one is read, or raises)
        return nearest, None

    def _is_named(self, address: Address) -> bool:
        """Whether an address is that of a store of the settings, which is a root."""
        named = self.named.get(address.store)
        return named is not None and named.path == address.path

    def _read(self, address: Address, *, strict: bool = False) -> StoreRoot:
        """A store with its identity. strict: raise BadIdentity, which stops neither backups nor restores."""
        from drunner_vault.catalog.identity import BadIdentity, StoreRoot, read_identity

        store = self.open(address)
        try:
            return StoreRoot(store, read_identity(store), address)
        except AccessDenied:  # a login that may only add
            return StoreRoot(store, "", address, readable=False)
        except BadIdentity as error:  # somebody has added it before the store had one: that stops no backup
            if strict or self._is_known(address):
                raise
            self.notice(f"{error.message}; nothing is proven in this store")
            return StoreRoot(store, "", address, readable=False)

    def _problem(self, root: StoreRoot) -> StoreChanged | None:
        if self.known is None or not root.readable:
            return None
        try:
            self.known.check(self.text(root), root.identity, root.name)
        except StoreChanged as problem:
            return problem
        return None

    def _is_known(self, address: Address) -> bool:
        """Whether an identity was read at this address before."""
        text = self.text_of(address)
        return self.known is not None and any(item.address == text for item in self.known.all())

    def _remember(self, root: StoreRoot) -> None:
        if self.known is not None and root.identity:
            self.known.remember(self.text(root), root.identity)
        self.opened(root)


def _holds_archives(root: StoreRoot) -> bool:
    """Whether the directory of a root has archives at HOST/WORKLOAD/NAME below the root: another store may lie in it,
    which has no identity yet."""
    from drunner_vault.catalog.grouping import directory_of, is_archive

    return any(is_archive(item.key) and directory_of(item.key) for item in root.store.list(root.prefix))


def _upwards(address: Address) -> Iterator[tuple[Address, str]]:
    """The places at which the root of a store may be, the nearest first, each with the directory below it."""
    prefix: list[str] = []
    yield address, ""
    for _ in range(_LEVELS_UP):
        parent = address.parent()
        if parent.path == address.path or not address.last:
            return
        prefix.insert(0, address.last)
        address = parent
        yield address, "/".join(prefix)
