"""From what a person names to the archive that is meant.

FILE, -, STORE/HOST/SERVICE/NAME   that archive
PLACE/latest                       the newest complete one of the only service below PLACE
PLACE SERVICE                      the newest complete one of that service below PLACE
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from drunner_vault.archive import archive_stamp
from drunner_vault.errors import AccessDenied, BadUsage, NotFound, StorageError
from drunner_vault.stores.address import Address
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.plain import PIPE
from drunner_vault.stores.sources import ArchiveSource, FileSource, PipeSource, StoredSource
from drunner_vault.stores.store import Store, is_key
from drunner_vault.workflows.archives.places import Places

if TYPE_CHECKING:
    from drunner_vault.catalog.catalog import Archive  # a file that is named is found without a catalogue

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
    called = service

    def choose(found: list[Archive], where: str) -> list[Archive]:
        ours = [item for item in found if item.service == service]
        if not ours and address.last == LATEST:
            return _one_service(found, where)  # there is one service only, which is to be called otherwise here
        return _one_host(ours, service, where) if ours else _no_such_service(found, called, where)

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
    try:
        return stored(places.open(address.parent()), address.last)
    except (NotFound, AccessDenied):
        # a place, most likely, above which we need not be allowed anything
        if archive_stamp(address.last) is not None:
            raise
        return None


def stored(store: Store, key: str) -> ArchiveSource:
    """An object of a store as an archive; one that lies in a directory of this host is read as a file."""
    if isinstance(store, LocalStore):
        store.stat(key)
        return FileSource(store.root / key)
    return StoredSource(store, key, store.stat(key).size)


Choose = Callable[["list[Archive]", str], "list[Archive]"]


def _newest(places: Places, address: Address, choose: Choose, service: str | None = None) -> ArchiveSource:
    """The newest complete one of those that are chosen of all below a place. service: if there are archives of this
    one, only they are looked at."""
    from drunner_vault.catalog.catalog import archives, newest

    place = address.parent() if address.last == LATEST else address
    store = places.open(place)
    chosen = choose(archives(store, service=service) or archives(store), store.name)
    found = newest(chosen, places.now())
    if found is None:
        faults = "; ".join(f"{item.name}: {item.fault}" for item in chosen[:3])
        raise StorageError(f"none of the archives in {store.name} is complete: {faults}", "try: drunner-vault salvage")
    for item in chosen:
        if item.created > found.created:
            places.notice(f"{item.name} is newer, and passed over: {item.fault or 'it was made in the future'}")
    return stored(store, found.key)


def _one_service(found: list[Archive], where: str) -> list[Archive]:
    """All of them, if they are of one service of one host."""
    groups = sorted({item.group for item in found})
    if not groups:
        raise NotFound(f"there is no archive in {where}", "check the place")
    if len({service for _, service in groups}) > 1:
        raise BadUsage(f"there are archives of several services in {where}: {_listed(groups)}", "say which is meant")
    return _one_host(found, groups[0][1], where)


def _one_host(found: list[Archive], service: str, where: str) -> list[Archive]:
    hosts = sorted({item.host for item in found})
    if len(hosts) > 1:
        raise BadUsage(
            f"several hosts have a service {service} in {where}: {', '.join(host or '(unknown)' for host in hosts)}",
            f"say whose is meant: {where}/{hosts[-1]}/{service}/{LATEST}",
        )
    return found


def _no_such_service(found: list[Archive], service: str, where: str) -> list[Archive]:
    groups = sorted({item.group for item in found})
    there = f"there are: {_listed(groups)}" if groups else "there is no archive at all; check the place"
    raise NotFound(f"there is no archive of {service} in {where}", there)


def _which_service(places: Places, address: Address) -> BadUsage:
    from drunner_vault.catalog.catalog import archives

    groups = sorted({item.group for item in archives(places.open(address))})
    services = _listed(groups) or "none"
    return BadUsage(f"{address} holds archives of: {services}", f"say which: {address} SERVICE")


def _listed(groups: list[tuple[str, str]]) -> str:
    shown = [f"{service} of {host}" if host else service for host, service in groups[:_SHOWN]]
    return ", ".join([*shown, "…"] if len(groups) > _SHOWN else shown)
