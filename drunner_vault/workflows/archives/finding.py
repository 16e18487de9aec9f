"""From what an operator names to the archive that is meant.

FILE, -, STORE/HOST/SERVICE/NAME   that archive
PLACE/latest                       the newest one of the only service below PLACE
PLACE SERVICE                      the newest one of that service below PLACE
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from drunner_vault.archive import archive_stamp
from drunner_vault.errors import AccessDenied, BadUsage, NotFound
from drunner_vault.stores.address import Address
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.plain import PIPE
from drunner_vault.stores.sources import ArchiveSource, FileSource, PipeSource, StoredSource
from drunner_vault.stores.store import Store, is_key
from drunner_vault.workflows.archives.places import Places

if TYPE_CHECKING:
    from drunner_vault.catalog.catalog import Archive, Catalog  # a file that is named is found without a catalogue

LATEST = "latest"
_SHOWN = 8


def find_archive(places: Places, text: str) -> ArchiveSource:
    """The archive that a text names. Raises NotFound, BadUsage if it could be several, StorageError."""
    named = _named(places, text)
    if named is not None:
        return named
    address = places.address(text)
    if address.last != LATEST:
        raise BadUsage(f"{address} is a place for archives", f"name one in it, or take the newest: {address}/{LATEST}")
    return _newest(places, address, _one_service)


def is_one_archive(places: Places, text: str) -> bool:
    """Whether a text names one archive, or PLACE/latest, rather than a store. Raises StorageError."""
    return _named(places, text) is not None or places.address(text).last == LATEST


def find_to_restore(places: Places, text: str, service: str | None) -> tuple[ArchiveSource, str | None]:
    """The archive that a text and the name of a service name, and what the service is to be called; None for its own
    name. Raises NotFound, BadUsage, StorageError."""
    named = _named(places, text)
    if named is not None:
        return named, service
    address = places.address(text)
    if address.last == LATEST and service is None:
        return _newest(places, address, _one_service), None
    if service is None:
        raise _which_service(places, address)
    wanted = service

    def choose(catalog: Catalog) -> list[Archive]:
        found = catalog.archives
        if any(item.service == wanted for item in found):
            return _one_host(catalog, wanted)
        if address.last == LATEST:
            return _one_service(catalog)  # there is one service only, which is to be called otherwise here
        raise _no_such_service(catalog, wanted)

    return _newest(places, address, choose, service), service


def _named(places: Places, text: str) -> ArchiveSource | None:
    """The archive, if the text names one by itself."""
    if text == PIPE:
        return PipeSource()
    if not places.is_store(text):
        path = Path(text)
        return None if path.is_dir() or (path.name == LATEST and not path.exists()) else FileSource(path)
    address = places.address(text)
    if address.last == LATEST or not is_key(address.last):
        return None
    parent = address.parent()
    try:
        return stored(places.open(parent), address.last, parent)
    except (NotFound, AccessDenied):
        # a place, most likely, above which we need not be allowed anything
        if archive_stamp(address.last) is not None:
            raise
        return None


def stored(store: Store, key: str, address: Address | None = None) -> ArchiveSource:
    """Return an object of a store as an archive; one in a directory of this host is read as a file.

    address: of the store, None if it has none.
    """
    if isinstance(store, LocalStore):
        store.stat(key)
        return FileSource(store.root / key)
    return StoredSource(store, key, store.stat(key).size, address)


Choose = Callable[["Catalog"], "list[Archive]"]


def _newest(places: Places, address: Address, choose: Choose, service: str | None = None) -> ArchiveSource:
    """The newest one of those that are chosen of all below a place. service: if there are archives of this one, only
    they are looked at."""
    from drunner_vault.catalog.selection import select_newest

    root = places.root(address.parent() if address.last == LATEST else address)
    catalog = places.catalog(root, service=service)
    if not catalog.archives and service is not None:
        catalog = places.catalog(root)
    selected = select_newest(catalog, choose(catalog), places.now())
    for notice in selected.notices:
        places.notice(notice)
    return stored(root.store, selected.archive.key, root.address)


def _one_service(catalog: Catalog) -> list[Archive]:
    """All of them, if they are of one service of one host."""
    from drunner_vault.catalog.selection import groups_of

    groups = groups_of(catalog.archives)
    if not groups:
        raise NotFound(f"there is no archive in {_where(catalog)}", "check the place")
    if len({service for _, service in groups}) > 1:
        raise BadUsage(
            f"there are archives of several services in {_where(catalog)}: {_listed(groups)}", "say which is meant"
        )
    return _one_host(catalog, groups[0][1])


def _one_host(catalog: Catalog, service: str) -> list[Archive]:
    from drunner_vault.catalog.selection import groups_of

    found = [item for item in catalog.archives if item.service == service]
    groups = groups_of(found)
    if len(groups) > 1:
        where, hosts = _where(catalog), ", ".join(host or "(unknown)" for host, _ in groups)
        raise BadUsage(
            f"several hosts have a service {service} in {where}: {hosts}",
            f"say whose is meant: {where}/{groups[-1][0]}/{service}/{LATEST}",
        )
    return [item for item in found if item.group == groups[0]]


def _no_such_service(catalog: Catalog, service: str) -> NotFound:
    groups = sorted({item.group for item in catalog.archives})
    there = f"there are: {_listed(groups)}" if groups else "there is no archive at all; check the place"
    return NotFound(f"there is no archive of {service} in {_where(catalog)}", there)


def _where(catalog: Catalog) -> str:
    """The place that the archives are in, as an operator can name it."""
    root = catalog.root
    return f"{root.name.rstrip('/')}/{root.prefix}" if root.prefix else root.name


def _which_service(places: Places, address: Address) -> BadUsage:
    from drunner_vault.catalog.selection import groups_of

    groups = groups_of(places.catalog(places.root(address)).archives)
    services = _listed(groups) or "none"
    return BadUsage(f"{address} holds archives of: {services}", f"say which: {address} SERVICE")


def _listed(groups: list[tuple[str, str]]) -> str:
    shown = [f"{service} of {host}" if host else service for host, service in groups[:_SHOWN]]
    return ", ".join([*shown, "…"] if len(groups) > _SHOWN else shown)
